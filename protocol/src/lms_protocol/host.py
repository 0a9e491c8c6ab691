"""The cloud's end of Sparkplug sessions, without I/O.

`HostSession` follows every edge node that it hears: its births, its aliases, its sequence numbers, its death; it turns
messages into events, and says when a node must be asked for its births again. `lms_cloud.telemetry` moves its bytes.

Edge nodes of other makers are followed too: without `Sync/Stream` in the birth their data has no batch number.

    node's state   message                        then
    ─────────────  ─────────────────────────────  ────────────────────────────────────────────────────
    unknown        data, device birth or death    RebirthWanted; the message is not used
    any            NBIRTH                         born: NodeBorn; its devices are unknown until their DBIRTH
    born           DBIRTH                         DeviceBorn; RebirthWanted if it names another stream than the NBIRTH
    born           data of a born device          DataReceived, or RebirthWanted for an alias without birth
    born           packed batches                 the same for each batch; RebirthWanted if they name another stream
    born           sequence number not expected   the gap's clock starts; RebirthWanted if it does not close in time
    born           NDEATH with this bdSeq         NodeDied, unknown; with another bdSeq it is ignored
    born           DDEATH                         DeviceDied

Data is used at once, also when a message before it is still missing: readings carry their own time and batches their
own number, so their order on the wire means nothing.

Source: Sparkplug 3.0.0, chapters 4 to 6.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from lms_protocol.batches import fingerprint, remarks
from lms_protocol.births import BirthMetric, read_birth
from lms_protocol.decoding import Birth, UnknownMetricError, UnusableDataError, read_data, read_record
from lms_protocol.delivery import digest_of_run
from lms_protocol.errors import LmsError, PayloadError, TopicError
from lms_protocol.host_events import (
    DataReceived,
    DeviceBorn,
    DeviceDied,
    HostEvent,
    Malformed,
    NodeBorn,
    NodeDied,
    RebirthWanted,
    alone_in_a_message,
)
from lms_protocol.layouts import Body
from lms_protocol.messages import (
    ACCEPTS_NAME,
    ACKED_NAME,
    ACKED_RANGES_NAME,
    BD_SEQ_NAME,
    HEAD_NAME,
    PACKED_NAME,
    REBIRTH_NAME,
    REFUSED_DIGEST_NAME,
    REFUSED_NAME,
    SETTLED_DIGESTS_NAME,
    SETTLED_NAME,
    STREAM_NAME,
    Publish,
    packed_logged,
    state_from_bytes,
    state_message,
)
from lms_protocol.packing import PACKED_1, PackedBatch, unpack
from lms_protocol.ranges import NumberRanges
from lms_protocol.reading import Datatype
from lms_protocol.sparkplug import Metric, Payload, encode, get_value, parse
from lms_protocol.topics import LiveTopic, MessageType, NodeTopic, StateTopic, node_topic
from lms_protocol.topics import parse as parse_topic


@dataclass(slots=True)
class _Node:
    """What is known of one edge node in its present session."""

    born: bool = False
    stream: UUID | None = None
    bd_seq: int | None = None
    expected_seq: int = 0
    early: set[int] = field(default_factory=set)
    gap_since_s: float | None = None
    rebirth_asked_s: float | None = None
    births: dict[str | None, Birth] = field(default_factory=dict)
    """Of each device, and under None of the node itself."""


class HostSession:
    """All edge nodes' sessions, as one host application sees them.

    Args:
        host_id: this host's id, as in its STATE topic.
        reorder_s: how long a missing sequence number may take to arrive, in seconds.
        rebirth_interval_s: shortest time between two requests for a rebirth to one node, in seconds.
    """

    def __init__(self, host_id: str, *, reorder_s: float = 3.0, rebirth_interval_s: float = 10.0) -> None:
        self.host_id = host_id
        self._reorder_s = reorder_s
        self._rebirth_interval_s = rebirth_interval_s
        self._nodes: dict[tuple[str, str], _Node] = {}
        self._with_gap: set[tuple[str, str]] = set()

    def receive(self, topic: str, payload: bytes, now_s: float) -> list[HostEvent]:
        """Turn a message from the broker into events. Never raises for what others publish: see `Malformed`."""
        try:
            parsed = parse_topic(topic)
        except TopicError as error:
            return [Malformed(topic, payload, str(error))]
        if isinstance(parsed, LiveTopic) or (isinstance(parsed, NodeTopic) and parsed.type in _COMMANDS):
            return []
        try:
            if isinstance(parsed, StateTopic):
                return [state_from_bytes(parsed.host, payload)]
            quick = self._by_layout(parsed, payload, now_s)
            return self._receive(parsed, parse(payload), payload, now_s) if quick is None else quick
        except LmsError as error:
            where = parsed if isinstance(parsed, NodeTopic) else None
            return [
                Malformed(
                    topic,
                    payload,
                    str(error),
                    group=where and where.group,
                    node=where and where.node,
                    device=where and where.device,
                )
            ]

    def poll(self, now_s: float) -> list[HostEvent]:
        """Events that only time brings: nodes with a sequence gap that did not close. Call about once a second."""
        events: list[HostEvent] = []
        for key in sorted(self._with_gap):
            node = self._nodes[key]
            if node.gap_since_s is not None and now_s - node.gap_since_s >= self._reorder_s:
                events += self._want_rebirth(key, node, f"message {node.expected_seq} never came", now_s)
        return events

    def knows(self, group: str, node: str) -> bool:
        """Whether the node's birth has been heard and no death since."""
        state = self._nodes.get((group, node))
        return state is not None and state.born

    def forget(self, group: str) -> None:
        """Know nothing of a group's nodes any more: they are another worker's to follow."""
        for key in [key for key in self._nodes if key[0] == group]:
            del self._nodes[key]
            self._with_gap.discard(key)

    def recall(
        self, group: str, node: str, stream: UUID | None, device: str | None, metrics: Iterable[BirthMetric]
    ) -> None:
        """Know a birth that was told before, so that a message kept from then can be read.

        Args:
            device: None for what the node told of itself.
        """
        born = self._nodes.setdefault((group, node), _Node(born=True, stream=stream))
        born.births[device] = Birth(metrics)

    def rebirth_command(self, group: str, node: str, now_ms: int) -> Publish:
        """NCMD: publish all births again."""
        return self._node_command(group, node, now_ms, [Metric(REBIRTH_NAME, datatype=Datatype.BOOLEAN, value=True)])

    def acknowledgement(
        self,
        group: str,
        node: str,
        acked: int,
        ranges: NumberRanges,
        now_ms: int,
        *,
        stream: UUID | None = None,
        settled: NumberRanges | None = None,
        digests: Mapping[int, bytes] | None = None,
        born: bool = False,
    ) -> Publish:
        """NCMD: all batches of `stream` up to `acked` are committed, and those in `ranges` above it.

        Args:
            settled: those whose content was just found to be what is committed.
            digests: of each of these, by number: an agent whose log is another copy must not take them for its own.
            born: it answers a birth, and so says, too, what this host can read.
        """
        metrics = [*_about(stream), Metric(ACKED_NAME, datatype=Datatype.UINT64, value=acked)]
        if born:
            metrics.append(Metric(ACCEPTS_NAME, datatype=Datatype.STRING, value=PACKED_1))
        if ranges:
            metrics.append(Metric(ACKED_RANGES_NAME, datatype=Datatype.STRING, value=str(ranges)))
        if settled is not None:
            metrics.append(Metric(SETTLED_NAME, datatype=Datatype.STRING, value=str(settled)))
        if settled and digests is not None:
            runs = [
                digest_of_run(digests[number] for number in range(first, last + 1)).hex() for first, last in settled
            ]
            metrics.append(Metric(SETTLED_DIGESTS_NAME, datatype=Datatype.STRING, value=",".join(runs)))
        return self._node_command(group, node, now_ms, metrics)

    def refusal(
        self,
        group: str,
        node: str,
        number: int,
        now_ms: int,
        *,
        stream: UUID | None = None,
        digest: bytes | None = None,
    ) -> Publish:
        """NCMD: another batch of `stream` is committed under this number.

        Args:
            digest: of the batch that is refused.
        """
        metrics = [*_about(stream), Metric(REFUSED_NAME, datatype=Datatype.UINT64, value=number)]
        if digest is not None:
            metrics.append(Metric(REFUSED_DIGEST_NAME, datatype=Datatype.STRING, value=digest.hex()))
        return self._node_command(group, node, now_ms, metrics)

    def state(self, *, online: bool, timestamp_ms: int) -> Publish:
        """This host's STATE message."""
        return state_message(self.host_id, online=online, timestamp_ms=timestamp_ms)

    @staticmethod
    def _node_command(group: str, node: str, now_ms: int, metrics: list[Metric]) -> Publish:
        for metric in metrics:
            metric.timestamp_ms = now_ms
        return Publish(node_topic(group, MessageType.NCMD, node), encode(Payload(now_ms, metrics)))

    def _receive(self, topic: NodeTopic, message: Any, payload: bytes, now_s: float) -> list[HostEvent]:
        key = (topic.group, topic.node)
        node = self._nodes.get(key)
        if node is None:
            # Only now: a topic that does not parse must not grow the table.
            node = self._nodes[key] = _Node()
        at_ms = message.timestamp if message.HasField("timestamp") else None
        if topic.type is MessageType.NBIRTH:
            return [self._node_born(topic, node.rebirth_asked_s, message, at_ms)]
        if topic.type is MessageType.NDEATH:
            return self._node_died(topic, node, message, at_ms)
        if not node.born:
            return self._want_rebirth(key, node, f"{topic.type} came before any NBIRTH", now_s)
        if message.HasField("seq"):
            self._follow_seq(key, node, message.seq, now_s)
        if topic.type is MessageType.DBIRTH:
            return self._device_born(topic, node, message, at_ms, now_s)
        if topic.type is MessageType.DDEATH:
            node.births.pop(topic.device, None)
            return [DeviceDied(topic.group, topic.node, topic.device or "", at_ms)]
        return self._data(topic, node, message, payload, now_s)

    def _node_born(self, topic: NodeTopic, rebirth_asked_s: float | None, message: Any, at_ms: int | None) -> NodeBorn:
        metrics, readings = read_birth(message, device=None)
        values = {metric.tag.name: metric.value for metric in metrics}
        stream_text, bd_seq, acked = values.get(STREAM_NAME), values.get(BD_SEQ_NAME), values.get(ACKED_NAME)
        stream = None if stream_text is None else _stream(stream_text)
        # A birth begins everything anew, except how often we may ask for one.
        node = _Node(
            born=True,
            stream=stream,
            bd_seq=bd_seq if type(bd_seq) is int else None,
            expected_seq=1,
            rebirth_asked_s=rebirth_asked_s,
        )
        self._nodes[topic.group, topic.node] = node
        node.births[None] = Birth(metrics)
        self._with_gap.discard((topic.group, topic.node))
        head = values.get(HEAD_NAME)
        return NodeBorn(
            topic.group,
            topic.node,
            stream,
            acked if type(acked) is int else 0,
            node.bd_seq,
            at_ms,
            tuple(metric.tag for metric in metrics if not metric.is_control),
            tuple(readings),
            head if type(head) is int and stream is not None else None,
            tuple(metrics),
        )

    def _node_died(self, topic: NodeTopic, node: _Node, message: Any, at_ms: int | None) -> list[HostEvent]:
        values = [get_value(metric, Datatype.INT64) for metric in message.metrics if metric.name == BD_SEQ_NAME]
        bd_seq = values[0] if values else None
        if node.born and node.bd_seq is not None and bd_seq != node.bd_seq:
            return []  # the will of an earlier connection, delivered late
        node.born = False
        self._with_gap.discard((topic.group, topic.node))
        return [NodeDied(topic.group, topic.node, at_ms)]

    def _device_born(
        self, topic: NodeTopic, node: _Node, message: Any, at_ms: int | None, now_s: float
    ) -> list[HostEvent]:
        metrics, readings = read_birth(message, device=topic.device)
        told = _told_stream(message)
        if _is_another(told, node.stream):
            return self._want_another(topic, node, f"the DBIRTH of device {topic.device!r}", told, now_s)
        node.births[topic.device] = Birth(metrics)
        return [
            DeviceBorn(
                topic.group,
                topic.node,
                topic.device or "",
                node.stream,
                at_ms,
                tuple(metric.tag for metric in metrics if not metric.is_control),
                tuple(readings),
                tuple(metrics),
            )
        ]

    def _data(self, topic: NodeTopic, node: _Node, message: Any, payload: bytes, now_s: float) -> list[HostEvent]:
        key = (topic.group, topic.node)
        birth = node.births.get(topic.device)
        if birth is None:
            return self._want_rebirth(key, node, f"data of device {topic.device!r} came before its DBIRTH", now_s)
        if (value := _packed_value(message)) is not None:
            told = _told_stream(message)
            if _is_another(told, node.stream):
                return self._want_another(topic, node, "a pack of batches", told, now_s)
            return self._packed(topic, node, value, packed_logged(message), now_s)
        try:
            said = read_data(birth, message)
        except UnknownMetricError as error:
            return self._want_rebirth(key, node, f"{error} is in no birth of {topic.device!r}", now_s)
        except UnusableDataError as error:
            where = (topic.group, topic.node, topic.device)
            return [Malformed(str(topic), payload, str(error), *where, node.stream, error.number)]
        number, columns, gaps, historical, clock, origin, logged = said
        if node.stream is None or number is None:
            return [DataReceived(*key, topic.device, None, None, None, columns, gaps, historical, clock)]
        if not gaps and clock is None and origin is None and logged is None:
            birth.layouts.learn(payload, birth.learnable, Body(number, columns, historical))
        digest = fingerprint(topic.device or "", number, columns, remarks(gaps, clock, origin))
        identity = (*key, topic.device, node.stream, number, logged or digest)
        content = None if logged is None else digest
        return [DataReceived(*identity, columns, gaps, historical, clock, origin=origin, content=content)]

    def _packed(
        self, topic: NodeTopic, node: _Node, value: bytes, logged: Mapping[int, bytes], now_s: float
    ) -> list[HostEvent]:
        """Batches that came together; one that cannot be used does not keep the others from being used."""
        if node.stream is None:
            raise PayloadError("batches came packed from a node that has no stream", metric=PACKED_NAME)
        try:
            batches = unpack(value)
        except PayloadError as error:
            raise PayloadError(error.reason, metric=PACKED_NAME) from error
        events: list[HostEvent] = []
        for batch in batches:
            try:
                events += self._packed_batch(topic, node, batch._replace(logged=logged.get(batch.number)), now_s)
            except PayloadError as error:
                where = (topic.group, topic.node, batch.device)
                alone = alone_in_a_message(topic.group, topic.node, batch._replace(logged=logged.get(batch.number)))
                events.append(Malformed(*alone, str(error), *where, node.stream, batch.number))
        return events

    def _packed_batch(self, topic: NodeTopic, node: _Node, batch: PackedBatch, now_s: float) -> list[HostEvent]:
        key = (topic.group, topic.node)
        number, device, record, logged = batch
        if topic.device not in (None, device):
            raise PayloadError(f"the batch is of another device, {device!r}", metric=PACKED_NAME)
        birth = node.births.get(device)
        if birth is None:
            return self._want_rebirth(key, node, f"data of device {device!r} came before its DBIRTH", now_s)
        try:
            _, columns, gaps, _, clock, origin, _ = read_record(birth, number, record)
        except UnknownMetricError as error:
            return self._want_rebirth(key, node, f"{error} is in no birth of {device!r}", now_s)
        digest = fingerprint(device, number, columns, remarks(gaps, clock, origin))
        identity = (*key, device, node.stream, number, logged or digest)
        content = None if logged is None else digest
        return [DataReceived(*identity, columns, gaps, True, clock, True, origin, content)]

    def _by_layout(self, topic: NodeTopic, payload: bytes, now_s: float) -> list[HostEvent] | None:
        """Data whose shape is known; None for all else."""
        if topic.type is not MessageType.DDATA:
            return None
        key = (topic.group, topic.node)
        node = self._nodes.get(key)
        birth = None if node is None or not node.born else node.births.get(topic.device)
        if node is None or birth is None or (found := birth.layouts.read(payload)) is None:
            return None
        seq, (number, columns, historical) = found
        self._follow_seq(key, node, seq, now_s)
        digest = fingerprint(topic.device or "", number, columns, b"")
        return [DataReceived(*key, topic.device, node.stream, number, digest, columns, (), historical)]

    def _follow_seq(self, key: tuple[str, str], node: _Node, seq: int, now_s: float) -> None:
        if seq != node.expected_seq:
            node.early.add(seq)
            if node.gap_since_s is None:
                node.gap_since_s = now_s
                self._with_gap.add(key)
            return
        node.expected_seq = (seq + 1) % 256
        while node.expected_seq in node.early:
            node.early.discard(node.expected_seq)
            node.expected_seq = (node.expected_seq + 1) % 256
        if node.gap_since_s is not None and not node.early:
            node.gap_since_s = None
            self._with_gap.discard(key)

    def _want_another(
        self, topic: NodeTopic, node: _Node, what: str, stream: UUID | None, now_s: float
    ) -> list[HostEvent]:
        """Births are wanted: what came is of another stream than the last NBIRTH told of."""
        reason = f"{what} is of stream {stream}, but the last NBIRTH told of {node.stream}"
        return self._want_rebirth((topic.group, topic.node), node, reason, now_s)

    def _want_rebirth(self, key: tuple[str, str], node: _Node, reason: str, now_s: float) -> list[HostEvent]:
        if node.rebirth_asked_s is not None and now_s - node.rebirth_asked_s < self._rebirth_interval_s:
            return []
        node.rebirth_asked_s = now_s
        return [RebirthWanted(*key, reason)]


_COMMANDS: Final = frozenset({MessageType.NCMD, MessageType.DCMD})


def _about(stream: UUID | None) -> list[Metric]:
    """Which stream a command is about: an agent that has just begun another must not take it for that one's."""
    return [] if stream is None else [Metric(STREAM_NAME, datatype=Datatype.STRING, value=str(stream))]


def _packed_value(message: Any) -> bytes | None:
    """What a message says under `Sync/Packed`; None if it does not."""
    for metric in message.metrics:
        if metric.name == PACKED_NAME:
            return bytes(metric.bytes_value)
    return None


def _told_stream(message: Any) -> UUID | None:
    """The stream that a message says it is of; None if it does not say."""
    for metric in message.metrics:
        if metric.name == STREAM_NAME:
            return _stream(metric.string_value)
    return None


def _is_another(told: UUID | None, stream: UUID | None) -> bool:
    """Whether a message says that it is of another stream than the last NBIRTH. Older agents say nothing."""
    return told is not None and told != stream


def _stream(value: object) -> UUID:
    try:
        return UUID(str(value))
    except ValueError as error:
        raise PayloadError(f"{value!r} is not a UUID", metric=STREAM_NAME) from error
