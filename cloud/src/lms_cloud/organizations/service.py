"""What can be done with organizations and their members, in one unit of work; knows no HTTP."""

from typing import NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, and_, delete, func, select

from lms_cloud.accounts.models import Membership, User
from lms_cloud.accounts.roles import Role
from lms_cloud.kernel.database import UnitOfWork
from lms_cloud.kernel.entities import EntityJournal
from lms_cloud.kernel.errors import Conflict, NotFound
from lms_cloud.kernel.wire_ids import another_wire_id, wire_id_from
from lms_cloud.organizations.models import Organization

_TRIES = 5


class Member(NamedTuple):
    """A user in an organization."""

    user: User
    role: Role


class OrganizationService:
    """Organizations, and who belongs to them."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._journal = EntityJournal(uow)

    async def list_organizations(self) -> list[Organization]:
        """The organizations that this unit of work sees: its own, and those its user is a member of."""
        return await self._journal.all_of(Organization)

    async def get_organization(self, organization_id: UUID) -> Organization:
        """One organization.

        Raises:
            NotFound: there is none with that id, or the user is not a member.
        """
        return await self._journal.get(Organization, organization_id)

    async def find_organization(self, wire_id: str) -> Organization | None:
        """The organization with that wire id, where this unit of work sees it."""
        query = select(Organization).where(Organization.is_active, Organization.properties["wire_id"].astext == wire_id)
        return (await self._uow.session.scalars(query)).one_or_none()

    async def create_organization(
        self, name: str, *, description: str | None = None, wire_id: str | None = None, owner_id: UUID | None = None
    ) -> Organization:
        """Create an organization, and enter it.

        Args:
            name: 1 to 100 characters.
            description: at most 500 characters.
            wire_id: the group in MQTT topics; made from the name if None.
            owner_id: the user who becomes its owner and works in it from now on; must be this unit of work's user.

        Raises:
            Invalid: a field is not allowed.
            Conflict: the wire id is taken.
        """
        organization_id = uuid4()
        await self._uow.enter_organization(organization_id)
        organization = await self._create(organization_id, name, description, wire_id)
        if owner_id is not None:
            await self.add_member(organization_id, owner_id, Role.OWNER)
            await self.work_in(owner_id, organization_id)
        return organization

    async def change_organization(
        self, organization_id: UUID, *, name: str | None, description: str | None, expected_version: int | None = None
    ) -> Organization:
        """Change name or description; what is None stays.

        Raises:
            NotFound, Invalid, Conflict: as `get_organization` and `create_organization`.
        """
        organization = await self.get_organization(organization_id)
        await self._journal.update(organization, name=name, description=description, expected_version=expected_version)
        return organization

    async def list_members(self, organization_id: UUID) -> list[Member]:
        """The members of the organization that this unit of work has entered, by address."""
        query = (
            select(User, Membership.role)
            .join(Membership, Membership.user_id == User.id)
            .where(Membership.organization_id == organization_id)
            .order_by(User.email)
        )
        return [Member(user, Role(role)) for user, role in await self._uow.session.execute(query)]

    async def add_member(self, organization_id: UUID, user_id: UUID, role: Role) -> None:
        """Make a user a member of the organization that this unit of work has entered, or change the role."""
        membership = await self._uow.session.get(Membership, (organization_id, user_id))
        if membership is None:
            self._uow.session.add(
                Membership(
                    organization_id=organization_id, user_id=user_id, role=role.value, created_at=self._uow.now()
                )
            )
        else:
            membership.role = role.value
        await self._uow.session.flush()

    async def change_role(self, organization_id: UUID, user_id: UUID, role: Role) -> None:
        """Change a member's role.

        Raises:
            NotFound: the user is not a member.
            Conflict: it would leave the organization without an owner.
        """
        membership = await self._membership(organization_id, user_id)
        if membership.role == Role.OWNER and role is not Role.OWNER:
            await self._check_other_owner(organization_id, user_id)
        membership.role = role.value
        await self._uow.session.flush()

    async def remove_member(self, organization_id: UUID, user_id: UUID) -> None:
        """End a membership.

        Raises:
            NotFound: the user is not a member.
            Conflict: it would leave the organization without an owner.
        """
        membership = await self._membership(organization_id, user_id)
        if membership.role == Role.OWNER:
            await self._check_other_owner(organization_id, user_id)
        await self._uow.session.execute(delete(Membership).where(_is(organization_id, user_id)))

    async def work_in(self, user_id: UUID, organization_id: UUID) -> None:
        """Let this unit of work's user work in an organization that he is a member of.

        Raises:
            NotFound: he is not a member.
        """
        query = select(Membership.role).where(_is(organization_id, user_id))
        if (await self._uow.session.scalars(query)).one_or_none() is None:
            raise NotFound("organization", organization_id)
        user = await self._uow.session.get_one(User, user_id)
        user.organization_id = organization_id
        user.updated_at = self._uow.now()
        await self._uow.session.flush()

    async def _create(
        self, organization_id: UUID, name: str, description: str | None, wire_id: str | None
    ) -> Organization:
        wanted = wire_id if wire_id is not None else wire_id_from(name)
        for attempt in range(_TRIES):
            try:
                return await self._journal.create(
                    Organization,
                    id=organization_id,
                    organization_id=organization_id,
                    name=name,
                    description=description,
                    properties={"wire_id": wanted},
                )
            except Conflict:
                if wire_id is not None or attempt == _TRIES - 1:
                    raise
                wanted = another_wire_id(wire_id_from(name))
        raise AssertionError

    async def _membership(self, organization_id: UUID, user_id: UUID) -> Membership:
        membership = await self._uow.session.get(Membership, (organization_id, user_id))
        if membership is None:
            raise NotFound("member", user_id)
        return membership

    async def _check_other_owner(self, organization_id: UUID, user_id: UUID) -> None:
        query = select(func.count()).where(
            Membership.organization_id == organization_id,
            Membership.role == Role.OWNER.value,
            Membership.user_id != user_id,
        )
        if not (await self._uow.session.execute(query)).scalar_one():
            raise Conflict("owner", user_id, "is the only one; make someone else an owner first")


def _is(organization_id: UUID, user_id: UUID) -> ColumnElement[bool]:
    return and_(Membership.organization_id == organization_id, Membership.user_id == user_id)
