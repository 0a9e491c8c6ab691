"""`lms-cloud audit`: verify the hash chains of the events, and write down their ends to keep elsewhere."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from lms_cloud.cli.operating import operate
from lms_cloud.cli.output import AsJson, show_rows
from lms_cloud.kernel.database import Database
from lms_cloud.kernel.errors import SettingsError
from lms_cloud.kernel.events import Head, chain_head, count_events, verify_chain
from lms_cloud.organizations.models import Organization
from lms_cloud.organizations.service import OrganizationService

app = typer.Typer(no_args_is_help=True, help="Verify the hash chains of the events.")


@app.command()
def verify(
    organization: Annotated[str | None, typer.Option(help="Wire id; all organizations if left out.")] = None,
    anchor: Annotated[Path | None, typer.Option(help="What `audit anchor` printed, kept elsewhere since.")] = None,
    as_json: AsJson = False,
) -> None:
    """Recompute every hash; name the first event of each organization that does not fit, and end with 1 then."""
    anchors = {} if anchor is None else _read_anchors(anchor)

    async def work(database: Database) -> list[dict[str, Any]]:
        rows = [await _verify(database, each, anchors) for each in await _organizations(database, organization)]
        missing = [] if organization is not None else sorted(set(anchors) - {row["organization"] for row in rows})
        return rows + [
            {"organization": each, "events": 0, "first_bad": 1, "reason": "the anchor names it, but it is gone"}
            for each in missing
        ]

    rows = operate(work)
    show_rows(rows, empty="No organizations, no events.", as_json=as_json)
    bad = [row for row in rows if row["first_bad"] is not None]
    for row in bad:
        typer.echo(f"{row['organization']}: event {row['first_bad']} {row['reason']}.", err=True)
    if bad:
        raise typer.Exit(1)


@app.command()
def anchor() -> None:
    """Print the last event's number and hash of each organization, as JSON.

    Keep it where nobody who can change the database can change it: it finds a chain that was cut or written anew.
    """

    async def work(database: Database) -> dict[str, dict[str, Any]]:
        heads: dict[str, dict[str, Any]] = {}
        for organization in await _organizations(database, None):
            async with database.unit_of_work(organization.id) as uow:
                head = await chain_head(uow.session, organization.id)
            if head is not None:
                heads[organization.typed.wire_id] = {"sequence": head.sequence, "hash": head.hash.hex()}
        return heads

    typer.echo(json.dumps(operate(work), indent=2))


async def _organizations(database: Database, wire_id: str | None) -> list[Organization]:
    async with database.unit_of_work(None) as uow:
        found = await OrganizationService(uow).list_organizations()
    return [each for each in found if wire_id in {None, each.typed.wire_id}]


async def _verify(database: Database, organization: Organization, anchors: dict[str, Head]) -> dict[str, Any]:
    wire_id = organization.typed.wire_id
    async with database.unit_of_work(organization.id) as uow:
        events = await count_events(uow.session, organization.id)
        found = await verify_chain(uow.session, organization.id, anchors.get(wire_id))
    return {
        "organization": wire_id,
        "events": events,
        "first_bad": None if found is None else found.sequence,
        "reason": None if found is None else found.reason,
    }


def _read_anchors(path: Path) -> dict[str, Head]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return {name: Head(int(each["sequence"]), bytes.fromhex(each["hash"])) for name, each in document.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingsError(
            "--anchor", f"{path}: {error}", "Give a file that `lms-cloud audit anchor` printed."
        ) from error
