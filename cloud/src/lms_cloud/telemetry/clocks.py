"""How far times can be trusted: the clock records of a bioreactor's agent, for a window of time.

Before it: `lms_cloud.telemetry.storage.clock_rows`, which writes them. After it: REST and the bioreactor's page.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text

from lms_cloud.fleet.service import FleetService
from lms_cloud.kernel.database import UnitOfWork
from lms_cloud.telemetry.history.service import check_window

MAX_LISTED: Final = 1000
NOTABLE_MS: Final = 1000
"""How far an agent's time may be off before it is worth a word."""

_CLOCKS: Final = """
with mine as (
    select s.id, s.created_at, t.name as agent from streams s join entities t on t.id = s.agent_id where s.agent_id in (
        select agent_id from feeds where bioreactor_id = :bioreactor_id
        union select cast(properties ->> 'agent_id' as uuid) from entities where id = :bioreactor_id
    )
), known as (
    select c.*, mine.agent, mine.created_at,
        coalesce(
            lead(from_at) over (partition by c.stream order by c.from_number),
            (select last_taken_at from ledger l where l.stream = c.stream and last_taken_at is not null
                order by number desc limit 1)
        ) as to_at
    from clocks c join mine on mine.id = c.stream
)
select stream, from_number, agent, from_at, to_at, boot, offset_ms, trusted, error_ms, correction_ms, estimated
from known
"""
_WITHIN = text(f"""{_CLOCKS}
where from_at < :end and coalesce(to_at, from_at) >= :start order by from_at desc, from_number desc limit :limit
""")
_NEWEST = text(f"{_CLOCKS} order by created_at desc, from_number desc limit 1")


@dataclass(frozen=True, slots=True)
class ClockStretch:
    """Readings of one stream, taken under one state of the agent's clock.

    Attributes:
        stream, from_number: the batch from which on it holds.
        agent: the agent's name.
        from_at, to_at: times of the first reading, and of the first under the next state or, so far, of the last one.
        boot: of the agent's computer.
        offset_ms: a reading's time minus this is the time since boot, ms.
        trusted: whether the time was known to be right.
        error_ms: by how much the computer's clock was ahead of the agent's time, ms; None if not known.
        correction_ms: by how much the offset changed with it.
        estimated: whether nobody will ever know the time.
    """

    stream: UUID
    from_number: int
    agent: str
    from_at: datetime
    to_at: datetime | None
    boot: UUID
    offset_ms: int
    trusted: bool
    error_ms: int | None
    correction_ms: int
    estimated: bool

    @property
    def remark(self) -> str:
        """What somebody who looks at the times should know; "" if nothing."""
        if self.estimated:
            return "times are estimated: the power went before they were known"
        if self.error_ms is not None and abs(self.error_ms) > NOTABLE_MS:
            way = "ahead of" if self.error_ms < 0 else "behind"
            return f"times are {abs(self.error_ms) / 1000:.1f} s {way} the true time"
        return "" if self.trusted else "not synchronised: times may be off"

    def as_json(self) -> dict[str, Any]:
        """As REST shows it."""
        return {
            "stream": str(self.stream),
            "from_number": self.from_number,
            "agent": self.agent,
            "from_at": self.from_at.isoformat(),
            "to_at": self.to_at and self.to_at.isoformat(),
            "boot": str(self.boot),
            "offset_ms": self.offset_ms,
            "trusted": self.trusted,
            "error_ms": self.error_ms,
            "correction_ms": self.correction_ms,
            "estimated": self.estimated,
            "remark": self.remark,
        }


class ClockService:
    """Clock records, in one unit of work."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    async def within(self, bioreactor_id: UUID, start: datetime, end: datetime) -> list[ClockStretch]:
        """Under which clocks the readings of a window were taken, in order of time; at most 1000, the newest.

        Raises:
            NotFound: the organization has no such bioreactor.
            Invalid: the window is absurd.
        """
        check_window(start, end)
        await FleetService(self._uow).get_bioreactor(bioreactor_id)
        values = {"bioreactor_id": bioreactor_id, "start": start, "end": end, "limit": MAX_LISTED}
        rows = (await self._uow.session.execute(_WITHIN, values)).all()
        return [ClockStretch(*row) for row in reversed(rows)]

    async def newest(self, bioreactor_id: UUID) -> ClockStretch | None:
        """How the clock of the bioreactor's agent is, by its last word; None if it never said."""
        row = (await self._uow.session.execute(_NEWEST, {"bioreactor_id": bioreactor_id})).first()
        return None if row is None else ClockStretch(*row)
