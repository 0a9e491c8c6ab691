"""`lms-cloud dead-letters`: what could not be stored, and having it stored after all."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from lms_cloud.cli.operating import OrganizationOption, operate, organization_named
from lms_cloud.cli.output import AsJson, show, show_rows
from lms_cloud.kernel.actors import Actor
from lms_cloud.kernel.database import Database
from lms_cloud.telemetry.dead_letters.service import DeadLetterService, KeptLetter, LetterState

LOOK_S = 0.5
Letter = Annotated[UUID, typer.Argument(help="The letter's id, as `list` shows it.")]

app = typer.Typer(no_args_is_help=True, help="List messages that could not be stored, and have them stored.")


@app.command("list")
def list_(
    organization: OrganizationOption,
    state: Annotated[LetterState | None, typer.Option(help="Only those in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many at most, the newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List an organization's dead letters."""

    async def work(database: Database) -> list[KeptLetter]:
        organization_id = (await organization_named(database, organization)).id
        async with database.unit_of_work(organization_id) as uow:
            return await DeadLetterService(uow).list_letters(states=(state,) if state else None, limit=limit)

    found = operate(work)
    if as_json:
        show_rows([letter.as_json() for letter in found], empty="", as_json=True)
        return
    rows = [
        {
            "id": letter.id,
            "state": letter.state,
            "kind": letter.kind,
            "what": letter.name,
            "agent": letter.agent,
            "last": letter.last_at.isoformat(timespec="seconds"),
            "bytes": letter.size,
            "reason": letter.refused or letter.reason,
        }
        for letter in found
    ]
    show_rows(rows, empty="No dead letters: everything that came was stored.", as_json=False)


@app.command("show")
def show_(
    letter: Letter,
    organization: OrganizationOption,
    write_bytes: Annotated[Path | None, typer.Option(help="Write the bytes to this file; - for the output.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show one dead letter, or write its bytes to a file."""

    async def work(database: Database) -> tuple[KeptLetter, bytes]:
        organization_id = (await organization_named(database, organization)).id
        async with database.unit_of_work(organization_id) as uow:
            service = DeadLetterService(uow)
            return await service.get(letter), await service.payload(letter)

    found, payload = operate(work)
    if write_bytes is not None:
        if str(write_bytes) == "-":
            sys.stdout.buffer.write(payload)
            return
        write_bytes.write_bytes(payload)
    lines = [f"{name}: {value}" for name, value in found.as_json().items() if value is not None]
    show(found.as_json(), "\n".join(lines), as_json=as_json)


@app.command()
def replay(
    letter: Letter,
    organization: OrganizationOption,
    wait_s: Annotated[float, typer.Option(min=0, help="How long to wait for ingest to do it, in seconds.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Have a dead letter read again and stored; ends with 1 if it is not stored after that."""

    async def work(database: Database) -> KeptLetter:
        organization_id = (await organization_named(database, organization)).id
        async with database.unit_of_work(organization_id, actor=Actor.operator()) as uow:
            found = await DeadLetterService(uow).ask_for_replay(letter)
        for _ in range(int(wait_s / LOOK_S)):
            if found.state != "asked":
                break
            await asyncio.sleep(LOOK_S)
            async with database.unit_of_work(organization_id) as uow:
                found = await DeadLetterService(uow).get(letter)
        return found

    found = operate(work)
    show(found.as_json(), _outcome(found), as_json=as_json)
    if found.state != "stored":
        raise typer.Exit(1)


@app.command()
def dismiss(
    letter: Letter,
    organization: OrganizationOption,
    reason: Annotated[str | None, typer.Option(help="Why nothing is to be done; kept with the event.")] = None,
    as_json: AsJson = False,
) -> None:
    """Leave a dead letter as it is: somebody has seen it. Its bytes are kept."""

    async def work(database: Database) -> dict[str, Any]:
        organization_id = (await organization_named(database, organization)).id
        async with database.unit_of_work(organization_id, actor=Actor.operator()) as uow:
            return (await DeadLetterService(uow).dismiss(letter, reason)).as_json()

    show(operate(work), f"Dismissed {letter}.", as_json=as_json)


def _outcome(letter: KeptLetter) -> str:
    if letter.state == "stored":
        return f"Stored: {letter.name}."
    if letter.state == "asked":
        return f"Still waiting: {letter.name}. Does `lms-cloud ingest` run? See `lms-cloud ingest status`."
    return f"Not stored: {letter.name}: {letter.refused}."
