"""What is told of a window: streams, spans of batches that are not stored, gaps, hours or days, and the verdict.

Made by `lms_cloud.telemetry.completeness.service`; shown by REST, the page and the command line.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from lms_cloud.telemetry.completeness.reach import AgentState, IngestState, known_until

Unit = Literal["hour", "day"]
Verdict = Literal["complete", "incomplete", "unknown"]
MAX_LISTED: Final = 500


@dataclass(frozen=True, slots=True)
class Span:
    """Batches of one stream that are not stored, with numbers in a row.

    Attributes:
        first, last: their numbers, both included.
        dead: they came, but could not be stored: their bytes are kept as dead letters. Else they have not come.
        after, before: they were logged between these instants; None where no neighbour tells.
        why: what can be told of it.
    """

    agent_id: UUID
    stream: UUID
    first: int
    last: int
    dead: bool
    after: datetime | None
    before: datetime | None
    why: str

    @property
    def count(self) -> int:
        """How many batches."""
        return self.last - self.first + 1

    def touches(self, start: datetime, end: datetime) -> bool:
        """Whether any of it may have been logged in a window."""
        return (self.after is None or self.after < end) and (self.before is None or self.before >= start)

    def as_json(self) -> dict[str, Any]:
        """As REST shows it."""
        return {
            "agent_id": str(self.agent_id),
            "stream": str(self.stream),
            "first": self.first,
            "last": self.last,
            "count": self.count,
            "state": "dead" if self.dead else "missing",
            "after": self.after and self.after.isoformat(),
            "before": self.before and self.before.isoformat(),
            "why": self.why,
        }


@dataclass(frozen=True, slots=True)
class LoggedGap:
    """A stretch of time in which tags were due and not read, as the agent told."""

    bioreactor_id: UUID
    began_at: datetime
    ended_at: datetime | None
    reason: str
    tags: int

    def as_json(self) -> dict[str, Any]:
        """As REST shows it."""
        return {
            "bioreactor_id": str(self.bioreactor_id),
            "began_at": self.began_at.isoformat(),
            "ended_at": self.ended_at and self.ended_at.isoformat(),
            "reason": self.reason,
            "tags": self.tags,
        }


@dataclass(slots=True)
class Bucket:
    """One hour or day (UTC).

    Attributes:
        batches, readings: stored; each batch counts in the hour of its first reading.
        late: of those batches, how many were sent late.
        missing, dead: batches that may have been logged in it; one that lies between two buckets counts in each.
        gap_s: seconds of it in which at least one tag was due and not read.
    """

    start: datetime
    batches: int = 0
    readings: int = 0
    late: int = 0
    missing: int = 0
    dead: int = 0
    gap_s: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """As REST shows it."""
        return {
            "start": self.start.isoformat(),
            "batches": self.batches,
            "readings": self.readings,
            "late": self.late,
            "missing": self.missing,
            "dead": self.dead,
            "gap_s": round(self.gap_s, 3),
        }


@dataclass(frozen=True, slots=True)
class StreamState:
    """One log of an agent.

    Attributes:
        head: the last number that is known to be logged.
        committed: how many numbers are in the ledger.
        current: whether it is the log that the agent writes now.
    """

    stream: UUID
    agent_id: UUID
    head: int
    committed: int
    current: bool

    def as_json(self) -> dict[str, Any]:
        """As REST shows it."""
        return {
            "stream": str(self.stream),
            "agent_id": str(self.agent_id),
            "head": self.head,
            "committed": self.committed,
            "missing": self.head - self.committed,
            "current": self.current,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """What is known of a window.

    Attributes:
        asked_at: when that was.
        agents: whose batches may lie in the window.
        ingest: whether anything could be heard just then.
        streams: every log that was ever heard of.
        spans: batches that are not stored and may have been logged in the window.
        gaps: that lie in the window.
        shared: other bioreactors have the same agent, so that missing batches may be theirs.
    """

    start: datetime
    end: datetime
    unit: Unit
    asked_at: datetime
    agents: Sequence[AgentState]
    ingest: IngestState
    streams: list[StreamState]
    spans: list[Span]
    gaps: list[LoggedGap]
    buckets: list[Bucket] = field(default_factory=list)
    shared: bool = False

    @property
    def known_until(self) -> datetime | None:
        """What was logged after this is not known: no batch and no birth has told since. None: nothing is known."""
        return known_until(self.agents, self.start, self.end)

    @property
    def connected(self) -> bool:
        """Whether all agents that the window concerns are."""
        concerned = [agent for agent in self.agents if agent.concerns(self.start, self.end)]
        return bool(concerned) and all(agent.connected for agent in concerned)

    @property
    def batches(self) -> int:
        """Stored in the window."""
        return sum(bucket.batches for bucket in self.buckets)

    @property
    def readings(self) -> int:
        """Stored in the window."""
        return sum(bucket.readings for bucket in self.buckets)

    @property
    def late(self) -> int:
        """Of the batches in the window, those that were sent late."""
        return sum(bucket.late for bucket in self.buckets)

    @property
    def missing(self) -> int:
        """Batches that were or may have been logged in the window, and have not come."""
        return sum(span.count for span in self.spans if not span.dead)

    @property
    def dead(self) -> int:
        """Batches that could not be stored."""
        return sum(span.count for span in self.spans if span.dead)

    @property
    def verdict(self) -> Verdict:
        """Whether everything that was logged in the window is stored."""
        if self.spans:
            return "incomplete"
        known = [agent.is_known(self.start, self.end, self.asked_at) for agent in self.agents]
        return "complete" if known and all(known) else "unknown"

    @property
    def why(self) -> str:
        """Why it is unknown, in words; "" unless it is."""
        if self.verdict != "unknown":
            return ""
        if self.start > self.asked_at:
            return "the window has not begun"
        reasons = [
            agent.why_not(self.start, self.end, self.ingest, others=len(self.agents) > 1)
            for agent in self.agents
            if not agent.is_known(self.start, self.end, self.asked_at)
        ]
        return ". ".join(reasons) or "no agent has told of it yet"

    def as_json(self) -> dict[str, Any]:
        """As REST shows it."""
        return {
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            "unit": self.unit,
            "verdict": self.verdict,
            "known_until": self.known_until and self.known_until.isoformat(),
            "why": self.why or None,
            "connected": self.connected,
            "ingest": self.ingest,
            "agents": [agent.as_json() for agent in self.agents],
            "batches": self.batches,
            "readings": self.readings,
            "late": self.late,
            "missing": self.missing,
            "dead": self.dead,
            "shared": self.shared,
            "streams": [stream.as_json() for stream in self.streams],
            "spans": [span.as_json() for span in self.spans[:MAX_LISTED]],
            "more_spans": max(0, len(self.spans) - MAX_LISTED),
            "gaps": [gap.as_json() for gap in self.gaps[:MAX_LISTED]],
            "more_gaps": max(0, len(self.gaps) - MAX_LISTED),
            "buckets": [bucket.as_json() for bucket in self.buckets],
        }
