"""`lms-cloud organization`: create and list organizations."""

from typing import Annotated, Any

import typer

from lms_cloud.cli.operating import WireIdOption, operate
from lms_cloud.cli.output import AsJson, ExistOk, show, show_rows
from lms_cloud.kernel.actors import Actor
from lms_cloud.kernel.database import Database
from lms_cloud.organizations.models import Organization
from lms_cloud.organizations.service import OrganizationService

app = typer.Typer(no_args_is_help=True, help="Create and list organizations.")


@app.command()
def create(
    *,
    name: Annotated[str, typer.Option(help="1 to 100 characters.")],
    wire_id: WireIdOption = None,
    description: Annotated[str | None, typer.Option(help="At most 500 characters.")] = None,
    exist_ok: ExistOk = False,
    as_json: AsJson = False,
) -> None:
    """Create an organization."""

    async def work(database: Database) -> tuple[dict[str, Any], bool]:
        async with database.unit_of_work(None, actor=Actor.operator()) as uow:
            service = OrganizationService(uow)
            found = await service.find_organization(wire_id) if exist_ok and wire_id else None
            made = found or await service.create_organization(name, description=description, wire_id=wire_id)
            return _row(made), found is None

    row, created = operate(work)
    verb = "Created" if created else "There is already"
    show(row, f"{verb} the organization {row['name']!r}, wire id {row['wire_id']!r}.", as_json=as_json)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List all organizations."""

    async def work(database: Database) -> list[dict[str, Any]]:
        async with database.unit_of_work(None) as uow:
            return [_row(each) for each in await OrganizationService(uow).list_organizations()]

    empty = "No organizations. Create one: lms-cloud organization create --name …"
    show_rows(operate(work), empty=empty, as_json=as_json)


def _row(organization: Organization) -> dict[str, Any]:
    return {
        "wire_id": organization.typed.wire_id,
        "name": organization.name,
        "description": organization.description,
        "id": str(organization.id),
    }
