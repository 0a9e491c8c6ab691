"""REST of organizations: `/organizations`, and the same under `/api/v1`."""

from datetime import datetime
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from lms_cloud.accounts.dependencies import CurrentIdentity, CurrentUnitOfWork
from lms_cloud.accounts.roles import Role
from lms_cloud.kernel.errors import NotFound
from lms_cloud.organizations.models import Organization
from lms_cloud.organizations.service import Member, OrganizationService


class NewOrganization(BaseModel):
    """What a new organization needs."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=100)
    description: str | None = Field(None, max_length=500)


class OrganizationChange(BaseModel):
    """What is to change; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(None, min_length=1, max_length=100)
    description: str | None = Field(None, max_length=500)
    version: int | None = Field(None, description="Refuse the change if it is no longer at this version.")


class OrganizationAnswer(BaseModel):
    """An organization that the user is a member of."""

    id: UUID
    name: str
    description: str | None
    wire_id: str = Field(description="The group in MQTT topics.")
    created_at: datetime
    updated_at: datetime
    is_active: bool
    version: int
    current: bool = Field(description="Whether the user works in it now.")

    @classmethod
    def of(cls, organization: Organization, current: UUID | None) -> "OrganizationAnswer":
        """The fields that leave the server."""
        return cls(
            id=organization.id,
            name=organization.name,
            description=organization.description,
            wire_id=organization.typed.wire_id,
            created_at=organization.created_at,
            updated_at=organization.updated_at,
            is_active=organization.is_active,
            version=organization.version,
            current=organization.id == current,
        )


class MemberAnswer(BaseModel):
    """A member of an organization."""

    user_id: UUID
    email: str
    name: str | None
    role: Role
    is_active: bool

    @classmethod
    def of(cls, member: Member) -> "MemberAnswer":
        """The fields that leave the server."""
        user = member.user
        return cls(user_id=user.id, email=user.email, name=user.name, role=member.role, is_active=user.is_active)


class RoleChange(BaseModel):
    """A member's role from now on."""

    model_config = ConfigDict(extra="forbid")

    role: Role


organizations = APIRouter(prefix="/organizations", tags=["organizations"])


@organizations.get("")
async def list_organizations(identity: CurrentIdentity, uow: CurrentUnitOfWork) -> list[OrganizationAnswer]:
    """The organizations that the user is a member of."""
    found = await OrganizationService(uow).list_organizations()
    return [OrganizationAnswer.of(each, identity.organization_id) for each in found]


@organizations.post("", status_code=201)
async def create_organization(
    new: NewOrganization, identity: CurrentIdentity, uow: CurrentUnitOfWork
) -> OrganizationAnswer:
    """Create an organization; the user becomes its owner and works in it from now on."""
    service = OrganizationService(uow)
    created = await service.create_organization(new.name, description=new.description, owner_id=identity.user_id)
    return OrganizationAnswer.of(created, created.id)


@organizations.get("/{organization_id}")
async def get_organization(
    organization_id: UUID, identity: CurrentIdentity, uow: CurrentUnitOfWork
) -> OrganizationAnswer:
    """One organization that the user is a member of."""
    found = await OrganizationService(uow).get_organization(organization_id)
    return OrganizationAnswer.of(found, identity.organization_id)


@organizations.patch("/{organization_id}")
async def change_organization(
    organization_id: UUID, change: OrganizationChange, identity: CurrentIdentity, uow: CurrentUnitOfWork
) -> OrganizationAnswer:
    """Change the organization that the user works in."""
    _require_current(identity.organization_id, organization_id)
    identity.require(Role.OWNER, "change the organization")
    changed = await OrganizationService(uow).change_organization(
        organization_id, name=change.name, description=change.description, expected_version=change.version
    )
    return OrganizationAnswer.of(changed, identity.organization_id)


@organizations.post("/{organization_id}/enter", status_code=204)
async def enter_organization(organization_id: UUID, identity: CurrentIdentity, uow: CurrentUnitOfWork) -> None:
    """Work in another organization from now on."""
    await OrganizationService(uow).work_in(identity.user_id, organization_id)


@organizations.get("/{organization_id}/members")
async def list_members(organization_id: UUID, identity: CurrentIdentity, uow: CurrentUnitOfWork) -> list[MemberAnswer]:
    """The members of the organization that the user works in."""
    _require_current(identity.organization_id, organization_id)
    return [MemberAnswer.of(member) for member in await OrganizationService(uow).list_members(organization_id)]


@organizations.patch("/{organization_id}/members/{user_id}", status_code=204)
async def change_role(
    organization_id: UUID, user_id: UUID, change: RoleChange, identity: CurrentIdentity, uow: CurrentUnitOfWork
) -> None:
    """Change a member's role. Admins do; only owners make and unmake owners."""
    _require_current(identity.organization_id, organization_id)
    identity.require(Role.ADMIN, "change roles")
    service = OrganizationService(uow)
    members = {member.user.id: member.role for member in await service.list_members(organization_id)}
    if Role.OWNER in {change.role, members.get(user_id)}:
        identity.require(Role.OWNER, "make or unmake an owner")
    await service.change_role(organization_id, user_id, change.role)


@organizations.delete("/{organization_id}/members/{user_id}", status_code=204)
async def remove_member(
    organization_id: UUID, user_id: UUID, identity: CurrentIdentity, uow: CurrentUnitOfWork
) -> None:
    """End a membership. Admins do; only owners end an owner's."""
    _require_current(identity.organization_id, organization_id)
    identity.require(Role.ADMIN, "remove members")
    service = OrganizationService(uow)
    members = {member.user.id: member.role for member in await service.list_members(organization_id)}
    if members.get(user_id) is Role.OWNER:
        identity.require(Role.OWNER, "remove an owner")
    await service.remove_member(organization_id, user_id)


def _require_current(current: UUID | None, organization_id: UUID) -> None:
    """Another organization's looks like one that does not exist; enter it first to work in it."""
    if current != organization_id:
        raise NotFound("organization", organization_id)


router = APIRouter()
router.include_router(organizations)
router.include_router(organizations, prefix="/api/v1")
