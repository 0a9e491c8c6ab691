"""Dead letters as people see them: what could not be stored, why, and having it stored after all.

Before it: `lms_cloud.telemetry.storage.transaction`, which keeps them. After it: REST, the page and the command line;
and `replaying`, the part of the ingest worker that does what is asked for here. Every request is an event of the
organization, so that it is known who did what.

    open ──ask──▶ asked ──ingest──▶ stored        its readings are in the database, once
      ▲             └─────ingest──▶ open          it still cannot be stored; `refused` says why
      └──ask── dismissed ◀──dismiss── open        somebody has seen it, and leaves it
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from lms_protocol.errors import TopicError
from lms_protocol.topics import NodeTopic
from lms_protocol.topics import parse as parse_topic
from sqlalchemy import text

from lms_cloud.kernel.database import UnitOfWork
from lms_cloud.kernel.errors import Conflict, NotFound
from lms_cloud.kernel.events import append_event

LetterState = Literal["open", "asked", "stored", "dismissed"]
STATES: Final[tuple[LetterState, ...]] = ("open", "asked", "stored", "dismissed")
MAX_LISTED: Final = 200
DEFAULT_LISTED: Final = 50

WITHOUT_BIRTH: Final = "what its tag numbers stand for was not kept with it, so it cannot be read"
SUPERSEDED: Final = (
    "another batch is committed under its number. If its agent is of this version, it has logged the batch again under"
    " a new number; look at it, then dismiss it"
)

_COLUMNS: Final = """
select public_id, id as position, kind, topic, node, bioreactor_id, reason, stream, number, length(payload) as size,
    first_at, last_at, times, state, refused, changed_at, changed_by, birth is not null as has_birth
from dead_letters
"""
_WHICH: Final = """
where (cast(:states as text[]) is null or state = any(:states))
    and (cast(:bioreactor_id as uuid) is null or bioreactor_id = :bioreactor_id)
    and (cast(:before as uuid) is null or id < (select id from dead_letters where public_id = :before))
order by id desc limit :limit
"""
_LIST = text(_COLUMNS + _WHICH)
_ONE = text(f"{_COLUMNS} where public_id = :letter")
_BYTES = text("select payload from dead_letters where public_id = :letter")
_CHANGE = text("""
update dead_letters set state = :state, changed_at = :now, changed_by = :actor
where public_id = :letter and state = any(:from_states)
""")
_OPEN = text("""
select bioreactor_id, count(*) as letters, count(*) filter (where kind = 'conflict') as conflicts,
    max(last_at) as last_at
from dead_letters where state in ('open', 'asked') and bioreactor_id = any(:bioreactors) group by bioreactor_id
""")


@dataclass(frozen=True, slots=True)
class KeptLetter:
    """One dead letter, without its bytes.

    Attributes:
        kind: "poison", or "conflict": another batch is committed under its number.
        reason: why it could not be stored when it came.
        size: of its bytes.
        times: how often the same came.
        refused: why it could not be stored when it was last read again.
        changed_by: who asked or dismissed, as on events.
        has_birth: what its tag numbers stand for was kept with it.
    """

    id: UUID
    kind: str
    topic: str
    agent: str
    device: str | None
    bioreactor_id: UUID | None
    reason: str
    stream: UUID | None
    number: int | None
    size: int
    first_at: datetime
    last_at: datetime
    times: int
    state: LetterState
    refused: str | None
    changed_at: datetime | None
    changed_by: str | None
    has_birth: bool

    @property
    def name(self) -> str:
        """What a person calls it: the batch, or what it came from."""
        sender = self.device or self.agent or self.topic
        return f"batch {self.number} of {sender}" if self.number is not None else f"message of {sender}"

    @property
    def never(self) -> str | None:
        """Why it cannot be stored whatever is done; None if it may be: then only reading it again tells."""
        return SUPERSEDED if self.kind == "conflict" else None if self.has_birth else WITHOUT_BIRTH

    @property
    def can_be_replayed(self) -> bool:
        """Whether asking makes sense."""
        return self.never is None and self.state in {"open", "dismissed"}

    def as_json(self) -> dict[str, Any]:
        """As REST shows it."""
        return {
            "id": str(self.id),
            "kind": self.kind,
            "topic": self.topic,
            "agent": self.agent,
            "device": self.device,
            "bioreactor_id": self.bioreactor_id and str(self.bioreactor_id),
            "reason": self.reason,
            "stream": self.stream and str(self.stream),
            "number": self.number,
            "bytes": self.size,
            "first_at": self.first_at.isoformat(),
            "last_at": self.last_at.isoformat(),
            "times": self.times,
            "state": self.state,
            "refused": self.refused,
            "never": self.never,
            "changed_at": self.changed_at and self.changed_at.isoformat(),
            "changed_by": self.changed_by,
        }


@dataclass(frozen=True, slots=True)
class OpenLetters:
    """How many letters of a bioreactor wait for somebody to look at them.

    Attributes:
        conflicts: those among them that say that an old log has come back: an alarm.
        last_at: when the last one came.
    """

    letters: int
    conflicts: int
    last_at: datetime


class DeadLetterService:
    """The dead letters of one organization, in one unit of work."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    async def list_letters(
        self,
        *,
        states: tuple[LetterState, ...] | None = None,
        bioreactor_id: UUID | None = None,
        before: UUID | None = None,
        limit: int = DEFAULT_LISTED,
    ) -> list[KeptLetter]:
        """The newest first.

        Args:
            states: only those in one of these; None for all.
            bioreactor_id: only this one's; None for all.
            before: only those older than this letter (for paging).
            limit: how many at most, 1 to 200.
        """
        values = {
            "states": None if states is None else list(states),
            "bioreactor_id": bioreactor_id,
            "before": before,
            "limit": max(1, min(limit, MAX_LISTED)),
        }
        return [_letter(row) for row in await self._uow.session.execute(_LIST, values)]

    async def get(self, letter: UUID) -> KeptLetter:
        """One letter.

        Raises:
            NotFound: there is none, or it is another organization's.
        """
        row = (await self._uow.session.execute(_ONE, {"letter": letter})).one_or_none()
        if row is None:
            raise NotFound("dead letter", letter)
        return _letter(row)

    async def payload(self, letter: UUID) -> bytes:
        """The bytes as they came.

        Raises:
            NotFound: there is no such letter.
        """
        row = (await self._uow.session.execute(_BYTES, {"letter": letter})).one_or_none()
        if row is None:
            raise NotFound("dead letter", letter)
        return bytes(row.payload)

    async def ask_for_replay(self, letter: UUID) -> KeptLetter:
        """Have ingest read it again and store it, if it can be stored. Asking again while it waits changes nothing.

        Raises:
            NotFound: there is no such letter.
            Conflict: it is stored already, or cannot be stored whatever is done.
        """
        found = await self.get(letter)
        if found.state == "stored":
            raise Conflict("dead letter", letter, "is stored already")
        if found.never is not None:
            raise Conflict("dead letter", letter, f"cannot be stored: {found.never}")
        if found.state != "asked":
            await self._change(found, "asked", ("open", "dismissed"), kind="replayed", reason=None)
        return await self.get(letter)

    async def dismiss(self, letter: UUID, reason: str | None = None) -> KeptLetter:
        """Take it off the list of what somebody should look at; its bytes are kept.

        Raises:
            NotFound: there is no such letter.
            Conflict: it is stored, or is being read again.
        """
        found = await self.get(letter)
        if found.state in {"stored", "asked"}:
            raise Conflict("dead letter", letter, "is stored already, or is being read again")
        if found.state != "dismissed":
            await self._change(found, "dismissed", ("open",), kind="dismissed", reason=reason or None)
        return await self.get(letter)

    async def open_of(self, bioreactors: list[UUID]) -> dict[UUID, OpenLetters]:
        """What waits for somebody to look at it, by bioreactor; those with nothing are left out."""
        rows = await self._uow.session.execute(_OPEN, {"bioreactors": bioreactors})
        return {row.bioreactor_id: OpenLetters(row.letters, row.conflicts, row.last_at) for row in rows}

    async def _change(
        self,
        found: KeptLetter,
        state: LetterState,
        from_states: tuple[LetterState, ...],
        *,
        kind: str,
        reason: str | None,
    ) -> None:
        values = {
            "letter": found.id,
            "state": state,
            "from_states": list(from_states),
            "now": self._uow.now(),
            "actor": str(self._uow.actor),
        }
        changed = await self._uow.session.execute(_CHANGE, values)
        if not changed.rowcount:  # type: ignore[attr-defined]  # an UPDATE has one
            raise Conflict("dead letter", found.id, "was changed by somebody else just now")
        organization_id = self._uow.organization_id
        assert organization_id is not None  # noqa: S101 - without a tenant there was nothing to find
        await append_event(
            self._uow,
            organization_id,
            kind=kind,
            entity_type="dead_letter",
            entity_id=found.id,
            before=_snapshot(found, found.state),
            after=_snapshot(found, state),
            reason=reason,
        )


def _snapshot(letter: KeptLetter, state: LetterState) -> dict[str, Any]:
    home = letter.bioreactor_id and str(letter.bioreactor_id)
    return {"name": letter.name, "state": state, "properties": {"bioreactor_id": home, "topic": letter.topic}}


def _letter(row: Any) -> KeptLetter:
    try:
        parsed = parse_topic(row.topic)
    except TopicError:
        parsed = None
    of_node = parsed if isinstance(parsed, NodeTopic) else None
    return KeptLetter(
        id=row.public_id,
        kind=row.kind,
        topic=row.topic,
        agent=row.node or (of_node.node if of_node else ""),
        device=of_node.device if of_node else None,
        bioreactor_id=row.bioreactor_id,
        reason=row.reason,
        stream=row.stream,
        number=row.number,
        size=row.size,
        first_at=row.first_at,
        last_at=row.last_at,
        times=row.times,
        state=row.state,
        refused=row.refused,
        changed_at=row.changed_at,
        changed_by=row.changed_by,
        has_birth=row.has_birth,
    )
