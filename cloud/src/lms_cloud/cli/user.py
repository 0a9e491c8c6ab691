"""`lms-cloud user`: create, list and disable users."""

import sys
from typing import Annotated, Any
from uuid import UUID

import typer

from lms_cloud.accounts.models import User
from lms_cloud.accounts.passwords import PasswordHasher
from lms_cloud.accounts.roles import Role
from lms_cloud.accounts.users import Users
from lms_cloud.cli.operating import OrganizationOption, operate, organization_named
from lms_cloud.cli.output import AsJson, ExistOk, show, show_rows
from lms_cloud.kernel.actors import Actor
from lms_cloud.kernel.database import Database
from lms_cloud.organizations.service import OrganizationService

app = typer.Typer(no_args_is_help=True, help="Create, list and disable users.")
EmailOption = Annotated[str, typer.Option(help="The user's address.")]


@app.command()
def create(
    *,
    email: EmailOption,
    name: Annotated[str | None, typer.Option(help="As shown to others.")] = None,
    organization: Annotated[str | None, typer.Option(help="Wire id of the organization to join.")] = None,
    role: Annotated[Role, typer.Option(help="The role there.")] = Role.VIEWER,
    exist_ok: ExistOk = False,
    as_json: AsJson = False,
) -> None:
    """Create a user; the password is the first line of standard input (at least 15 characters)."""
    password = sys.stdin.readline().rstrip("\n")

    async def work(database: Database) -> tuple[dict[str, Any], bool]:
        joined = None if organization is None else (await organization_named(database, organization)).id
        users = Users(database, PasswordHasher())
        found = await users.find(email) if exist_ok else None
        user = found or await users.create(email, password, name)
        if joined is not None:
            await _join(database, user.id, joined, role)
        return _row(user, role if joined is not None else None), found is None

    row, created = operate(work)
    sentence = f"{'Created' if created else 'There is already'} the user {row['email']}"
    joined_as = "" if organization is None else f", {role.value} of {organization!r}"
    show(row, f"{sentence}{joined_as}.", as_json=as_json)


@app.command("list")
def list_(organization: OrganizationOption, as_json: AsJson = False) -> None:
    """List an organization's members."""

    async def work(database: Database) -> list[dict[str, Any]]:
        organization_id = (await organization_named(database, organization)).id
        async with database.unit_of_work(organization_id) as uow:
            members = await OrganizationService(uow).list_members(organization_id)
            return [_row(member.user, member.role) for member in members]

    empty = f"Nobody. Add someone: lms-cloud user create --organization {organization} --email … --role …"
    show_rows(operate(work), empty=empty, as_json=as_json)


@app.command()
def disable(email: EmailOption, as_json: AsJson = False) -> None:
    """Disable a user: every session ends at once, and no new one begins."""
    _set_active(email, active=False, as_json=as_json)


@app.command()
def enable(email: EmailOption, as_json: AsJson = False) -> None:
    """Let a disabled user in again."""
    _set_active(email, active=True, as_json=as_json)


def _set_active(email: str, *, active: bool, as_json: bool) -> None:
    async def work(database: Database) -> dict[str, Any]:
        return _row(await Users(database, PasswordHasher()).set_active(email, active=active), None)

    row = operate(work)
    show(row, f"{'Enabled' if active else 'Disabled'} {row['email']}.", as_json=as_json)


async def _join(database: Database, user_id: UUID, organization_id: UUID, role: Role) -> None:
    async with database.unit_of_work(organization_id, user_id, actor=Actor.operator()) as uow:
        service = OrganizationService(uow)
        await service.add_member(organization_id, user_id, role)
        await service.work_in(user_id, organization_id)


def _row(user: User, role: Role | None) -> dict[str, Any]:
    return {
        "email": user.email,
        "name": user.name,
        "role": None if role is None else role.value,
        "is_active": user.is_active,
        "id": str(user.id),
    }
