"""Packed batches arrive as they were logged, one by one whole or refused, and no value can fill a reader's memory."""

import struct
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lms_protocol import packing
from lms_protocol.batches import record_encode
from lms_protocol.edge import Accepts, EdgeSession
from lms_protocol.errors import PayloadError, SessionError
from lms_protocol.host import HostSession
from lms_protocol.host_events import DataReceived, HostEvent, Malformed, RebirthWanted
from lms_protocol.messages import Publish, packed_payload
from lms_protocol.packing import MAX_BYTES, PackedBatch, pack, unpack
from lms_protocol.ranges import NumberRanges
from lms_protocol.reading import Batch, Reading
from support.sparkplug import STREAM, clocks, gaps, new_edge, readings

T = 1_795_435_200_000
batches = st.builds(
    Batch,
    st.integers(0, (1 << 64) - 1),
    st.just("R1"),
    st.lists(readings(), max_size=6).map(tuple),
    st.lists(gaps(), max_size=2).map(tuple),
    clocks(),
)


def packed(batch: Batch) -> PackedBatch:
    return PackedBatch(batch.number, batch.device, record_encode(batch))


def born_pair() -> tuple[EdgeSession, HostSession]:
    """An edge node and a host that has answered its births."""
    edge, host = new_edge(), HostSession("cloud")
    edge.will(T)
    for message in edge.births(T, {}, 0):
        host.receive(message.topic, message.payload, 0.0)
    answer = host.acknowledgement("g", "n", 0, NumberRanges(), T, born=True)
    assert Accepts(frozenset({"packed-1"})) in edge.receive(answer.topic, answer.payload)
    return edge, host


def hear(host: HostSession, message: Publish) -> list[HostEvent]:
    return host.receive(message.topic, message.payload, 1.0)


@given(st.lists(batches, min_size=1, max_size=5))
def test_batches_arrive_as_if_each_had_been_sent_plain(sent: list[Batch]) -> None:
    edge, host = born_pair()
    together = hear(host, edge.packed(pack([packed(batch) for batch in sent]), T))
    plain = [event for batch in sent for event in hear(host, edge.data(batch, T, historical=True))]
    assert [event._replace(packed=False) for event in together if isinstance(event, DataReceived)] == plain
    assert [event.readings.data for event in together if isinstance(event, DataReceived)] == [
        event.readings.data for event in plain if isinstance(event, DataReceived)
    ]
    assert host.poll(1_000.0) == [], "it has its place in the row of sequence numbers"


@given(batches)
def test_batch_that_came_packed_can_be_kept_alone(batch: Batch) -> None:
    edge, host = born_pair()
    message = edge.packed(pack([packed(batch), PackedBatch(5, "R2", record_encode(Batch(5, "R2", ())))]), T)
    first, _ = hear(host, message)
    assert isinstance(first, DataReceived)
    topic, payload = first.alone()
    assert topic == "spBv1.0/g/DDATA/n/R1"
    assert host.receive(topic, payload, 1.0) == [first]


def test_backlog_is_packed_only_toward_a_host_that_said_so_in_answer_to_these_births() -> None:
    edge, host = born_pair()
    assert edge.may_pack
    edge.births(T, {}, 0)
    assert not edge.may_pack, "another host may answer now"
    with pytest.raises(SessionError, match="has not said"):
        edge.packed(b"", T)
    other = host.acknowledgement("g", "n", 0, NumberRanges(), T)
    edge.receive(other.topic, other.payload)
    assert not edge.may_pack


RECORD = record_encode(Batch(7, "R1", (Reading(1, T, 7.0),)))


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b"", "another form"),
        (b"\x02" + RECORD[1:], "another form"),
        (RECORD[:-1], "bytes of columns"),
        (RECORD + b"\x00", "no length"),
        (RECORD + struct.pack("<I", 2) + b"{}", "not a gap"),
        (RECORD + struct.pack("<I", 2) + b"\xff\xff", "UTF-8"),
        (record_encode(Batch(7, "R1", (Reading(3, T, 7.0),))), "no tag of an instrument"),
    ],
)
def test_batch_that_cannot_be_read_is_told_by_its_number_and_keeps_no_other_back(record: bytes, reason: str) -> None:
    edge, host = born_pair()
    ill = PackedBatch(6, "R1", record)
    message = edge.packed(pack([PackedBatch(5, "R1", RECORD), ill, PackedBatch(7, "R1", RECORD)]), T)
    before, malformed, after = hear(host, message)
    assert isinstance(before, DataReceived)
    assert isinstance(after, DataReceived)
    assert isinstance(malformed, Malformed)
    assert (before.number, malformed.number, after.number) == (5, 6, 7)
    assert (malformed.stream, malformed.node, malformed.device) == (STREAM, "n", "R1")
    assert reason in malformed.reason
    (again,) = host.receive(malformed.topic, malformed.payload, 1.0)
    assert isinstance(again, Malformed)
    assert (again.number, again.reason) == (6, malformed.reason), "what is kept says the same"


def test_batch_of_another_device_than_its_message_is_refused() -> None:
    _, host = born_pair()
    payload = packed_payload(pack([PackedBatch(5, "R1", RECORD)]), T, None)
    (event,) = host.receive("spBv1.0/g/DDATA/n/R2", payload, 1.0)
    assert isinstance(event, Malformed)
    assert "another device" in event.reason


def test_births_are_asked_for_when_a_device_or_tag_is_not_known() -> None:
    for batch in (Batch(1, "R9", ()), Batch(1, "R1", (Reading(99, T, 1.0),)), Batch(1, "R2", (Reading(1, T, 1.0),))):
        edge, host = born_pair()
        asked, read = hear(host, edge.packed(pack([packed(batch), PackedBatch(2, "R1", RECORD)]), T))
        assert isinstance(asked, RebirthWanted)
        assert isinstance(read, DataReceived)


@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda data: pack([PackedBatch(1, "R1", RECORD)]) + data))
def test_value_that_is_no_pack_is_refused(value: bytes) -> None:
    try:
        assert unpack(value) == [PackedBatch(1, "R1", RECORD)]
    except PayloadError as error:
        assert str(error)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_damaged_value_is_refused(at: int, flip: int) -> None:
    sent = [PackedBatch(n, "R1", RECORD) for n in range(5, 9)]
    value = bytearray(pack(sent))
    value[at % len(value)] ^= flip
    with suppress(PayloadError):
        assert unpack(bytes(value)) == sent, "there are bits in zlib's head that mean nothing"
        return
    edge, host = born_pair()
    message = edge.packed(bytes(value), T)
    (event,) = hear(host, message)
    assert isinstance(event, Malformed)
    assert (event.payload, event.number) == (message.payload, None), "kept whole; the agent sends the batches again"


def test_reason_names_the_batches() -> None:
    value = pack([PackedBatch(n, "R1", RECORD) for n in (5, 8, 6)])
    with pytest.raises(PayloadError, match="batches 5 to 8: it cannot be inflated"):
        unpack(value[:-4] + b"\xff" * 4)


def test_value_that_inflates_to_more_than_it_says_is_not_inflated() -> None:
    bomb = zlib.compress(bytes(100 * MAX_BYTES), 9)
    for size in (0, 1_000, MAX_BYTES, MAX_BYTES + 1, 0xFFFF_FFFF):
        with pytest.raises(PayloadError, match=r"does not inflate|more than one value"):
            unpack(b"\x01" + struct.pack("<IQQI", 1, 1, 1, size) + bomb)


def test_too_large_a_pack_is_refused_where_it_is_made() -> None:
    with pytest.raises(PayloadError, match="do not fit"):
        pack([PackedBatch(1, "R1", bytes(MAX_BYTES))])
    with pytest.raises(PayloadError, match="do not fit"):
        pack([])
    largest = PackedBatch(1, "µ" * 8, bytes(MAX_BYTES - 64))
    assert largest.size <= MAX_BYTES
    assert unpack(pack([largest])) == [largest]


def test_head_that_does_not_fit_the_batches_is_refused() -> None:
    value = pack([PackedBatch(5, "R1", RECORD)])
    for wrong in ((2, 5, 5), (1, 4, 5), (1, 5, 6)):
        size = struct.unpack_from("<I", value, 21)[0]
        with pytest.raises(PayloadError, match="does not fit"):
            unpack(b"\x01" + packing._HEAD.pack(*wrong, size) + value[25:])
