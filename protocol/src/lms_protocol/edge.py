"""The agent's end of a Sparkplug session, without I/O.

`EdgeSession` knows which messages an edge node must publish and when, keeps the sequence numbers, and turns what the
broker delivers into events. `lms_agent.sending` moves its bytes.

    state        event                      then
    ───────────  ─────────────────────────  ──────────────────────────────────────────────
    offline      will(), CONNECT with it    connecting; bdSeq is one higher than last time
    connecting   births()                   born; sequence numbers begin at 0
    born         data(), packed()           born; sequence number + 1
    born         Accepts                    born; packed() is allowed until the next births
    born         RebirthRequested           publish births() again, same bdSeq
    born         death(), DISCONNECT        offline
    any          connection lost            offline; the broker publishes the will

Source: Sparkplug 3.0.0, chapters 4 to 6.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple, TypeAlias
from uuid import UUID

from lms_protocol.batches import (
    BATCH_NAME,
    CLOCK_NAME,
    DIGEST_BYTES,
    GAP_NAME,
    LOGGED_NAME,
    ORIGIN_NAME,
    QUALITY_NAME,
    add_readings,
    clock_to_text,
    digest,
    gap_to_text,
    origin_to_text,
)
from lms_protocol.delivery import RUN_BYTES
from lms_protocol.errors import PayloadError, SessionError
from lms_protocol.marks import marked_alias
from lms_protocol.messages import (
    ACCEPTS_NAME,
    ACKED_NAME,
    ACKED_RANGES_NAME,
    BD_SEQ_NAME,
    COMMAND_NAME,
    HEAD_NAME,
    PACKED_NAME,
    REBIRTH_NAME,
    REFUSED_DIGEST_NAME,
    REFUSED_NAME,
    SETTLED_DIGESTS_NAME,
    SETTLED_NAME,
    STREAM_NAME,
    SYNC_TAGS,
    HostState,
    Publish,
    packed_payload,
    state_from_bytes,
)
from lms_protocol.packing import PACKED_1
from lms_protocol.ranges import NumberRanges
from lms_protocol.reading import Batch, Datatype, Quality, Reading, TagDescription, Value
from lms_protocol.sparkplug import (
    BYTES,
    INT32,
    PAYLOAD,
    UNSUPPORTED,
    Metric,
    Payload,
    Property,
    decode,
    encode,
    fits,
    resolve,
)
from lms_protocol.topics import MessageType, NodeTopic, StateTopic, check_id, node_topic, parse


class RebirthRequested(NamedTuple):
    """A host asks for all births again."""


class Acknowledged(NamedTuple):
    """The cloud has committed all batches up to `number`, and those in `ranges` above it.

    Attributes:
        settled: those whose content it has just compared with what is committed; None from a host that does not say.
        digests: of each range of these, see `lms_protocol.delivery.digest_of_run`; None from a host that does not say.
    """

    number: int
    ranges: NumberRanges
    settled: NumberRanges | None = None
    digests: tuple[bytes, ...] | None = None


class Accepts(NamedTuple):
    """The cloud says which forms of backlog it can read, besides plain data."""

    forms: frozenset[str]


class Refused(NamedTuple):
    """The cloud holds another batch under this number: this log and the cloud's ledger do not belong together.

    Attributes:
        digest: of the batch that it refuses; None from a host that does not say.
    """

    number: int
    digest: bytes | None = None


class TagCommand(NamedTuple):
    """A host wants a tag set.

    Attributes:
        tag: the tag; None if the device has none such, as it may have had when the host took the births in.
        named: the name or alias by which the host meant it.
        note: what stood in `Sync/Command` beside it; None from a host that does not know of that.
    """

    device: str
    tag: TagDescription | None
    value: Value
    timestamp_ms: int | None
    named: str | int
    note: object = None


EdgeEvent: TypeAlias = RebirthRequested | Acknowledged | Accepts | Refused | HostState | TagCommand


@dataclass(frozen=True, slots=True)
class _Device:
    batch_alias: int
    gap_tag: int
    clock_tag: int | None
    origin_tag: int | None
    logged_tag: int | None


class EdgeSession:
    """One agent's Sparkplug session.

    Args:
        group, node: the organization's and the agent's wire ids.
        stream: the identity of the log.
        bd_seq: the bdSeq of the last connection, None if there was none. Keep `self.bd_seq` across restarts.
        tags: all tags of all devices, with one `Sync/Batch` and one `Sync/Gap` for each device, and one `Sync/Clock`,
            one `Sync/Origin` and one `Sync/Logged` for each whose batches may hold these (those of a log of an
            earlier release do not).
        primary_host: the host application whose STATE decides whether data may be sent; None for no such host.
        takes_commands: whether DBIRTHs say that tags may be set by commands (`Sync/Command`).

    Raises:
        SessionError: a device lacks `Sync/Batch` or `Sync/Gap`.
        TopicError: an id may not be part of a topic.
    """

    def __init__(
        self,
        *,
        group: str,
        node: str,
        stream: UUID,
        bd_seq: int | None,
        tags: Iterable[TagDescription],
        primary_host: str | None = None,
        takes_commands: bool = False,
    ) -> None:
        self.takes_commands = takes_commands
        self.group = check_id(group, "group")
        self.node = check_id(node, "node")
        self.stream = stream
        self.bd_seq = bd_seq
        self.primary_host = None if primary_host is None else check_id(primary_host, "host")
        self._seq = 0
        self._born = False
        self._accepted: frozenset[str] = frozenset()
        self._tags: dict[int, TagDescription] = {}
        self._by_device: dict[str, dict[str, TagDescription]] = {}
        for tag in tags:
            check_id(tag.device, "device")
            self._tags[tag.number] = tag
            self._by_device.setdefault(tag.device, {})[tag.name] = tag
        self._devices = {device: self._sync_tags(device, names) for device, names in self._by_device.items()}
        self._datatypes = {number: int(tag.datatype) for number, tag in self._tags.items()}
        self._data_topics = {device: node_topic(group, MessageType.DDATA, node, device) for device in self._devices}

    def _sync_tags(self, device: str, names: Mapping[str, TagDescription]) -> _Device:
        try:
            others = map(names.get, (CLOCK_NAME, ORIGIN_NAME, LOGGED_NAME))
            clock, origin, logged = (None if tag is None else tag.number for tag in others)
            batch_alias = marked_alias(self.stream, names[BATCH_NAME].number)
            return _Device(batch_alias, names[GAP_NAME].number, clock, origin, logged)
        except KeyError as error:
            raise SessionError(f"device {device!r} has no tag {error.args[0]!r}") from None

    def under(self, stream: UUID, tags: Iterable[TagDescription] | None = None) -> "EdgeSession":
        """The session of the same node for another log: its next connection counts on from this one's.

        Args:
            tags: with the numbers that they have in that log; the same as here if not given.
        """
        return EdgeSession(
            group=self.group,
            node=self.node,
            stream=stream,
            bd_seq=self.bd_seq,
            tags=self._tags.values() if tags is None else tags,
            primary_host=self.primary_host,
            takes_commands=self.takes_commands,
        )

    @property
    def tags(self) -> tuple[TagDescription, ...]:
        """All tags, with their numbers."""
        return tuple(self._tags.values())

    @property
    def devices(self) -> tuple[str, ...]:
        """The wire ids of the bioreactors below this agent."""
        return tuple(self._devices)

    @property
    def born(self) -> bool:
        """Whether data may be published: births are out, and the session has not ended since."""
        return self._born

    @property
    def may_pack(self) -> bool:
        """Whether the host that answered the births has said that it can read packed batches."""
        return self._born and PACKED_1 in self._accepted

    @property
    def subscriptions(self) -> tuple[tuple[str, int], ...]:
        """Topics and QoS to subscribe to before the births: node and device commands, the primary host's state."""
        commands = (
            (node_topic(self.group, MessageType.NCMD, self.node), 1),
            (f"{NodeTopic(self.group, MessageType.DCMD, self.node)}/+", 1),
        )
        return commands if self.primary_host is None else (*commands, (str(StateTopic(self.primary_host)), 1))

    def will(self, now_ms: int) -> Publish:
        """The NDEATH to give to the broker with the next CONNECT. Each call begins a new session: bdSeq + 1."""
        self.bd_seq = 0 if self.bd_seq is None else (self.bd_seq + 1) % 256
        self._born = False
        return self._death_message(now_ms)

    def death(self, now_ms: int) -> Publish:
        """The NDEATH to publish before a clean disconnect, which keeps the broker from sending the will."""
        self._born = False
        return self._death_message(now_ms)

    def connection_lost(self) -> None:
        """The connection is gone; nothing may be published until births() of a new one."""
        self._born = False

    def births(self, now_ms: int, latest: Mapping[int, Reading], acked: int, head: int | None = None) -> list[Publish]:
        """NBIRTH and every device's DBIRTH, in the order to publish them.

        Args:
            latest: the last known reading of each tag, by tag number.
            acked: the highest batch number that the agent knows as acknowledged, without holes.
            head: the number of the log's last batch; None: the host is not told.

        Raises:
            SessionError: there was no will() before.
        """
        if self.bd_seq is None:
            raise SessionError("births come after will() and CONNECT")
        self._seq = 0
        self._born = True
        self._accepted = frozenset()  # whoever answers says it anew: it may be another host by now
        metrics = [
            Metric(BD_SEQ_NAME, timestamp_ms=now_ms, datatype=Datatype.INT64, value=self.bd_seq),
            Metric(REBIRTH_NAME, timestamp_ms=now_ms, datatype=Datatype.BOOLEAN, value=False),
            Metric(STREAM_NAME, timestamp_ms=now_ms, datatype=Datatype.STRING, value=str(self.stream)),
            Metric(ACKED_NAME, timestamp_ms=now_ms, datatype=Datatype.UINT64, value=acked),
            Metric(PACKED_NAME, timestamp_ms=now_ms, datatype=BYTES),
        ]
        if head is not None:
            metrics.append(Metric(HEAD_NAME, timestamp_ms=now_ms, datatype=Datatype.UINT64, value=head))
        topic = node_topic(self.group, MessageType.NBIRTH, self.node)
        messages = [Publish(topic, encode(Payload(now_ms, metrics, seq=0)))]
        messages.extend(self.device_birth(device, now_ms, latest) for device in self._devices)
        return messages

    def device_birth(self, device: str, now_ms: int, latest: Mapping[int, Reading]) -> Publish:
        """The DBIRTH of one device: every tag with its description and last known value."""
        metrics = [self._birth_metric(tag, now_ms, latest.get(tag.number)) for tag in self._by_device[device].values()]
        metrics.append(Metric(STREAM_NAME, timestamp_ms=now_ms, datatype=Datatype.STRING, value=str(self.stream)))
        if self.takes_commands and any(tag.access == "write" for tag in self._by_device[device].values()):
            metrics.append(Metric(COMMAND_NAME, timestamp_ms=now_ms, datatype=Datatype.STRING))
        topic = node_topic(self.group, MessageType.DBIRTH, self.node, device)
        return Publish(topic, encode(Payload(now_ms, metrics, seq=self._next_seq())))

    def device_death(self, device: str, now_ms: int) -> Publish:
        """The DDEATH of one device."""
        topic = node_topic(self.group, MessageType.DDEATH, self.node, device)
        return Publish(topic, encode(Payload(now_ms, [], seq=self._next_seq())))

    def data(self, batch: Batch, now_ms: int, *, historical: bool = False) -> Publish:
        """A batch as DDATA.

        Args:
            historical: the batch is sent late; hosts must not take it as live.

        Raises:
            SessionError: no births are out, the device is not of this session, or it lacks the tag for a clock record
                or an origin.
            PayloadError: a value does not fit its tag's data type.
        """
        device = self._devices.get(batch.device)
        if device is None or not self._born:
            raise SessionError(f"batch {batch.number} of {batch.device!r} cannot be sent: no birth is out for it")
        message = PAYLOAD()
        message.timestamp = now_ms
        sync = message.metrics.add()
        sync.alias = device.batch_alias
        sync.timestamp = now_ms
        sync.long_value = batch.number
        if historical:
            sync.is_historical = True
        add_readings(message, batch.readings, historical=historical, datatypes=self._datatypes)
        remarks = [(device.gap_tag, gap.began_at_ms, gap_to_text(gap)) for gap in batch.gaps]
        if batch.clock is not None:
            if device.clock_tag is None:
                raise SessionError(f"batch {batch.number} of {batch.device!r} has a clock record, but no tag for it")
            remarks.append((device.clock_tag, now_ms, clock_to_text(batch.clock)))
        if batch.origin is not None:
            if device.origin_tag is None:
                raise SessionError(f"batch {batch.number} of {batch.device!r} has an origin, but no tag for it")
            remarks.append((device.origin_tag, now_ms, origin_to_text(batch.origin)))
        if batch.logged is not None and device.logged_tag is not None:
            remarks.append((device.logged_tag, now_ms, batch.logged.hex()))
        for alias, at_ms, text in remarks:
            metric = message.metrics.add()
            metric.alias = alias
            metric.timestamp = at_ms
            metric.string_value = text
            if historical:
                metric.is_historical = True
        message.seq = self._next_seq()
        return Publish(self._data_topics[batch.device], message.SerializeToString())

    def digest(self, batch: Batch) -> bytes:
        """What a host will know a batch by that `data` words (16 bytes)."""
        device = self._devices.get(batch.device)
        if batch.logged is not None and device is not None and device.logged_tag is not None:
            return batch.logged
        return digest(batch.device, batch.number, batch.readings, batch.gaps, batch.clock, origin=batch.origin)

    def packed(self, value: bytes, now_ms: int, logged: Mapping[int, bytes] = MappingProxyType({})) -> Publish:
        """Several batches of the backlog as one NDATA.

        Args:
            value: see `lms_protocol.packing`.
            logged: `Batch.logged` of those that have one, by number.

        Raises:
            SessionError: no births are out, or the host has not said that it can read this.
        """
        if not self.may_pack:
            raise SessionError("packed batches cannot be sent: the host has not said that it accepts them")
        topic = node_topic(self.group, MessageType.NDATA, self.node)
        return Publish(topic, packed_payload(value, now_ms, self._next_seq(), self.stream, logged))

    def receive(self, topic: str, payload: bytes) -> list[EdgeEvent]:
        """Turn a message from the broker into events.

        Raises:
            TopicError, PayloadError: the message is malformed; the session goes on.
        """
        parsed = parse(topic)
        if isinstance(parsed, StateTopic):
            return [state_from_bytes(parsed.host, payload)]
        if not isinstance(parsed, NodeTopic) or (parsed.group, parsed.node) != (self.group, self.node):
            return []
        if parsed.type is MessageType.NCMD:
            return self._node_command(decode(payload))
        if parsed.type is MessageType.DCMD and parsed.device in self._by_device:
            return list(self._device_command(parsed.device, decode(payload)))
        return []

    def _node_command(self, payload: Payload) -> list[EdgeEvent]:
        values = {metric.name: metric.value for metric in payload.metrics}
        events: list[EdgeEvent] = []
        if values.get(REBIRTH_NAME) is True:
            events.append(RebirthRequested())
        if values.get(STREAM_NAME, str(self.stream)) != str(self.stream):
            return events  # about a log that this node sent from before
        if ACCEPTS_NAME in values:
            self._accepted = frozenset(str(values[ACCEPTS_NAME] or "").split(","))
            events.append(Accepts(self._accepted))
        if ACKED_NAME in values:
            ranges, settled = _ranges(values, ACKED_RANGES_NAME), _ranges(values, SETTLED_NAME)
            digests = _digests(values, SETTLED_DIGESTS_NAME, RUN_BYTES)
            if digests is not None and len(digests) != len(settled or ()):
                raise PayloadError(f"has {len(digests)} digests for {settled}", metric=SETTLED_DIGESTS_NAME)
            events.append(Acknowledged(_number(values, ACKED_NAME), ranges or NumberRanges(), settled, digests))
        if REFUSED_NAME in values:
            refused = _digests(values, REFUSED_DIGEST_NAME, DIGEST_BYTES)
            events.append(Refused(_number(values, REFUSED_NAME), refused[0] if refused else None))
        return events

    def _device_command(self, device: str, payload: Payload) -> Iterable[TagCommand]:
        notes = [metric.value for metric in payload.metrics if metric.name == COMMAND_NAME]
        wanted = [metric for metric in payload.metrics if metric.name != COMMAND_NAME]
        if notes and (len(notes), len(wanted)) != (1, 1):
            raise PayloadError(
                f"stands {len(notes)} times beside {len(wanted)} tags: it is of one tag", metric=COMMAND_NAME
            )
        for metric in wanted:
            tag = self._tags.get(metric.alias) if metric.alias is not None else None
            if tag is None and metric.name is not None:
                tag = self._by_device[device].get(metric.name)
            named = metric.name or metric.alias or 0
            if tag is None or tag.device != device:
                if not notes:
                    raise PayloadError(f"device {device!r} has no such tag", metric=named)
                tag = None
            value = metric.value if tag is None or metric.datatype is not None else resolve(metric.value, tag.datatype)
            if value is UNSUPPORTED:
                raise PayloadError("its value is of a kind that no tag can take", metric=named)
            yield TagCommand(
                device, tag, value, metric.timestamp_ms or payload.timestamp_ms, named, notes[0] if notes else None
            )

    def _birth_metric(self, tag: TagDescription, now_ms: int, latest: Reading | None) -> Metric:
        if latest is not None and not fits(latest.value, tag.datatype):
            latest = None  # read when the settings gave the tag another type; no birth can say it
        quality = Quality.STALE if latest is None else latest.quality
        properties: dict[str, Property] = {}
        if tag.name not in SYNC_TAGS:
            properties[QUALITY_NAME] = (INT32, int(quality))
            if tag.unit:
                properties["engUnit"] = (Datatype.STRING, tag.unit)
            for name, limit in (("engLow", tag.low), ("engHigh", tag.high)):
                if limit is not None:
                    properties[name] = (Datatype.DOUBLE, limit)
            if tag.decimals is not None:
                properties["decimals"] = (INT32, tag.decimals)
            if tag.access == "write":
                properties["writable"] = (Datatype.BOOLEAN, True)
        return Metric(
            name=tag.name,
            alias=marked_alias(self.stream, tag.number) if tag.name == BATCH_NAME else tag.number,
            timestamp_ms=now_ms if latest is None else latest.taken_at_ms,
            datatype=tag.datatype,
            value=None if latest is None else latest.value,
            properties=properties,
        )

    def _death_message(self, now_ms: int) -> Publish:
        metric = Metric(BD_SEQ_NAME, timestamp_ms=now_ms, datatype=Datatype.INT64, value=self.bd_seq)
        topic = node_topic(self.group, MessageType.NDEATH, self.node)
        return Publish(topic, encode(Payload(now_ms, [metric])), qos=1)

    def _next_seq(self) -> int:
        self._seq = (self._seq + 1) % 256
        return self._seq


def _ranges(values: Mapping[str | None, object], name: str) -> NumberRanges | None:
    text = values.get(name)
    if text is not None and not isinstance(text, str):
        raise PayloadError("is not a text of ranges", metric=name)
    return None if text is None else NumberRanges.parse(text)


def _digests(values: Mapping[str | None, object], name: str, size: int) -> tuple[bytes, ...] | None:
    """Digests of `size` bytes each, as hexadecimal digits with commas between them; None if there are none."""
    text = values.get(name)
    if text is None:
        return None
    try:
        digests = tuple(map(bytes.fromhex, str(text).split(",")))
    except ValueError:
        digests = (b"",)
    if any(len(digest) != size for digest in digests):
        raise PayloadError(f"{str(text)[:80]!r} are no digests", metric=name)
    return digests


def _number(values: Mapping[str | None, object], name: str) -> int:
    value = values[name]
    if type(value) is not int or value < 0:
        raise PayloadError(f"{value!r} is not a batch number", metric=name)
    return value
