"""Entities: every kind of thing that an organization has, in one table, each with typed properties.

A feature declares its kinds as subclasses of `Entity` with a frozen pydantic model `Properties`. Changes go through
`EntityJournal` alone: it validates, appends the event (kernel/events.py) and changes the row, in one transaction.
"""

from datetime import datetime
from typing import Any, ClassVar, Generic, TypeVar, cast
from uuid import UUID, uuid4

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import Boolean, DateTime, Integer, Text, inspect, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.orm.exc import StaleDataError

from lms_cloud.kernel.database import Base, UnitOfWork
from lms_cloud.kernel.errors import Conflict, Invalid, NotFound
from lms_cloud.kernel.events import append_event, lock_chain

MAX_NAME_LENGTH = 100
MAX_DESCRIPTION_LENGTH = 500


class EntityProperties(BaseModel):
    """The base of every kind's properties: frozen, nothing undeclared, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


P = TypeVar("P", bound=EntityProperties)


class Entity(Base):
    """A row of `entities`. Subclasses say which kind it is (`entity_type`).

    Attributes:
        organization_id: the tenant; an organization's own id for the organization itself.
        properties: as stored; read them typed through `typed`.
        is_active: False once deleted: events and readings go on naming it.
        version: counts the changes; a change based on an older version is refused.
    """

    __tablename__ = "entities"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    entity_type: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    description: Mapped[str | None] = mapped_column(Text)
    organization_id: Mapped[UUID]
    properties: Mapped[dict[str, Any]] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    is_active: Mapped[bool] = mapped_column(Boolean)
    version: Mapped[int] = mapped_column(Integer)

    __mapper_args__: ClassVar[dict[str, Any]] = {  # type: ignore[misc]  # DeclarativeBase types it as an instance's
        "polymorphic_on": "entity_type",
        "version_id_col": version,
    }

    Properties: ClassVar[type[EntityProperties]] = EntityProperties

    @property
    def label(self) -> str:
        """What people call this kind of thing: "bioreactor", "alarm rule"."""
        return self.entity_type.replace("_", " ")

    def snapshot(self) -> dict[str, Any]:
        """The whole row as an event keeps it: plain JSON, enough to build the row again."""
        return {
            "id": str(self.id),
            "entity_type": self.entity_type,
            "name": self.name,
            "description": self.description,
            "organization_id": str(self.organization_id),
            "properties": self.properties,
            "created_at": self.created_at.isoformat(),
            "updated_at": self.updated_at.isoformat(),
            "is_active": self.is_active,
            "version": self.version,
        }


class TypedEntity(Generic[P]):
    """Mixed into a subclass of `Entity`: gives its properties as the model `P`."""

    properties: Any
    Properties: ClassVar[type[EntityProperties]]

    @property
    def typed(self) -> P:
        """The properties, validated."""
        return cast("P", self.Properties.model_validate(self.properties))


E = TypeVar("E", bound=Entity)


class EntityJournal:
    """The one way to change entities: an event and the row, in the transaction of one unit of work."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    async def create(
        self,
        kind: type[E],
        *,
        organization_id: UUID,
        name: str,
        properties: EntityProperties | dict[str, Any],
        description: str | None = None,
        id: UUID | None = None,  # noqa: A002 - the column's name
        reason: str | None = None,
    ) -> E:
        """Create an entity.

        Raises:
            Invalid: name, description or a property is not allowed.
            Conflict: an id of it (wire id; a tag's name) is taken.
        """
        now = self._uow.now()
        entity = kind(
            id=id or uuid4(),
            name=check_name(name),
            description=check_description(description),
            organization_id=organization_id,
            properties=check_properties(kind, properties),
            created_at=now,
            updated_at=now,
            is_active=True,
        )
        await self._write(entity, "created", None, reason)
        return entity

    async def update(
        self,
        entity: Entity,
        *,
        name: str | None = None,
        description: str | None = None,
        properties: EntityProperties | dict[str, Any] | None = None,
        expected_version: int | None = None,
        reason: str | None = None,
    ) -> bool:
        """Change an entity; what is None stays. Returns whether anything changed (else there is no event).

        Raises:
            Invalid: a new value is not allowed.
            Conflict: it is no longer at `expected_version`, or an id is taken.
        """
        self._expect(entity, expected_version)
        before = entity.snapshot()
        if name is not None:
            entity.name = check_name(name)
        if description is not None:
            entity.description = check_description(description)
        if properties is not None:
            entity.properties = check_properties(type(entity), properties)
        if entity.snapshot() == before:
            return False
        await self._write(entity, "updated", before, reason)
        return True

    async def delete(self, entity: Entity, *, expected_version: int | None = None, reason: str | None = None) -> None:
        """Retire an entity: it is no longer listed, its ids are free again, its history stays.

        Raises:
            Conflict: it is no longer at `expected_version`.
        """
        self._expect(entity, expected_version)
        before = entity.snapshot()
        entity.is_active = False
        await self._write(entity, "deleted", before, reason)

    async def get(self, kind: type[E], id: UUID) -> E:  # noqa: A002 - the column's name
        """The active entity of that kind and id that this unit of work may see.

        Raises:
            NotFound: there is none.
        """
        entity = await self._uow.session.get(kind, id)
        if entity is None or not entity.is_active:
            raise NotFound(label_of(kind), id)
        return entity

    async def all_of(self, kind: type[E]) -> list[E]:
        """The active entities of that kind that this unit of work may see, by name."""
        query = select(kind).where(kind.is_active).order_by(kind.name, kind.id)
        return list(await self._uow.session.scalars(query))

    @staticmethod
    def _expect(entity: Entity, version: int | None) -> None:
        if version is not None and version != entity.version:
            raise Conflict(entity.label, entity.name, f"was changed meanwhile: it is at version {entity.version} now")

    async def _write(self, entity: Entity, kind: str, before: dict[str, Any] | None, reason: str | None) -> None:
        session = self._uow.session
        label, key = entity.label if before else label_of(type(entity)), _key(entity)
        organization_id = entity.organization_id
        # The chain's lock comes before the row's, always: two writers in the opposite order would wait for ever.
        with session.no_autoflush:
            await lock_chain(self._uow, organization_id)
        try:
            if before is None:
                # A savepoint, so that a caller can try another id after a conflict.
                async with session.begin_nested():
                    session.add(entity)
            else:
                entity.updated_at = self._uow.now()
                await session.flush()
        except IntegrityError as error:
            raise Conflict(label, key, "is already there") from error
        except StaleDataError as error:
            raise Conflict(label, key, "was changed meanwhile; read it again") from error
        await append_event(
            self._uow,
            organization_id,
            kind=kind,
            entity_type=entity.entity_type,
            entity_id=entity.id,
            before=before,
            after=entity.snapshot(),
            reason=reason,
        )


def label_of(kind: type[Entity]) -> str:
    """What people call things of `kind`: "bioreactor", "alarm rule"."""
    return str(inspect(kind).polymorphic_identity).replace("_", " ")


def check_name(name: str) -> str:
    """`name` without blanks around it.

    Raises:
        Invalid: it is empty, longer than 100 characters, or holds control characters.
    """
    name = name.strip()
    if not 1 <= len(name) <= MAX_NAME_LENGTH or not name.isprintable():
        raise Invalid("name", name[:MAX_NAME_LENGTH], f"1 to {MAX_NAME_LENGTH} printable characters")
    return name


def check_description(description: str | None) -> str | None:
    """`description` without blanks around it; None for an empty one.

    Raises:
        Invalid: it is longer than 500 characters, or holds control characters other than line breaks and tabs.
    """
    if description is None or not description.strip():
        return None
    description = description.strip()
    if len(description) > MAX_DESCRIPTION_LENGTH or not all(c.isprintable() or c in "\r\n\t" for c in description):
        raise Invalid("description", description[:50], f"at most {MAX_DESCRIPTION_LENGTH} printable characters")
    return description


def check_properties(kind: type[Entity], properties: EntityProperties | dict[str, Any]) -> dict[str, Any]:
    """`properties` validated by the kind's model, as plain JSON.

    Raises:
        Invalid: names the property, what was found and what is allowed.
    """
    raw = properties.model_dump(mode="json") if isinstance(properties, EntityProperties) else properties
    try:
        return kind.Properties.model_validate(raw).model_dump(mode="json")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "properties"
        raise Invalid(field, first["input"], first["msg"].removeprefix("Value error, ")) from error


def _key(entity: Entity) -> str:
    """What people know the entity by: its wire id where it has one, else its name."""
    return str(entity.properties.get("wire_id") or entity.name)
