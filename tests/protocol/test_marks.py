"""A batch is taken in under its own stream or not at all, whatever the network does with the messages around it."""

from dataclasses import dataclass
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st
from lms_protocol.batches import record_encode
from lms_protocol.edge import EdgeSession
from lms_protocol.host import HostSession
from lms_protocol.host_events import DataReceived, DeviceBorn, NodeBorn, RebirthWanted
from lms_protocol.marks import marked_alias
from lms_protocol.messages import Publish, packed_payload
from lms_protocol.packing import PackedBatch, pack
from lms_protocol.ranges import NumberRanges
from lms_protocol.reading import Batch, Datatype, Reading, TagDescription
from lms_protocol.sparkplug import decode, encode
from support.sparkplug import TAGS, new_edge

T = 1_700_000_000_000
STREAMS = (
    UUID("11111111-2222-3333-4444-555555555555"),
    UUID("11111111-2222-3333-4444-555555555556"),
    UUID("00000000-0000-4000-8000-000000000000"),
)
HOST = HostSession("cloud")
REBIRTH_EACH_S = 10.0


def edge_of(stream: UUID, tags: tuple[TagDescription, ...] = TAGS) -> EdgeSession:
    """A session of the one agent under a stream, its births out, toward a host that reads packs."""
    edge = EdgeSession(group="g", node="n", stream=stream, bd_seq=None, tags=tags)
    edge.will(T)
    edge.births(T, {}, 0)
    answer = HOST.acknowledgement("g", "n", 0, NumberRanges(), T, stream=stream, born=True)
    edge.receive(answer.topic, answer.payload)
    return edge


def batch(stream: UUID, number: int) -> Batch:
    """A batch whose value says which stream it is of."""
    return Batch(number, "R1", (Reading(1, T + number, float(STREAMS.index(stream))),))


def packed(batch: Batch) -> PackedBatch:
    return PackedBatch(batch.number, batch.device, record_encode(batch))


@dataclass(frozen=True)
class Turn:
    """What an agent publishes in one turn of a log."""

    births: list[Publish]
    data: list[Publish]


def turn_of(stream: UUID) -> Turn:
    edge = edge_of(stream)
    births = edge.births(T, {}, 0)
    answer = HOST.acknowledgement("g", "n", 0, NumberRanges(), T, stream=stream, born=True)
    edge.receive(answer.topic, answer.payload)
    data = [edge.data(batch(stream, number), T + 5) for number in (1, 2, 3)]
    data.append(edge.packed(pack([packed(batch(stream, number)) for number in (4, 5)]), T + 5))
    return Turn(births, data)


MESSAGES = [
    (stream, message) for stream in STREAMS for turn in (turn_of(stream),) for message in turn.births + turn.data
]


@settings(max_examples=400)
@given(st.lists(st.sampled_from(range(len(MESSAGES))), max_size=40))
def test_no_batch_is_taken_under_another_stream_whatever_is_lost_doubled_or_late(order: list[int]) -> None:
    host = HostSession("cloud")
    for index in order:
        sent, message = MESSAGES[index]
        for event in host.receive(message.topic, message.payload, 0.0):
            if isinstance(event, DataReceived):
                assert event.stream == sent
                assert STREAMS[int(event.readings[0].value)] == sent  # type: ignore[arg-type]
            if isinstance(event, DeviceBorn):
                assert event.stream == sent


def test_late_batch_of_another_stream_is_not_taken_and_births_are_asked_for_now_and_then() -> None:
    old, new, host = turn_of(STREAMS[0]), turn_of(STREAMS[1]), HostSession("cloud")
    for message in (*old.births, *old.data[:1], *new.births):
        host.receive(message.topic, message.payload, 0.0)
    asked = [event for m in old.data[1:] for event in host.receive(m.topic, m.payload, 1.0)]
    assert [type(event) for event in asked] == [RebirthWanted]
    assert host.receive(old.data[1].topic, old.data[1].payload, 1.0 + REBIRTH_EACH_S - 0.1) == []
    (again,) = host.receive(old.data[3].topic, old.data[3].payload, 1.0 + REBIRTH_EACH_S)
    assert isinstance(again, RebirthWanted)
    assert str(STREAMS[0]) in again.reason
    assert str(STREAMS[1]) in again.reason


def test_births_of_a_turn_whose_nbirth_was_lost_are_not_used() -> None:
    old, new, host = turn_of(STREAMS[0]), turn_of(STREAMS[1]), HostSession("cloud")
    for message in old.births:
        host.receive(message.topic, message.payload, 0.0)
    (asked,) = host.receive(new.births[1].topic, new.births[1].payload, 1.0)
    assert isinstance(asked, RebirthWanted)
    for message in new.data:
        assert host.receive(message.topic, message.payload, 1.0) == []
    for message in new.births:  # what the agent then publishes
        host.receive(message.topic, message.payload, 2.0)
    (taken,) = host.receive(new.data[0].topic, new.data[0].payload, 2.0)
    assert isinstance(taken, DataReceived)
    assert taken.stream == STREAMS[1]


def unmarked(message: Publish) -> Publish:
    """The message as an agent sends it that knows nothing of marks."""
    payload = decode(message.payload)
    metrics = [metric for metric in payload.metrics if metric.name != "Sync/Stream" or "/NBIRTH/" in message.topic]
    for metric in metrics:
        if metric.alias is not None and metric.alias > 1 << 17:
            metric.alias &= (1 << 17) - 1
    payload.metrics = metrics
    return message._replace(payload=encode(payload))


def test_agent_that_does_not_mark_its_batches_is_served() -> None:
    turn, host = turn_of(STREAMS[0]), HostSession("cloud")
    births = [event for m in map(unmarked, turn.births) for event in host.receive(m.topic, m.payload, 0.0)]
    assert [type(event) for event in births] == [NodeBorn, DeviceBorn, DeviceBorn]
    plain = [event for m in map(unmarked, turn.data[:3]) for event in host.receive(m.topic, m.payload, 0.0)]
    assert [(event.stream, event.number) for event in plain] == [(STREAMS[0], n) for n in (1, 2, 3)]  # type: ignore[union-attr]
    pack_ = packed_payload(pack([packed(batch(STREAMS[0], 4))]), T, 6)
    (event,) = host.receive("spBv1.0/g/NDATA/n", pack_, 0.0)
    assert isinstance(event, DataReceived)
    assert (event.stream, event.number) == (STREAMS[0], 4)


def test_mark_costs_a_live_batch_six_bytes_and_fits_what_any_host_keeps_an_alias_in() -> None:
    edge = new_edge()
    edge.will(T)
    births = [decode(message.payload) for message in edge.births(T, {}, 0)[1:]]
    aliases = [metric.alias for birth in births for metric in birth.metrics if metric.alias is not None]
    assert len(set(aliases)) == len(aliases) == len(TAGS), "an alias is one metric's in all of the node"
    assert max(aliases) < 1 << 53, "exact in floating point, too"
    marked = edge.data(Batch(1, "R1", (Reading(1, T, 7.0),)), T)
    assert len(marked.payload) - len(unmarked(marked).payload) == 6
    number_of_many = TagDescription(131_071, "R3", "Sync/Batch", Datatype.UINT64)
    assert marked_alias(STREAMS[0], number_of_many.number) < 1 << 49
