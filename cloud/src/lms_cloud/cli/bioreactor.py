"""`lms-cloud bioreactor`: create and list bioreactors."""

from typing import Annotated, Any

import typer

from lms_cloud.cli.operating import OrganizationOption, WireIdOption, operate, organization_named
from lms_cloud.cli.output import AsJson, ExistOk, show, show_rows
from lms_cloud.fleet.models import Bioreactor
from lms_cloud.fleet.service import FleetService
from lms_cloud.kernel.actors import Actor
from lms_cloud.kernel.database import Database
from lms_cloud.kernel.errors import NotFound

app = typer.Typer(no_args_is_help=True, help="Create and list bioreactors.")


@app.command()
def create(
    *,
    organization: OrganizationOption,
    name: Annotated[str, typer.Option(help="As people call it.")],
    wire_id: WireIdOption = None,
    agent: Annotated[str | None, typer.Option(help="Wire id of the agent that serves it.")] = None,
    kind: Annotated[str | None, typer.Option(help="Such as 'stirred tank'.")] = None,
    volume_l: Annotated[float | None, typer.Option(help="Working volume, L.")] = None,
    location: Annotated[str | None, typer.Option(help="Where it stands.")] = None,
    exist_ok: ExistOk = False,
    as_json: AsJson = False,
) -> None:
    """Create a bioreactor."""

    async def work(database: Database) -> tuple[dict[str, Any], bool]:
        organization_id = (await organization_named(database, organization)).id
        async with database.unit_of_work(organization_id, actor=Actor.operator()) as uow:
            service = FleetService(uow)
            found = await service.find_bioreactor(wire_id) if exist_ok and wire_id else None
            if found is not None:
                return _row(found), False
            server = None if agent is None else await service.find_agent(agent)
            if agent is not None and server is None:
                raise NotFound("agent", agent)
            made = await service.create_bioreactor(
                name,
                wire_id=wire_id,
                agent_id=None if server is None else server.id,
                kind=kind,
                volume_l=volume_l,
                location=location,
            )
            return _row(made), True

    row, created = operate(work)
    verb = "Created" if created else "There is already"
    show(row, f"{verb} the bioreactor {row['name']!r}, wire id {row['wire_id']!r}.", as_json=as_json)


@app.command("list")
def list_(organization: OrganizationOption, as_json: AsJson = False) -> None:
    """List an organization's bioreactors."""

    async def work(database: Database) -> list[dict[str, Any]]:
        organization_id = (await organization_named(database, organization)).id
        async with database.unit_of_work(organization_id) as uow:
            return [_row(each) for each in await FleetService(uow).list_bioreactors()]

    empty = f"No bioreactors. Create one: lms-cloud bioreactor create --organization {organization} --name …"
    show_rows(operate(work), empty=empty, as_json=as_json)


def _row(bioreactor: Bioreactor) -> dict[str, Any]:
    properties = bioreactor.typed
    return {
        "wire_id": properties.wire_id,
        "name": bioreactor.name,
        "kind": properties.kind,
        "volume_l": properties.volume_l,
        "location": properties.location,
        "agent_id": None if properties.agent_id is None else str(properties.agent_id),
        "id": str(bioreactor.id),
    }
