"""How far is known what each agent has logged, and why not further. Pure.

Used by `lms_cloud.telemetry.completeness.report` for its verdict. Nobody in the cloud can know what an agent has logged
since it last told of anything; the reasons why nothing has come since are told apart as far as they can be.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

LATELY: Final = timedelta(minutes=2)
"""What a connected agent has logged in the last minutes may be on its way: nobody misses it yet."""

IngestState = Literal["away", "deaf", "hearing"]
"""Whether no ingest worker runs, none hears the broker, or one does."""


@dataclass(frozen=True, slots=True)
class AgentState:
    """One agent, as far as a report needs it.

    Attributes:
        connected: by its last birth or death.
        since: when it came or went; None if it was never heard.
        numbers: whether it numbers its batches: else nobody can tell what of it is missing.
        known_until: of the newest batch that came, or of the birth that told how far its log reaches.
        replaced_at: by then another agent had taken over the bioreactor, as the fleet says too: what this one logged
            later is not the bioreactor's. None: nobody has, or the report is of the agent itself.
        left_off: between two of its logs, what of the time nobody tells: from the last that is known of the former to
            the first that the latter says. The former may hold more, which is on its way or lost.
    """

    agent_id: UUID
    name: str
    connected: bool
    since: datetime | None
    numbers: bool
    known_until: datetime | None
    replaced_at: datetime | None = None
    left_off: Sequence[tuple[datetime, datetime]] = ()

    def _left_off(self, start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
        return [span for span in self.left_off if span[0] < self._ends(end) and span[1] > start]

    def known_to(self, start: datetime, end: datetime) -> datetime | None:
        """From the beginning of a window on, all is known up to here."""
        return (
            min([self.known_until, *(first for first, _ in self._left_off(start, end))]) if self.known_until else None
        )

    def _ends(self, end: datetime) -> datetime:
        return end if self.replaced_at is None else min(end, self.replaced_at)

    def concerns(self, start: datetime, end: datetime) -> bool:
        """Whether anything that it logged may belong to a window."""
        return start < self._ends(end)

    def is_known(self, start: datetime, end: datetime, asked_at: datetime) -> bool:
        """Whether all that it logged in a window is known, but for what may be on its way."""
        if not self.concerns(start, end):
            return True
        if self.known_until is None or self._left_off(start, end):
            return False
        is_new = self.connected and start <= asked_at <= self.known_until + LATELY
        return self.known_until >= self._ends(end) or is_new

    def why_not(self, start: datetime, end: datetime, ingest: IngestState, *, others: bool) -> str:
        """Why no more is known of a window.

        Args:
            ingest: whether something could be heard.
            others: whether other agents have read the same bioreactor.
        """
        if self.since is None and not self.numbers:
            return f"{self.name} was never heard"
        if not self.numbers:
            return f"{self.name} does not number what it sends, so nobody can tell what of it is missing"
        for first, last in self._left_off(start, end):
            return (
                f"{self.name} began a new log: what the one before holds from {instant(first)} to {instant(last)} has"
                " not come, and may be lost"
            )
        after = "" if self.known_until is None else f" after {instant(self.known_until)}"
        if self.replaced_at is not None:
            return f"{self.name} was replaced by {instant(self.replaced_at)}; whatever it logged{after} has not come"
        if not self.connected:
            since = "" if self.since is None else f" since {instant(self.since)}"
            remedy = "; if it was replaced, let the fleet say which agent serves the bioreactor" if others else ""
            return f"{self.name} is offline{since}; what it has logged{after} is known when it is back{remedy}"
        if ingest == "away":
            return f"no ingest worker runs; what {self.name} has logged{after} is known when one does"
        if ingest == "deaf":
            return f"ingest does not hear the broker; what {self.name} has logged{after} is known when it does"
        return f"{self.name} is connected, but has sent nothing{after}: it has logged nothing, or cannot send it"

    def as_json(self) -> dict[str, Any]:
        """As REST shows it."""
        return {
            "agent_id": str(self.agent_id),
            "name": self.name,
            "connected": self.connected,
            "since": self.since and self.since.isoformat(),
            "known_until": self.known_until and self.known_until.isoformat(),
            "replaced_at": self.replaced_at and self.replaced_at.isoformat(),
        }


def known_until(agents: Sequence[AgentState], start: datetime, end: datetime) -> datetime | None:
    """What was logged in a window is known up to here, of all agents that it concerns; None: nothing is known."""
    concerned = [agent for agent in agents if agent.concerns(start, end)]
    times = [
        agent.known_to(start, end)
        for agent in concerned
        if not agent.is_known(start, end, datetime.max.replace(tzinfo=UTC))
    ]
    if not concerned or None in times:
        return None
    return min([end, *(at for at in times if at is not None)])


def instant(at: datetime) -> str:
    """As people read it: to the second, UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
