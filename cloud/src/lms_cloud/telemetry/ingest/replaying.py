"""Reads dead letters again that somebody has asked for, with today's decoder, and hands them to the committer.

Before it: `lms_cloud.telemetry.dead_letters.service`, where people ask. After it: `committing`, by the way of every
batch. Only ingest writes readings: who asks has no right to. The worker that holds the organization does it.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, Protocol
from uuid import UUID

import structlog
from lms_protocol.births import BirthMetric
from lms_protocol.columns import Columns
from lms_protocol.errors import LmsError, PayloadError, TopicError
from lms_protocol.host import HostSession
from lms_protocol.host_events import DataReceived, DeviceBorn, Malformed, NodeBorn, RebirthWanted
from lms_protocol.reading import Datatype, TagDescription
from lms_protocol.topics import NodeTopic
from lms_protocol.topics import parse as parse_topic
from lms_protocol.units import counterpart, is_former
from sqlalchemy import text

from lms_cloud.fleet.directory import BioreactorEntry, FleetDirectory
from lms_cloud.kernel.database import Database
from lms_cloud.telemetry.columns import NotStorableError, check_storable
from lms_cloud.telemetry.dead_letters.service import WITHOUT_BIRTH
from lms_cloud.telemetry.incoming import Bioreactor, BirthRecord, DeviceTags, Incoming, StreamBatch
from lms_cloud.telemetry.ingest.committing import DATABASE_ERRORS
from lms_cloud.telemetry.ingest.resolving import OF_THE_NODE, Heard, Replay

LOOK_S: Final = 1.0
AT_ONCE: Final = 50
AGAIN_AFTER_S: Final = 30.0

_log = structlog.get_logger(__name__)
_ASKED = text("""
select d.public_id, d.kind, d.topic, d.payload, d.birth, o.properties ->> 'wire_id' as home
from dead_letters d join entities o on o.id = d.organization_id
where d.state = 'asked' order by d.id limit :limit
""")
_SERIES = text("""
select t.name, s.id, s.datatype, coalesce(s.described ->> 'unit', '') as unit
from series s join entities t on t.id = s.tag_id where s.bioreactor_id = :bioreactor_id and t.is_active
""")


class _CannotBeRead(LmsError):
    """A letter cannot be stored; the message says why."""


class Replays(Protocol):
    """What an ingest worker does about dead letters that somebody asks for."""

    async def run(self, holds: Callable[[str], bool], offer: Callable[[Heard], bool]) -> None:
        """Offer those of the groups held, until cancelled."""
        ...


class Replaying:
    """Looks for letters asked for, and reads them again.

    Args:
        database: as `lms_ingest`.
        fleet: finds the bioreactor that a letter's topic names.
        monotonic_s: tells durations, in seconds.
    """

    def __init__(
        self, database: Database, fleet: FleetDirectory, *, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._fleet = fleet
        self._monotonic_s = monotonic_s
        self._offered_s: dict[UUID, float] = {}

    async def run(self, holds: Callable[[str], bool], offer: Callable[[Heard], bool]) -> None:
        """Offer those of the groups held, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self._look(holds, offer)
            except DATABASE_ERRORS as error:
                _log.warning("dead letters cannot be looked for now", why=" ".join(str(error).split()))

    async def _look(self, holds: Callable[[str], bool], offer: Callable[[Heard], bool]) -> None:
        async with self._database.unit_of_work(None) as uow:
            rows = (await uow.session.execute(_ASKED, {"limit": AT_ONCE})).all()
        now_s = self._monotonic_s()
        self._offered_s = {id_: at_s for id_, at_s in self._offered_s.items() if now_s - at_s < AGAIN_AFTER_S}
        for row in rows:
            if holds(row.home) and row.public_id not in self._offered_s:
                replay = await self.read_again(row)
                if offer(Heard(replay, row.topic, row.payload, datetime.now(UTC))):
                    self._offered_s[row.public_id] = now_s

    async def read_again(self, row: Any) -> Replay:
        """What a letter says today.

        Args:
            row: of the table, with `public_id`, `kind`, `topic`, `payload`, `birth`, and its organization's wire id as
                `home`.
        """
        try:
            incoming = await self._read(row)
        except (_CannotBeRead, NotStorableError, PayloadError) as error:
            reason = str(error) if isinstance(error, _CannotBeRead) else error.reason
            return Replay(row.home, "", row.public_id, None, reason)
        return Replay(row.home, incoming.node, row.public_id, incoming, "")

    async def _read(self, row: Any) -> Incoming:
        topic = _topic(row)
        if row.kind == "conflict":
            raise _CannotBeRead(
                "another batch is committed under its number; an agent of today logs it anew under a new number"
            )
        # What another maker's node tells of itself is that of the bioreactor with the node's id.
        device = topic.device or topic.node
        entry = await self._fleet.bioreactor(topic.group, topic.node, device)
        if not entry:
            raise _CannotBeRead(f"the fleet knows no bioreactor {device!r} of this agent")
        if row.birth is None:
            raise _CannotBeRead(WITHOUT_BIRTH)
        birth, event = _decode(topic, row.topic, row.payload, _birth(row.birth, topic.device or OF_THE_NODE))
        tags = await self._tags(entry, birth, event)
        check_storable(event.readings, event.gaps)
        numbered = event.stream is not None and event.number is not None and event.number >= 1
        key = StreamBatch(event.stream, event.number) if numbered and event.stream and event.number else None
        home = Bioreactor(entry.bioreactor_id, entry.organization_id, entry.group, entry.device)
        return Incoming(
            *(home, key, event.digest or b"", event.readings, event.gaps, tags, True, entry.node, row.topic),
            *(row.payload, birth, row.public_id, event.clock, event.origin),
            content=event.content,
        )

    async def _tags(self, entry: BioreactorEntry, birth: BirthRecord, event: DataReceived) -> DeviceTags:
        """The series of the tags that the letter holds readings of; none is made, as only a birth tells enough."""
        async with self._database.unit_of_work(entry.organization_id) as uow:
            rows = await uow.session.execute(_SERIES, {"bioreactor_id": entry.bioreactor_id})
            known = [TagDescription(id_, "", name, Datatype(type_), unit=unit) for name, id_, type_, unit in rows]
        told = {metric.tag.number: replace(metric.tag, device="") for metric in birth.metrics}
        read = {reading.tag for reading in event.readings}
        found = {number: _same(tag, known) for number, tag in told.items()}
        for number in sorted(read):
            tag = told.get(number)
            if tag is None:
                raise _CannotBeRead(f"the bioreactor has no tag {number}")
            if found[number] is None:
                raise _CannotBeRead(f"the bioreactor has no tag {tag.name!r}" + (f" in {tag.unit}" if tag.unit else ""))
        series = {number: tag.number for number, tag in found.items() if tag is not None}
        names = {number: tag.name for number, tag in found.items() if tag is not None}
        texts = frozenset(tag.number for tag in known if tag.datatype is Datatype.STRING)
        return DeviceTags(series, names, texts)


def _same(tag: TagDescription, known: Sequence[TagDescription]) -> TagDescription | None:
    """The tag, in the same unit, among those that the bioreactor has today.

    Raises:
        _CannotBeRead: the letter does not say its unit, and it has been read in several.
    """
    if not tag.unit and any(is_former(other.name, other.unit, {tag.name}) for other in known):
        raise _CannotBeRead(f"{tag.name!r} has been read in several units, and the letter does not say in which")
    return counterpart(tag, known)


def _topic(row: Any) -> NodeTopic:
    try:
        topic = parse_topic(row.topic)
    except TopicError as error:
        raise _CannotBeRead(str(error)) from error
    if not isinstance(topic, NodeTopic) or topic.group != row.home:
        raise _CannotBeRead("its topic names no agent of its organization")
    return topic


def _birth(record: Mapping[str, Any] | str, device: str) -> BirthRecord:
    record = json.loads(record) if isinstance(record, str) else record
    stream = record["stream"]
    metrics = [BirthMetric.from_record(each, device) for each in record["metrics"]]
    return BirthRecord(None if stream is None else UUID(stream), metrics)


def _decode(topic: NodeTopic, name: str, payload: bytes, birth: BirthRecord) -> tuple[BirthRecord, DataReceived]:
    """The readings of a message, and what their numbers stand for: a birth says that itself."""
    session = HostSession("replay")
    session.recall(topic.group, topic.node, birth.stream, topic.device, birth.metrics)
    for event in session.receive(name, payload, 0.0):
        if isinstance(event, DataReceived):
            return birth, event
        if isinstance(event, NodeBorn | DeviceBorn):
            if birth.stream is not None or event.stream is not None:
                raise _CannotBeRead("it is the birth of an agent that logs: its readings come with their batches")
            said = (None, None, None, Columns.of(event.readings), (), False)
            return BirthRecord(None, event.metrics), DataReceived(topic.group, topic.node, topic.device, *said)
        if isinstance(event, Malformed | RebirthWanted):
            raise _CannotBeRead(event.reason)
    raise _CannotBeRead("it is no message with readings")
