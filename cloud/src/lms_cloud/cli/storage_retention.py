"""`lms-cloud storage retention`: how long what is kept, what was removed, and windows in which nothing is."""

from datetime import datetime
from typing import Annotated, Any

import typer

from lms_cloud.cli.operating import OrganizationOption, operate, organization_named
from lms_cloud.cli.output import AsJson, show, show_rows
from lms_cloud.fleet.service import FleetService
from lms_cloud.kernel.database import Database
from lms_cloud.kernel.errors import Invalid, NotFound
from lms_cloud.kernel.settings import load_settings
from lms_cloud.organizations.service import OrganizationService
from lms_cloud.telemetry.storage.locked_windows import lock_window, locked_windows, unlock_window
from lms_cloud.telemetry.storage.retention import KeepingRule, Retention, due_pieces, removals

InstantOption = Annotated[str, typer.Option(help="ISO 8601 with its zone, such as 2026-11-23T17:00:00Z.")]

app = typer.Typer(no_args_is_help=True, help="How long readings are kept; what was removed; what never is.")


def parse_instant(field: str, given: str) -> datetime:
    """An aware instant.

    Raises:
        Invalid: it is no ISO 8601 time, or has no zone.
    """
    allowed = "a time with its zone, such as 2026-11-23T17:00:00Z"
    try:
        instant = datetime.fromisoformat(given)
    except ValueError as error:
        raise Invalid(field, given, allowed) from error
    if instant.tzinfo is None:
        raise Invalid(field, given, allowed)
    return instant


@app.command("show")
def show_(
    limit: Annotated[int, typer.Option(min=1, help="How many removals at most, the newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show the rule (LMS_KEEP_RAW_DAYS and its neighbours), what is due, what is locked, and what was removed."""
    rule = KeepingRule.from_settings(load_settings())

    async def work(database: Database) -> dict[str, Any]:
        async with database.unit_of_work(None) as uow:
            due = [piece._asdict() for piece in await due_pieces(uow, rule)]
            removed = await removals(uow, limit)
            organizations = await OrganizationService(uow).list_organizations()
        locked: list[dict[str, Any]] = []
        for organization in organizations:
            async with database.unit_of_work(organization.id) as uow:
                locked += [{"organization": organization.typed.wire_id, **row} for row in await locked_windows(uow)]
        kept = {level: rule.by_level().get(level) for level in ("readings", "rollup_1m", "rollup_1h")}
        return {"keep_days": kept, "due": due, "locked": locked, "removed": removed}

    found = operate(work)
    if as_json:
        show(found, "", as_json=True)
        return
    for level, days in found["keep_days"].items():
        typer.echo(f"{level:<10} kept for {'ever' if days is None else f'{days} days'}")
    typer.echo("rollup_1d  kept for ever")
    sections = {"due": "Nothing is due.", "locked": "Nothing is locked.", "removed": "Nothing was ever removed."}
    for section, empty in sections.items():
        typer.echo(f"\n{section.capitalize()}:" if found[section] else "")
        show_rows(found[section], empty=empty, as_json=False)


@app.command()
def run(as_json: AsJson = False) -> None:
    """Remove now what is due by the settings of this environment; ends with 1 if something due had to stay."""
    rule = KeepingRule.from_settings(load_settings())

    async def work(database: Database) -> list[dict[str, Any]]:
        done = await Retention(database, rule).once()
        return [{**piece._asdict(), "removed": why is None, "why": why} for piece, why in done]

    rows = operate(work)
    empty = "Nothing is due." if rule.by_level() else "Everything is kept for ever: LMS_KEEP_RAW_DAYS is not set."
    show_rows(rows, empty=empty, as_json=as_json)
    if not all(row["removed"] for row in rows):
        raise typer.Exit(1)


@app.command()
def lock(
    *,
    organization: OrganizationOption,
    bioreactor: Annotated[str | None, typer.Option(help="Wire id; all of the organization if left out.")] = None,
    start: InstantOption,
    end: InstantOption,
    reason: Annotated[str, typer.Option(help="Why, for those who read it in a year.")],
    as_json: AsJson = False,
) -> None:
    """Lock a window: no piece that touches it is removed until it is unlocked."""
    from_at, to_at = parse_instant("start", start), parse_instant("end", end)

    async def work(database: Database) -> int:
        organization_id = (await organization_named(database, organization)).id
        async with database.unit_of_work(organization_id) as uow:
            found = None if bioreactor is None else await FleetService(uow).find_bioreactor(bioreactor)
            if bioreactor is not None and found is None:
                raise NotFound("bioreactor", bioreactor)
            return await lock_window(uow, None if found is None else found.id, from_at, to_at, reason)

    number = operate(work)
    show({"id": number}, f"Locked, as number {number}: nothing of it is removed until then.", as_json=as_json)


@app.command()
def unlock(
    number: Annotated[int, typer.Argument(help="The window's number, as `show` lists it.")],
    organization: OrganizationOption,
    as_json: AsJson = False,
) -> None:
    """Unlock a window; that it was locked stays on record."""

    async def work(database: Database) -> None:
        organization_id = (await organization_named(database, organization)).id
        async with database.unit_of_work(organization_id) as uow:
            await unlock_window(uow, number)

    operate(work)
    show({"id": number}, f"Unlocked number {number}.", as_json=as_json)
