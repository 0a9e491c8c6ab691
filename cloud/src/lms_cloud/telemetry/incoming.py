"""What waits to be committed, and what a commit came to: the words between ingest, committer and storage."""

import json
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from struct import iter_unpack
from typing import Literal, NamedTuple
from uuid import UUID

from lms_protocol.births import BirthMetric
from lms_protocol.columns import Columns
from lms_protocol.reading import ClockRecord, Gap, Origin, Reading

MAX_COLUMNS = 64
"""Columns of tag numbers remembered of one birth: a bioreactor has one for each group of instruments read together."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_instant(ms: int) -> datetime:
    """Milliseconds since 1970 as an aware UTC datetime, exactly."""
    return EPOCH + timedelta(milliseconds=ms)


class BirthRecord(NamedTuple):
    """What data of a device refers to: its stream, and its metrics as `BirthMetric.to_record` gives them."""

    stream: UUID | None
    metrics: Sequence[BirthMetric]

    def as_json(self) -> str:
        """For the table of dead letters."""
        stream = None if self.stream is None else str(self.stream)
        return json.dumps({"stream": stream, "metrics": [metric.to_record() for metric in self.metrics]})


class Unreplayable(NamedTuple):
    """A dead letter that cannot be stored, and why."""

    letter: UUID
    reason: str


class Bioreactor(NamedTuple):
    """A bioreactor as ingest knows it.

    Attributes:
        id, organization_id: entities.
        group, device: the same two as wire ids.
    """

    id: UUID
    organization_id: UUID
    group: str
    device: str


class StreamBatch(NamedTuple):
    """Which batch: the log's identity and the batch's number in it."""

    stream: UUID
    number: int


@dataclass(frozen=True, slots=True)
class DeviceTags:
    """The tags of one device's birth, by the numbers that its data uses.

    Attributes:
        series: tag number to series number.
        names: tag number to the tag's name.
        texts: series whose values are texts.
    """

    series: Mapping[int, int]
    names: Mapping[int, str]
    texts: frozenset[int]
    _columns: dict[bytes, bytes] = field(default_factory=dict, compare=False, repr=False)
    _named: dict[bytes, list[str]] = field(default_factory=dict, compare=False, repr=False)

    def series_of(self, tags: bytes) -> bytes:
        """The series numbers (n,) int32 of a column of tag numbers (n,) u64, which is the same scan after scan.

        Raises:
            KeyError: a tag has no series.
        """
        known = self._columns.get(tags)
        if known is None:
            if len(self._columns) >= MAX_COLUMNS:
                self._columns.clear()
            known = array("i", [self.series[tag] for (tag,) in iter_unpack("<Q", tags)]).tobytes()
            self._columns[tags] = known
        return known

    def names_of(self, tags: bytes) -> Sequence[str]:
        """The names (n,) of a column of tag numbers (n,) u64.

        Raises:
            KeyError: a tag has no name.
        """
        known = self._named.get(tags)
        if known is None:
            if len(self._named) >= MAX_COLUMNS:
                self._named.clear()
            known = self._named[tags] = [self.names[tag] for (tag,) in iter_unpack("<Q", tags)]
        return known


class StatusChange(NamedTuple):
    """A bioreactor came online or went offline, by the births and deaths of its agent."""

    bioreactor: Bioreactor
    agent_id: UUID
    online: bool
    since: datetime


class AgentStatusChange(NamedTuple):
    """An agent came online or went offline.

    Attributes:
        stream: the log that it sends from, where it says so.
        head: the number of that log's last batch, where it says so.
    """

    agent_id: UUID
    organization_id: UUID
    online: bool
    since: datetime
    stream: UUID | None
    head: int | None = None


@dataclass(frozen=True, slots=True)
class Incoming:
    """One decoded batch that may be stored.

    Attributes:
        key: its stream and number; None from an edge node without acknowledged delivery.
        digest: fingerprint of what it says (16 bytes), or of what was logged, if its times could be corrected since.
        tags: what its readings' tag numbers stand for.
        historical: sent late: not to be shown as live.
        node: wire id of the agent that sent it, to whom the acknowledgement goes.
        topic, payload: as received.
        birth: what its numbers stood for, as a dead letter keeps it.
        letter: of the dead letter that it is read from again; None for one that has just come.
        clock: the agent's clock from this batch on, if it has changed.
        origin: where it was logged first, of a batch that was logged anew.
        alone: of a batch that came with others in one message: makes topic and payload of one with this batch only.
        content: of a batch whose digest is that of what was logged: the fingerprint of what it says now.
    """

    bioreactor: Bioreactor
    key: StreamBatch | None
    digest: bytes
    readings: Sequence[Reading]
    gaps: Sequence[Gap]
    tags: DeviceTags
    historical: bool
    node: str
    topic: str
    payload: bytes
    birth: BirthRecord | None = None
    letter: UUID | None = None
    clock: ClockRecord | None = None
    origin: Origin | None = None
    alone: Callable[[], tuple[str, bytes]] | None = None
    content: bytes | None = None

    @property
    def kept(self) -> tuple[str, bytes]:
        """Topic and payload to keep in a dead letter, if it comes to that."""
        return (self.topic, self.payload) if self.alone is None else self.alone()

    @property
    def columns(self) -> Columns:
        """The readings as columns, as which they come."""
        return Columns.of(self.readings)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that cannot be stored as readings; kept with its bytes.

    Attributes:
        kind: "poison", or "conflict": the same number with other content.
        bioreactor: None where the topic names none that is known.
        key: None where stream or number are not known; else, of a poison batch, the number counts as taken in.
        node: wire id of the agent that sent it.
        birth: what its numbers stood for; without it the bytes cannot be read again.
        digest: of a conflicting batch's content, so that the batch sent again is not kept again.
    """

    kind: Literal["poison", "conflict"]
    topic: str
    payload: bytes
    reason: str
    organization_id: UUID | None = None
    bioreactor: Bioreactor | None = None
    key: StreamBatch | None = None
    node: str = ""
    birth: BirthRecord | None = None
    digest: bytes | None = None

    @property
    def counts_as_taken_in(self) -> bool:
        """Whether the number gets a row in the ledger, and so is acknowledged."""
        return self.kind == "poison" and self.key is not None and self.bioreactor is not None


@dataclass(slots=True)
class Outcome:
    """What one transaction came to. True only once it is committed.

    Attributes:
        stored: batches whose readings it wrote.
        settled: numbers that are now in the ledger: stored, duplicate or dead. To be acknowledged.
        refused: batches whose number is in the ledger with another digest.
        cursors: the new feed cursor of each bioreactor concerned.
        statuses: what changed of those that were asked for.
    """

    stored: list[Incoming] = field(default_factory=list)
    settled: list[StreamBatch] = field(default_factory=list)
    refused: list[Incoming] = field(default_factory=list)
    cursors: dict[UUID, int] = field(default_factory=dict)
    statuses: list[StatusChange] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Work:
    """What one transaction has to write."""

    batches: Sequence[Incoming] = ()
    letters: Sequence[DeadLetter] = ()
    statuses: Sequence[StatusChange] = ()
    agents: Sequence[AgentStatusChange] = ()
    unreplayable: Sequence[Unreplayable] = ()

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.batches or self.letters or self.statuses or self.agents or self.unreplayable)
