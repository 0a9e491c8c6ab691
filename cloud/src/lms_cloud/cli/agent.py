"""`lms-cloud agent`: create and list agents."""

from typing import Annotated, Any

import typer

from lms_cloud.cli.operating import OrganizationOption, WireIdOption, operate, organization_named
from lms_cloud.cli.output import AsJson, ExistOk, show, show_rows
from lms_cloud.fleet.models import Agent
from lms_cloud.fleet.service import FleetService
from lms_cloud.kernel.actors import Actor
from lms_cloud.kernel.database import Database

app = typer.Typer(no_args_is_help=True, help="Create and list agents.")


@app.command()
def create(
    *,
    organization: OrganizationOption,
    name: Annotated[str, typer.Option(help="As people call it.")],
    wire_id: WireIdOption = None,
    exist_ok: ExistOk = False,
    as_json: AsJson = False,
) -> None:
    """Create an agent, so that what it sends is taken in."""

    async def work(database: Database) -> tuple[dict[str, Any], bool]:
        organization_id = (await organization_named(database, organization)).id
        async with database.unit_of_work(organization_id, actor=Actor.operator()) as uow:
            service = FleetService(uow)
            found = await service.find_agent(wire_id) if exist_ok and wire_id else None
            agent = found or await service.create_agent(name, wire_id=wire_id)
            return _row(agent), found is None

    row, created = operate(work)
    verb = "Created" if created else "There is already"
    show(row, f"{verb} the agent {row['name']!r}, wire id {row['wire_id']!r}.", as_json=as_json)


@app.command("list")
def list_(organization: OrganizationOption, as_json: AsJson = False) -> None:
    """List an organization's agents."""

    async def work(database: Database) -> list[dict[str, Any]]:
        organization_id = (await organization_named(database, organization)).id
        async with database.unit_of_work(organization_id) as uow:
            return [_row(each) for each in await FleetService(uow).list_agents()]

    empty = f"No agents. Create one: lms-cloud agent create --organization {organization} --name …"
    show_rows(operate(work), empty=empty, as_json=as_json)


def _row(agent: Agent) -> dict[str, Any]:
    return {"wire_id": agent.typed.wire_id, "name": agent.name, "id": str(agent.id)}
