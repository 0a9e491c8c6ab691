"""Completeness: of what agents logged, what is committed, what is missing, and why.

Before it: `lms_cloud.telemetry.storage.tallies`, which counts in each commit. After it: REST, the page and the
command line.

A log numbers its batches without holes, so a number that is not committed below one that is, or below the head that
the agent told at its birth, is a batch that is missing. Its time is between those of its neighbours in the log: that
much is certain, and it is what is shown. Which bioreactor it belongs to is known only when it arrives, if its agent
serves several.

    logged     1 … head                    what the agent told, or the highest number that came
    committed  streams.committed           in the ledger, readings written; or dead: set aside, see dead_letters
    missing    logged without committed    not arrived yet, or lost with a log; `why` says what can be told
    gaps       gap records                 due, but not read: nothing was logged, and the agent says why
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import text

from lms_cloud.fleet.service import FleetService
from lms_cloud.kernel.database import UnitOfWork
from lms_cloud.kernel.errors import Invalid
from lms_cloud.telemetry.instants import check_instant

Unit = Literal["hour", "day"]
Verdict = Literal["complete", "incomplete", "unknown"]
UNITS: Final[dict[Unit, timedelta]] = {"hour": timedelta(hours=1), "day": timedelta(days=1)}
MAX_BUCKETS: Final = 800
HOURS_UP_TO: Final = timedelta(days=8)
MAX_LISTED: Final = 500
DEFAULT_WINDOW: Final = timedelta(hours=24)
LATELY: Final = timedelta(minutes=2)
"""What a connected agent has logged in the last minutes may be on its way: nobody misses it yet."""

_STREAMS = text("""
select s.id, s.agent_id, s.head, a.stream = s.id as current, coalesce(a.online, false) as online,
    array(select lower(r) from unnest(s.committed) r order by 1) as firsts,
    array(select upper(r) - 1 from unnest(s.committed) r order by 1) as lasts
from streams s left join agent_status a on a.agent_id = s.agent_id
where s.agent_id = any(:agents) order by s.created_at, s.id
""")
_DEAD = text("select stream, number from ledger where dead and stream = any(:streams) order by stream, number")
_TIMES = text("""
select w.place, earlier.at as after, later.at as before
from unnest(cast(:places as integer[]), cast(:streams as uuid[]), cast(:firsts as bigint[]), cast(:lasts as bigint[]))
    as w (place, stream, first, last)
left join lateral (
    select last_taken_at as at from ledger l
    where l.stream = w.stream and l.number < w.first and l.last_taken_at is not null order by l.number desc limit 1
) earlier on true
left join lateral (
    select first_taken_at as at from ledger l
    where l.stream = w.stream and l.number > w.last and l.first_taken_at is not null order by l.number limit 1
) later on true
order by w.place
""")
_TALLIES: Final = """
select date_trunc(:unit, hour, 'UTC') as start, sum(batches)::bigint as batches, sum(late)::bigint as late,
    sum(readings)::bigint as readings
from ledger_hours where hour >= :start and hour < :end
"""
_OF_STREAMS = text(_TALLIES + " and stream = any(:streams) group by 1")
_OF_BIOREACTOR = text(_TALLIES + " and bioreactor_id = :bioreactor group by 1")
_GAPS: Final = """
select bioreactor_id, began_at, ended_at, reason, cardinality(series) as tags from gaps
where began_at < :end and (ended_at is null or ended_at > :start)
"""
_GAPS_OF_STREAMS = text(_GAPS + " and stream = any(:streams) order by began_at, gap")
_GAPS_OF_BIOREACTOR = text(_GAPS + " and bioreactor_id = :bioreactor order by began_at, gap")
_AGENTS_OF = text("""
select distinct agent_id from (
    select s.agent_id from (select distinct stream from ledger_hours where bioreactor_id = :bioreactor) h
    join streams s on s.id = h.stream
    union all select agent_id from feeds where bioreactor_id = :bioreactor and agent_id is not null
) found
""")
_SERVED = text("select agent_id, count(*) as bioreactors from feeds where agent_id = any(:agents) group by agent_id")
_KNOWN = text("""
select a.id, coalesce(t.online, false) as online, t.since is not null as heard,
    max(greatest(s.head_at, newest.at)) as until
from unnest(cast(:agents as uuid[])) as a (id)
left join agent_status t on t.agent_id = a.id
left join streams s on s.agent_id = a.id and (t.stream is null or s.id = t.stream)
left join lateral (
    select least(last_taken_at, committed_at) as at from ledger l
    where l.stream = s.id and last_taken_at is not null order by number desc limit 1
) newest on true
group by 1, 2, 3
""")


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
        known_until: what was logged after this is not known: no batch and no birth since has told. None: nothing is
            known.
        connected: whether all its agents are.
        heard: whether all its agents have ever been heard; without `known_until` they do not number what they send.
        streams: every log that was ever heard of.
        spans: batches that are not stored and may have been logged in the window.
        gaps: that lie in the window.
        shared: other bioreactors have the same agent, so that missing batches may be theirs.
    """

    start: datetime
    end: datetime
    unit: Unit
    asked_at: datetime
    known_until: datetime | None
    connected: bool
    heard: bool
    streams: list[StreamState]
    spans: list[Span]
    gaps: list[LoggedGap]
    buckets: list[Bucket] = field(default_factory=list)
    shared: bool = False

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
        if self.known_until is None:
            return "unknown"
        is_new = self.connected and self.start <= self.asked_at <= self.known_until + LATELY
        return "complete" if self.known_until >= self.end or is_new else "unknown"

    def as_json(self) -> dict[str, Any]:
        """As REST shows it."""
        return {
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            "unit": self.unit,
            "verdict": self.verdict,
            "known_until": self.known_until and self.known_until.isoformat(),
            "connected": self.connected,
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


class CompletenessService:
    """Tells completeness, in one unit of work."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    async def of_agent(
        self, agent_id: UUID, start: datetime | None = None, end: datetime | None = None, unit: Unit | None = None
    ) -> Report:
        """Everything that an agent logged.

        Args:
            start, end: the window, rounded outward to whole buckets; the last 24 h if left out.
            unit: how finely it is counted; hours up to 8 days if left out, else days.

        Raises:
            NotFound: there is no such agent in this organization.
            Invalid: the window is empty, or has too many buckets.
        """
        await FleetService(self._uow).get_agent(agent_id)
        start, end, unit = self._window(start, end, unit)
        streams = await self._streams([agent_id])
        values = {"start": start, "end": end, "unit": unit, "streams": [row.id for row in streams]}
        buckets = (await self._uow.session.execute(_OF_STREAMS, values)).all()
        gaps = (await self._uow.session.execute(_GAPS_OF_STREAMS, values)).all()
        report = await self._report([agent_id], streams, (start, end, unit), gaps)
        return with_buckets(report, buckets)

    async def of_bioreactor(
        self, bioreactor_id: UUID, start: datetime | None = None, end: datetime | None = None, unit: Unit | None = None
    ) -> Report:
        """What agents logged of a bioreactor, as `of_agent`. Missing batches are those of its agents."""
        await FleetService(self._uow).get_bioreactor(bioreactor_id)
        start, end, unit = self._window(start, end, unit)
        found = await self._uow.session.execute(_AGENTS_OF, {"bioreactor": bioreactor_id})
        agents = list(found.scalars())
        streams = await self._streams(agents)
        values = {"start": start, "end": end, "unit": unit, "bioreactor": bioreactor_id}
        buckets = (await self._uow.session.execute(_OF_BIOREACTOR, values)).all()
        gaps = (await self._uow.session.execute(_GAPS_OF_BIOREACTOR, values)).all()
        served = await self._uow.session.execute(_SERVED, {"agents": agents})
        shared = any(row.bioreactors > 1 for row in served)
        report = await self._report(agents, streams, (start, end, unit), gaps)
        return with_buckets(replace(report, shared=shared), buckets)

    def _window(
        self, start: datetime | None, end: datetime | None, unit: Unit | None
    ) -> tuple[datetime, datetime, Unit]:
        end = self._uow.now() if end is None else check_instant("end", end)
        start = end - DEFAULT_WINDOW if start is None else check_instant("start", start)
        if not start < end:
            raise Invalid("end", end.isoformat(), "an instant after start")
        unit = unit or ("hour" if end - start <= HOURS_UP_TO else "day")
        first, last = floor(start, unit), floor(end, unit)
        last = last if last == end else last + UNITS[unit]
        if (last - first) / UNITS[unit] > MAX_BUCKETS:
            raise Invalid("start", start.isoformat(), f"at most {MAX_BUCKETS} {unit}s before end")
        return first, last, unit

    async def _streams(self, agents: Sequence[UUID]) -> list[Any]:
        return list((await self._uow.session.execute(_STREAMS, {"agents": list(agents)})).all())

    async def _report(
        self,
        agents: Sequence[UUID],
        streams: Sequence[Any],
        window: tuple[datetime, datetime, Unit],
        gaps: Iterable[Any],
    ) -> Report:
        start, end, unit = window
        spans = [span for span in await self._spans(streams) if span.touches(start, end)]
        known = (await self._uow.session.execute(_KNOWN, {"agents": list(agents)})).all()
        until = [row.until for row in known if row.until is not None]
        return Report(
            start,
            end,
            unit,
            self._uow.now(),
            min(*until, end) if until and len(until) == len(known) else None,
            bool(known) and all(row.online for row in known),
            bool(known) and all(row.heard for row in known),
            [StreamState(row.id, row.agent_id, _head(row), _committed(row), bool(row.current)) for row in streams],
            spans,
            [LoggedGap(*row) for row in gaps],
        )

    async def _spans(self, streams: Sequence[Any]) -> list[Span]:
        """All batches that are not stored, with the times of their neighbours."""
        open_ = [
            (row, first, last, False) for row in streams for first, last in holes(row.firsts, row.lasts, _head(row))
        ]
        by_id = {row.id: row for row in streams}
        dead = await self._uow.session.execute(_DEAD, {"streams": list(by_id)})
        open_ += [(by_id[stream], first, last, True) for stream, first, last in in_a_row(dead)]
        if not open_:
            return []
        values = {
            "places": list(range(len(open_))),
            "streams": [row.id for row, *_ in open_],
            "firsts": [first for _, first, _, _ in open_],
            "lasts": [last for _, _, last, _ in open_],
        }
        times = (await self._uow.session.execute(_TIMES, values)).all()
        spans = [
            Span(row.agent_id, row.id, first, last, is_dead, at.after, at.before, _why(row, dead=is_dead))
            for (row, first, last, is_dead), at in zip(open_, times, strict=True)
        ]
        return sorted(spans, key=lambda span: (span.after or span.before or BEFORE_ALL, str(span.stream), span.first))


BEFORE_ALL: Final = datetime.min.replace(tzinfo=UTC)


def floor(at: datetime, unit: Unit) -> datetime:
    """The beginning of the hour or day, UTC, that an instant lies in."""
    at = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return at if unit == "hour" else at.replace(hour=0)


def holes(firsts: Sequence[int], lasts: Sequence[int], head: int) -> Iterator[tuple[int, int]]:
    """The numbers from 1 to `head` that no range covers, as ranges; both ends included everywhere."""
    expected = 1
    for first, last in zip(firsts, lasts, strict=True):
        if first > expected:
            yield expected, first - 1
        expected = max(expected, last + 1)
    if head >= expected:
        yield expected, head


def in_a_row(rows: Iterable[Any]) -> Iterator[tuple[UUID, int, int]]:
    """Numbers in order, as (stream, number), joined to ranges of the same stream."""
    open_: tuple[UUID, int, int] | None = None
    for stream, number in rows:
        if open_ is not None and open_[0] == stream and open_[2] + 1 == number:
            open_ = (stream, open_[1], number)
            continue
        if open_ is not None:
            yield open_
        open_ = (stream, number, number)
    if open_ is not None:
        yield open_


def with_buckets(report: Report, rows: Iterable[Any]) -> Report:
    """The report with every bucket of its window, also those in which nothing was.

    Args:
        rows: what was stored: `start`, `batches`, `readings` and `late` of some buckets.
    """
    tallies = {row.start.astimezone(UTC): row for row in rows}
    step = UNITS[report.unit]
    count = round((report.end - report.start) / step)
    buckets = [Bucket(report.start + index * step) for index in range(count)]
    for bucket in buckets:
        if bucket.start in tallies:
            row = tallies[bucket.start]
            bucket.batches, bucket.readings, bucket.late = row.batches, row.readings, row.late

    def between(from_: datetime, to: datetime) -> range:
        """Of the buckets that hold an instant from `from_` to `to`, both included."""
        return range(max(0, (from_ - report.start) // step), min(count - 1, (to - report.start) // step) + 1)

    for span in report.spans:
        for index in between(span.after or report.start, span.before or report.end):
            buckets[index].missing += 0 if span.dead else span.count
            buckets[index].dead += span.count if span.dead else 0
    for from_, to in joined((gap.began_at, gap.ended_at or report.end) for gap in report.gaps):
        for index in between(from_, to):
            start = buckets[index].start
            buckets[index].gap_s += max(0.0, (min(to, start + step) - max(from_, start)).total_seconds())
    return replace(report, buckets=buckets)


def joined(spans: Iterable[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    """The same time in as few spans as possible, in order."""
    result: list[tuple[datetime, datetime]] = []
    for first, last in sorted(spans):
        if result and first <= result[-1][1]:
            result[-1] = (result[-1][0], max(last, result[-1][1]))
        else:
            result.append((first, last))
    return result


def _head(row: Any) -> int:
    return max(row.head or 0, row.lasts[-1] if row.lasts else 0)


def _committed(row: Any) -> int:
    return sum(last - first + 1 for first, last in zip(row.firsts, row.lasts, strict=True))


def _why(row: Any, *, dead: bool) -> str:
    if dead:
        return "it came, but could not be stored: its bytes are among the dead letters"
    if not row.current:
        return "the agent began a new log; it sends what it can still read of this one, or it is lost"
    if not row.online:
        return "the agent is offline; it sends what it has logged when it is back"
    return "it has not come yet; the agent is connected and sends it"
