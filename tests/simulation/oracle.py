"""Knows what every log has committed, bit for bit, and says whether the promise was kept.

While it runs   an acknowledgement names only what the database holds, with the very digest of the agent's batch
                a batch that was once in a log stays there as it was, whatever kills the agent
                windows, queues, ranges and buffers stay within their limits
                a batch taken while all is well is committed soon, also while a backlog is under way
In the end      everything is acknowledged, and the database holds each reading of the logs once, and nothing else
                gaps and clock records are in it, too, and what was taken and not logged has a gap
"""

import struct
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Set
from typing import Any, NamedTuple
from uuid import UUID

from lms_cloud.telemetry.incoming import StreamBatch
from lms_protocol.batches import digest
from lms_protocol.messages import ACKED_NAME, ACKED_RANGES_NAME, STREAM_NAME
from lms_protocol.ranges import NumberRanges
from lms_protocol.reading import Batch, Gap, Quality, Reading, Value
from lms_protocol.sparkplug import decode
from lms_protocol.topics import MessageType, NodeTopic, parse

from simulation.database import MemoryDatabase


class Violation(Exception):
    """The promise was broken."""


class Fact(NamedTuple):
    """A reading as it must be found: device and name of its tag, time, kind and bits of its value, quality."""

    device: str
    tag: str
    taken_at_ms: int
    value: tuple[str, object]
    quality: int


def bits(value: Value) -> tuple[str, object]:
    """A value so that equal means bit-equal and of the same kind."""
    if isinstance(value, float):
        return "float", struct.pack("<d", value)
    return type(value).__name__, value


class Offered(NamedTuple):
    """A reading that was taken, whether it found its way into a log or not."""

    device: str
    tag: str
    taken_at_ms: int


class InLog(NamedTuple):
    """A batch as a log gives it; whether its times may still be corrected."""

    batch: Batch
    open: bool = False


class Known(NamedTuple):
    """A batch that a log holds."""

    batch: Batch
    digest: bytes
    open: bool = False

    @property
    def identity(self) -> bytes:
        """What the ledger knows it by."""
        return self.batch.logged or self.digest


class Oracle:
    """Watches one run."""

    def __init__(self, database: MemoryDatabase, now_s: Callable[[], float]) -> None:
        self._database = database
        self._now_s = now_s
        self._logged_s: dict[StreamBatch, float] = {}
        self.in_time = 0
        self.packs = 0
        self.corrected = 0
        self.shifts: dict[UUID, set[int]] = defaultdict(lambda: {0})  # by which times were corrected, in ms
        self._dropped: dict[UUID, NumberRanges] = defaultdict(NumberRanges)
        self.logs: dict[UUID, dict[int, Known]] = defaultdict(dict)
        self._nodes: dict[UUID, str] = {}
        self._perhaps: set[Fact] = set()
        self._contents: dict[bytes | None, set[bytes]] = defaultdict(set)  # their digests
        self._versions: dict[bytes, set[frozenset[Fact]]] = defaultdict(set)  # what copies made of one batch's times
        self._names: dict[tuple[UUID, int], str] = {}
        self.checked_acknowledgements = 0
        self._offered: dict[str, list[Offered]] = defaultdict(list)

    def opened(self, node: str, stream: UUID, tags: dict[int, str], batches: Iterable[InLog]) -> None:
        """An agent has opened its log: what was in it must be in it still.

        Raises:
            Violation: it is not.
        """
        self.knows(node, stream, tags)
        found = {each.batch.number: each for each in batches}
        lowest = min(found, default=1)
        for number, known in self.logs[stream].items():
            if number < lowest and (self._is_committed(stream, number, known) or number in self._dropped[stream]):
                continue  # retention took it, as it may
            if number not in found:
                raise Violation(f"batch {number} of {node} was committed to the log and is not in it any more")
        for _, each in sorted(found.items()):
            self.read_again(stream, each)
        if sorted(found) != list(range(lowest, lowest + len(found))):
            raise Violation(f"the numbers in the log of {node} have holes: {sorted(found)}")

    def _is_committed(self, stream: UUID, number: int, known: Known) -> bool:
        row = self._database.ledger[stream].get(number)
        return row is not None and row.digest == known.identity

    def knows(self, node: str, stream: UUID, tags: dict[int, str]) -> None:
        """An agent has a log with this stream, and these names of tags."""
        self._nodes[stream] = node
        self._names |= {(stream, number): name for number, name in tags.items()}

    def brought_back(self, node: str) -> None:
        """An agent's disk is an old copy now: what it had logged since may be gone with the disk that had it."""
        for stream in [stream for stream, owner in self._nodes.items() if owner == node]:
            for known in self.logs.pop(stream, {}).values():
                self._perhaps.update(self._facts(stream, known.batch))

    def read_again(self, stream: UUID, now: InLog) -> None:
        """A batch, as a log gives it now: as it was, or with its time corrected before anybody had it.

        Raises:
            Violation: it is another.
        """
        batch, is_open = now
        known = self.logs[stream].get(batch.number)
        if known is not None and known.digest != _digest(batch):
            if not _is_shifted(known.batch, batch):
                raise Violation(
                    f"batch {batch.number} is not in the log as it was committed: {known.batch}, now {batch}"
                )
            if not known.open and self._is_committed(stream, batch.number, known):
                raise Violation(f"the time of batch {batch.number} was changed after it was sent and committed")
            self.corrected += 1
            del self.logs[stream][batch.number]
        self.logged(stream, batch, is_open=is_open)

    def logged(self, stream: UUID, batch: Batch, *, is_open: bool = False) -> None:
        """A log has committed a batch."""
        known = self.logs[stream].get(batch.number)
        fingerprint = _digest(batch)
        if known is None:
            self._replace_origin(stream, batch)
        if known is not None and known.digest != fingerprint:
            raise Violation(f"number {batch.number} was given to two different batches")
        self.logs[stream][batch.number] = Known(batch, fingerprint, is_open)
        as_logged = _as_logged(batch)
        if as_logged is not None:
            self._contents[as_logged].add(fingerprint)
            self._versions[as_logged].add(frozenset(self._facts(stream, batch)))
        self._logged_s.setdefault(StreamBatch(stream, batch.number), self._now_s())

    def _replace_origin(self, stream: UUID, batch: Batch) -> None:
        """A batch of a log that was set aside may be logged again; it may have got its right time on the way."""
        for origin, batches in self.logs.items():
            if origin == stream or self._nodes.get(origin) != self._nodes.get(stream):
                continue
            for number, known in batches.items():
                if _is_shifted(known.batch, batch) and not self._is_committed(origin, number, known):
                    self._perhaps.update(self._facts(origin, known.batch))
                    del batches[number]
                    return

    def heard(self, topic: str, payload: bytes) -> None:
        """A message is on the broker: an acknowledgement must be true now.

        Raises:
            Violation: it is not.
        """
        self.packs += "/NDATA/" in topic
        if "/NCMD/" not in topic:
            return
        parsed = parse(topic)
        assert isinstance(parsed, NodeTopic)
        assert parsed.type is MessageType.NCMD
        values: dict[Any, Any] = {metric.name: metric.value for metric in decode(payload).metrics}
        if ACKED_NAME not in values:
            return
        self.checked_acknowledgements += 1
        stream = UUID(values[STREAM_NAME])
        acked, rows = values[ACKED_NAME], self._database.ledger[stream]
        named = NumberRanges.parse(values.get(ACKED_RANGES_NAME) or "")
        named.add_range(1, acked)
        for first, last in named:
            for number in range(first, last + 1):
                if number not in rows:
                    raise Violation(f"batch {number} of {parsed.node} was acknowledged, but is not committed")

    def dropped(self, stream: UUID, ranges: Iterable[tuple[int, int]]) -> None:
        """A log says which batches it gave up unacknowledged, as it was told to when it is full."""
        for first, last in ranges:
            self._dropped[stream].add_range(first, last)

    def settled(self) -> bool:
        """Whether every reading of every log is committed."""
        required, _ = self._sorted_out()
        return required <= self._stored().keys()

    def judge(self) -> None:
        """All is over: compare.

        Raises:
            Violation: a reading is missing, doubled, altered, or was never logged.
        """
        required, given_up = self._sorted_out()
        stored = self._stored()
        allowed = required | given_up | self._perhaps
        missing = required - stored.keys()
        strange = stored.keys() - allowed
        doubled = {fact for fact, times in stored.items() if times > 1}
        for what, facts in (("missing", missing), ("altered or of no log", strange), ("doubled", doubled)):
            if facts:
                raise Violation(f"{len(facts)} readings are {what} in the database, such as {min(facts, key=str)}")

    def _sorted_out(self) -> tuple[set[Fact], set[Fact]]:
        """What must be in the database, and what may be missing there because a full log dropped it, as it says.

        Raises:
            Violation: it was dropped in silence.
        """
        required: set[Fact] = set()
        given_up: set[Fact] = set()
        stored = self._stored().keys()
        for stream, batches in self.logs.items():
            for known in batches.values():
                facts = set(self._facts(stream, known.batch))
                if self._was_given_up(stream, known):
                    given_up |= facts
                else:
                    required |= self._version_stored(known.batch, facts, stored)
        return required, given_up

    def _version_stored(self, batch: Batch, facts: set[Fact], stored: Set[Fact]) -> set[Fact]:
        """What must be stored of a batch: if the times of copies of it were corrected otherwise, any of them, but one.

        Raises:
            Violation: it is there with two times.
        """
        as_logged = _as_logged(batch)
        versions = set() if as_logged is None else self._versions[as_logged]
        found = [version for version in versions if version and version <= stored]
        if len(found) > 1:
            raise Violation(f"batch {batch.number} is in the database with {len(found)} times: {found}")
        return set(found[0]) if found else facts

    def _stored(self) -> Counter[Fact]:
        names = {number: (home, name) for (home, name), number in self._database.series.items()}
        stored: Counter[Fact] = Counter()
        for series, reading in self._database.readings:
            home, name = names[series]
            stored[self._fact(self._database.homes[home].device, name, reading)] += 1
        return stored

    def _facts(self, stream: UUID, batch: Batch) -> Iterator[Fact]:
        for reading in batch.readings:
            yield self._fact(batch.device, self._names[stream, reading.tag], reading)

    def _was_given_up(self, stream: UUID, known: Known) -> bool:
        """Whether a batch was dropped before it was committed; a committed gap must then tell of its readings.

        Raises:
            Violation: it was dropped in silence.
        """
        number = known.batch.number
        if number not in self._dropped[stream] or self._is_committed(stream, number, known):
            return False
        gaps = list(self._database.gaps.values())  # of any stream: what tells of it may have been logged anew
        for reading in known.batch.readings:
            at_ms = {reading.taken_at_ms + shift_ms for shift_ms in self.shifts[stream]}
            if not any(gap[0] <= ms <= (gap[1] or 0) for gap in gaps for ms in at_ms):
                raise Violation(f"batch {number} was dropped, and no gap tells of its reading at {reading.taken_at_ms}")
        return True

    def judge_remarks(self) -> None:
        """The database holds the gaps and clock records of every batch that is committed as it was logged.

        Raises:
            Violation: one is missing, or says something else.
        """
        for stream, batches in self.logs.items():
            committed = [
                known.batch
                for number, known in batches.items()
                if known.batch.origin is None
                and self._is_committed(stream, number, known)
                # Of several versions of one batch any may be the one that is stored, with its gaps and its clock.
                and len(self._contents[_as_logged(known.batch)]) <= 1
            ]
            for batch in committed:
                stored = self._database.clocks.get(StreamBatch(stream, batch.number))
                if stored != batch.clock:
                    raise Violation(f"the clock record of batch {batch.number} is {stored} instead of {batch.clock}")
            told: dict[int, list[Gap]] = defaultdict(list)
            for batch in committed:
                for gap in batch.gaps:
                    told[gap.id].append(gap)
            for id_, gaps in told.items():
                self._judge_gap(self._database.gaps.get((stream, id_)), gaps)

    @staticmethod
    def _judge_gap(stored: tuple[int, int | None, str] | None, told: list[Gap]) -> None:
        if stored is None:
            raise Violation(f"{told[0]} is committed in a batch, and is not in the database")
        began_ms, ended_ms, _ = stored
        ends = {gap.ended_at_ms for gap in told if gap.ended_at_ms is not None} or {None}
        if began_ms > min(gap.began_at_ms for gap in told) or ended_ms not in ends:
            raise Violation(f"a gap in the database is from {began_ms} to {ended_ms}, but was told as {told}")

    def judge_silence(self, node: str) -> None:
        """Between the first and the last logged reading of a tag, each that was taken is logged, or a gap tells of it.

        Args:
            node: an agent whose time was never corrected.

        Raises:
            Violation: one was lost in silence.
        """
        logged: dict[tuple[str, str], set[int]] = defaultdict(set)
        gaps: dict[tuple[str, str], list[Gap]] = defaultdict(list)
        for stream in [stream for stream, owner in self._nodes.items() if owner == node]:
            for batch in (known.batch for known in self.logs[stream].values()):
                for reading in batch.readings:
                    logged[batch.device, self._names[stream, reading.tag]].add(reading.taken_at_ms)
                for gap in batch.gaps:
                    for tag in gap.tags:
                        gaps[batch.device, self._names[stream, tag]].append(gap)
        for device, tag, ms in self._offered[node]:
            times = logged[device, tag]
            if ms in times or not times or not min(times) < ms < max(times):
                continue
            if not any(gap.began_at_ms <= ms <= (gap.ended_at_ms or ms) for gap in gaps[device, tag]):
                raise Violation(f"the reading of {tag} of {device} at {ms} was lost, and no gap tells of it")

    def offered(self, node: str, device: str, tag: str, taken_at_ms: int) -> None:
        """A reading was taken and is handed over."""
        self._offered[node].append(Offered(device, tag, taken_at_ms))

    def judge_lateness(self, from_s: float, within_s: float) -> None:
        """Batches logged from then on were committed soon.

        Raises:
            Violation: one was not.
        """
        for key, logged_s in self._logged_s.items():
            if logged_s >= from_s:
                late_s = self._database.committed_s[key] - logged_s
                if late_s > within_s:
                    raise Violation(f"batch {key.number}, live, was committed {late_s:.1f} s after it was logged")
                self.in_time += 1

    @staticmethod
    def _fact(device: str, tag: str, reading: Reading) -> Fact:
        return Fact(device, tag, reading.taken_at_ms, bits(reading.value), int(reading.quality))


def _is_shifted(old: Batch, new: Batch) -> bool:
    """Whether a batch is the same with all its times moved by one interval."""
    shifts = {b.taken_at_ms - a.taken_at_ms for a, b in zip(old.readings, new.readings, strict=False)}
    return (
        len(shifts) <= 1
        and old.device == new.device
        and len(old.readings) == len(new.readings)
        and all(
            (a.tag, bits(a.value)) == (b.tag, bits(b.value)) and b.quality in {a.quality, _less_sure(a.quality)}
            for a, b in zip(old.readings, new.readings, strict=True)
        )
        and len(old.gaps) == len(new.gaps)
    )


def _less_sure(quality: Quality) -> Quality:
    """What a good reading becomes when its time turns out to be an estimate."""
    return Quality.UNCERTAIN if quality is Quality.GOOD else quality


def _as_logged(batch: Batch) -> bytes | None:
    """What tells copies of a batch from others whose times could be corrected."""
    return batch.logged or (None if batch.origin is None else batch.origin.logged)


def _digest(batch: Batch) -> bytes:
    return digest(batch.device, batch.number, batch.readings, batch.gaps, batch.clock, origin=batch.origin)
