"""What is read by a remembered shape is what would have been read metric by metric, bit for bit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lms_protocol.edge import EdgeSession
from lms_protocol.host import HostSession
from lms_protocol.host_events import DataReceived, HostEvent
from lms_protocol.layouts import FREE_LESSONS, MAX_LAYOUTS, Layouts
from lms_protocol.marks import marked_alias
from lms_protocol.messages import Publish
from lms_protocol.reading import Batch, Datatype, Quality, Reading, TagDescription
from lms_protocol.sparkplug import Metric, Payload, encode
from support.sparkplug import STREAM, TAGS, new_edge, readings

T = 1_795_435_200_000
RECENT = st.integers(T, T + 1_000_000)


def born_pair(tags: tuple[TagDescription, ...] = TAGS) -> tuple[EdgeSession, HostSession, list[Publish]]:
    """An edge node, a host that has heard its births, and these."""
    edge = new_edge() if tags is TAGS else EdgeSession(group="g", node="n", stream=STREAM, bd_seq=None, tags=tags)
    edge.will(T)
    births = edge.births(T, {}, 0)
    return edge, hearing(births), births


def hearing(births: list[Publish]) -> HostSession:
    host = HostSession("cloud")
    for message in births:
        host.receive(message.topic, message.payload, 0.0)
    return host


def layouts_of(host: HostSession) -> Layouts:
    return host._nodes["g", "n"].births["R1"].layouts


def hits(host: HostSession) -> int:
    return layouts_of(host)._hits


def exact(events: list[HostEvent]) -> object:
    """Events in a form whose equality is bit equality."""
    return [(event, event.readings.data) if isinstance(event, DataReceived) else event for event in events]


def alike(reading: Reading) -> st.SearchStrategy[Reading]:
    """Readings that differ from this one where a layout may let them differ, and a little beyond."""
    value = reading.value
    values: st.SearchStrategy[object] = st.just(value)
    if isinstance(value, bool):
        values = st.booleans()
    elif isinstance(value, float):
        values = st.floats()
    elif isinstance(value, int):
        values = st.integers(value - 1_000, value + 1_000).filter(lambda number: -(1 << 63) <= number < 1 << 64)
    return st.builds(Reading, st.just(reading.tag), RECENT, values, st.just(reading.quality))


@st.composite
def two_batches(draw: st.DrawFn) -> tuple[Batch, Batch]:
    some = [r._replace(taken_at_ms=draw(RECENT)) for r in draw(st.lists(readings(), max_size=6))]
    again = [draw(alike(reading)) for reading in some]
    numbers = st.integers(1, 300) | st.integers(1, (1 << 63) - 1)
    return Batch(draw(numbers), "R1", tuple(some)), Batch(draw(numbers), "R1", tuple(again))


@given(two_batches(), st.booleans(), st.booleans())
def test_second_message_means_the_same_with_and_without_a_layout(
    batches: tuple[Batch, Batch], first_late: bool, late: bool
) -> None:
    edge, host, births = born_pair()
    message = edge.data(batches[0], T + 5, historical=first_late)
    host.receive(message.topic, message.payload, 1.0)
    second = edge.data(batches[1], T + 6, historical=late)
    assert exact(host.receive(second.topic, second.payload, 1.0)) == exact(
        hearing(births).receive(second.topic, second.payload, 1.0)
    )


@given(two_batches(), st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), min_size=1, max_size=3))
def test_altered_message_means_the_same_with_and_without_a_layout(
    batches: tuple[Batch, Batch], flips: list[tuple[int, int]]
) -> None:
    edge, host, births = born_pair()
    message = edge.data(batches[0], T + 5)
    host.receive(message.topic, message.payload, 1.0)
    second = edge.data(batches[1], T + 6)
    altered = bytearray(second.payload)
    for at, flip in flips:
        altered[at % len(altered)] ^= flip
    with_layout = host.receive(second.topic, bytes(altered), 1.0)
    assert exact(with_layout) == exact(hearing(births).receive(second.topic, bytes(altered), 1.0))


def wide_batch(number: int, count: int = 50) -> Batch:
    return Batch(number, "R1", tuple(Reading(100 + n, T + n, n * 0.1 + number) for n in range(count)))


def wide_tags(datatype: Datatype = Datatype.DOUBLE, count: int = 50) -> tuple[TagDescription, ...]:
    tags = [TagDescription(100 + n, "R1", f"T{n}/PV", datatype) for n in range(count)]
    return (*tags, TagDescription(1, "R1", "Sync/Batch", Datatype.UINT64), TagDescription(2, "R1", "Sync/Gap"))


def test_messages_of_one_shape_are_read_by_their_layout_whatever_seq_and_number() -> None:
    edge, host, _ = born_pair(wide_tags())
    for number in range(1, 601):
        batch = wide_batch(number)
        message = edge.data(batch, T + number)
        (event,) = host.receive(message.topic, message.payload, 1.0)
        assert isinstance(event, DataReceived)
        assert (event.number, event.readings) == (number, batch.readings)
    assert hits(host) == 600 - 2, "one message of each length of the number is read metric by metric"
    assert host.poll(1_000.0) == [], "sequence numbers are followed"


def test_one_quality_that_is_not_good_is_seen() -> None:
    edge, host, _ = born_pair(wide_tags())
    for number, quality in enumerate((Quality.GOOD, Quality.GOOD, Quality.UNCERTAIN, Quality.GOOD, Quality.BAD), 1):
        some = list(wide_batch(number).readings)
        some[7] = some[7]._replace(quality=quality)
        message = edge.data(Batch(number, "R1", tuple(some)), T)
        (event,) = host.receive(message.topic, message.payload, 1.0)
        assert isinstance(event, DataReceived)
        assert event.readings == tuple(some)


def test_zero_that_is_marked_null_is_no_value() -> None:
    """A metric with a value and `is_null` has none: no layout may take its value up later."""
    edge, host, births = born_pair(wide_tags(count=1))
    null = edge.data(Batch(1, "R1", (Reading(100, T, None, Quality.BAD),)), T).payload
    for bits in (bytes(8), b"\x00" * 6 + b"\xf0\x3f"):
        metric, flag = null.index(b"\x38\x01"), len(b"\x38\x01")
        payload = bytearray(null[: metric + flag] + b"\x69" + bits + null[metric + flag :])
        payload[payload.index(b"\x12", 20) + 1] += 9
        topic = edge.data(wide_batch(1, 1), T).topic
        got = host.receive(topic, bytes(payload), 1.0)
        assert exact(got) == exact(hearing(births).receive(topic, bytes(payload), 1.0))
        assert isinstance(got[0], DataReceived)
        assert got[0].readings[0].value is None


def test_rebirth_forgets_layouts() -> None:
    edge, host, _ = born_pair(wide_tags())
    for number in (1, 2):
        message = edge.data(wide_batch(number), T)
        host.receive(message.topic, message.payload, 1.0)
    assert hits(host) == 1
    for message in edge.births(T, {}, 0):
        host.receive(message.topic, message.payload, 1.0)
    assert hits(host) == 0
    message = edge.data(wide_batch(3), T)
    (event,) = host.receive(message.topic, message.payload, 1.0)
    assert isinstance(event, DataReceived)
    assert (hits(host), event.readings) == (0, wide_batch(3).readings)


def test_memory_and_time_for_learning_are_bounded() -> None:
    edge, host, _ = born_pair(wide_tags())
    for count in range(1, 51):
        message = edge.data(wide_batch(1, count), T)
        host.receive(message.topic, message.payload, 1.0)
    layouts = layouts_of(host)
    assert len(layouts._known) <= MAX_LAYOUTS
    assert layouts._lessons <= FREE_LESSONS + 1


@pytest.mark.parametrize("seq", [0, 24, 127, 128, 152, 255, 256, 300])
def test_sequence_number_is_read_from_its_one_or_two_bytes(seq: int) -> None:
    _, host, births = born_pair(wide_tags())
    topic = "spBv1.0/g/DDATA/n/R1"

    def payload(value: float) -> bytes:
        metrics = [
            Metric(alias=marked_alias(STREAM, 1), timestamp_ms=T, datatype=8, value=5),
            Metric(alias=100, timestamp_ms=T, value=value),
        ]
        return encode(Payload(T, metrics, seq=seq))

    host.receive(topic, payload(1.0), 1.0)
    got = host.receive(topic, payload(2.0), 1.0)
    other = hearing(births)
    assert exact(got) == exact(other.receive(topic, payload(2.0), 1.0))
    assert host._nodes["g", "n"].expected_seq == other._nodes["g", "n"].expected_seq
    assert host._nodes["g", "n"].early == other._nodes["g", "n"].early
