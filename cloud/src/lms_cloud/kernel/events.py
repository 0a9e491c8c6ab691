"""Events: the append-only journal of every change, one hash chain per organization.

Before it: kernel/entities.py, which appends one event for each change in the same transaction. The database refuses
to update, delete or truncate events (trigger and missing grants, see migrations/); `verify` finds what got past that.
"""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import BigInteger, DateTime, LargeBinary, Text, func, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from lms_cloud.kernel.database import Base, UnitOfWork
from lms_cloud.kernel.errors import Invalid
from lms_cloud.kernel.hash_chain import GENESIS, Break, Link, first_break, link_hash

_LOCK = text("select pg_advisory_xact_lock(hashtextextended('lms.events ' || :organization_id, 0))")
_CHUNK = 1000


class Event(Base):
    """One change: what, whose, when, by whom and why; immutable.

    Attributes:
        sequence: 1, 2, 3 … in the organization.
        kind: "created", "updated" or "deleted".
        actor: "user <id>", "agent <wire id>", "operator lms-cloud" or "system lms-cloud".
        before, after: the whole entity; None before its creation.
        previous_hash, hash: see kernel/hash_chain.py.
    """

    __tablename__ = "events"

    organization_id: Mapped[UUID] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    id: Mapped[UUID] = mapped_column(unique=True)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    actor: Mapped[str] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text)
    entity_type: Mapped[str] = mapped_column(Text)
    entity_id: Mapped[UUID]
    before: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    after: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    previous_hash: Mapped[bytes] = mapped_column(LargeBinary)
    hash: Mapped[bytes] = mapped_column(LargeBinary)

    def content(self) -> dict[str, Any]:
        """What the hash covers, besides the number and the hash before it."""
        return {
            "organization_id": self.organization_id,
            "id": self.id,
            "at": self.at,
            "actor": self.actor,
            "reason": self.reason,
            "kind": self.kind,
            "entity_type": self.entity_type,
            "entity_id": self.entity_id,
            "before": self.before,
            "after": self.after,
        }

    def link(self) -> Link:
        """This event as kernel/hash_chain.py sees it."""
        return Link(self.sequence, self.previous_hash, self.hash, self.content())


class Head(NamedTuple):
    """The last event of a chain; written down elsewhere it is an anchor."""

    sequence: int
    hash: bytes


async def lock_chain(uow: UnitOfWork, organization_id: UUID) -> None:
    """Be the only one who appends to the organization's chain, until the transaction ends."""
    await uow.session.execute(_LOCK, {"organization_id": str(organization_id)})


async def append_event(
    uow: UnitOfWork,
    organization_id: UUID,
    *,
    kind: str,
    entity_type: str,
    entity_id: UUID,
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
    reason: str | None = None,
) -> Event:
    """Append one event to `organization_id`'s chain, in the transaction of `uow`.

    A lock per organization, held until that transaction ends, lets no two writers continue the same event.

    Raises:
        Invalid: `before`, `after` or `reason` hold what JSON in the database cannot (NUL, NaN).
    """
    await lock_chain(uow, organization_id)
    head = await chain_head(uow.session, organization_id)
    event = Event(
        organization_id=organization_id,
        sequence=1 if head is None else head.sequence + 1,
        id=uuid4(),
        at=uow.now(),
        actor=str(uow.actor),
        reason=reason,
        kind=kind,
        entity_type=entity_type,
        entity_id=entity_id,
        before=before,
        after=after,
        previous_hash=GENESIS if head is None else head.hash,
    )
    try:
        event.hash = link_hash(event.previous_hash, event.sequence, event.content())
    except ValueError as error:
        raise Invalid(entity_type, str(error), "text and finite numbers") from error
    uow.session.add(event)
    await uow.session.flush()
    return event


async def chain_head(session: AsyncSession, organization_id: UUID) -> Head | None:
    """The last event of the organization's chain; None where there is none yet."""
    row = (
        await session.execute(
            select(Event.sequence, Event.hash)
            .where(Event.organization_id == organization_id)
            .order_by(Event.sequence.desc())
            .limit(1)
        )
    ).one_or_none()
    return None if row is None else Head(row.sequence, row.hash)


async def read_events(
    session: AsyncSession, organization_id: UUID, *, before: int | None = None, limit: int = 50
) -> list[Event]:
    """The newest events first, at most `limit`, below number `before` where given (for paging)."""
    query = select(Event).where(Event.organization_id == organization_id)
    if before is not None:
        query = query.where(Event.sequence < before)
    return list(await session.scalars(query.order_by(Event.sequence.desc()).limit(limit)))


async def verify_chain(session: AsyncSession, organization_id: UUID, anchor: Head | None = None) -> Break | None:
    """Recompute every hash of the organization's chain; the first event that does not fit, or None."""
    links = [link async for link in _links(session, organization_id)]
    return first_break(links, None if anchor is None else (anchor.sequence, anchor.hash))


async def count_events(session: AsyncSession, organization_id: UUID) -> int:
    """How many events the organization has."""
    query = select(func.count()).select_from(Event).where(Event.organization_id == organization_id)
    return (await session.execute(query)).scalar_one()


async def _links(session: AsyncSession, organization_id: UUID) -> AsyncIterator[Link]:
    query = select(Event).where(Event.organization_id == organization_id).order_by(Event.sequence)
    result = await session.stream_scalars(query.execution_options(yield_per=_CHUNK))
    async for event in result:
        yield event.link()
