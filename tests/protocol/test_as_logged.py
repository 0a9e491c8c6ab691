"""Batches whose times could be corrected are known by what was logged, however they come."""

from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lms_protocol.batches import as_logged, digest, origin_from_text, origin_to_text, record_encode
from lms_protocol.edge import EdgeSession
from lms_protocol.errors import PayloadError
from lms_protocol.host import HostSession
from lms_protocol.host_events import DataReceived, Malformed
from lms_protocol.messages import SYNC_TAGS, Publish
from lms_protocol.packing import PackedBatch, pack
from lms_protocol.ranges import NumberRanges
from lms_protocol.reading import Batch, Origin, Reading, TagDescription
from lms_protocol.sparkplug import decode, encode
from support.sparkplug import STREAM

T = 1_700_000_000_000
BOOT = UUID(int=9)
TAGS = (
    TagDescription(1, "R1", "pH/PV"),
    *(TagDescription(10 + n, "R1", name, kind) for n, (name, kind) in enumerate(SYNC_TAGS.items())),
)
LOGGED = as_logged(BOOT, "R1", 7, b"record")


def born_pair(tags: tuple[TagDescription, ...] = TAGS) -> tuple[EdgeSession, HostSession]:
    edge, host = EdgeSession(group="g", node="n", stream=STREAM, bd_seq=None, tags=tags), HostSession("cloud")
    edge.will(T)
    for message in edge.births(T, {}, 0):
        host.receive(message.topic, message.payload, 0.0)
    answer = host.acknowledgement("g", "n", 0, NumberRanges(), T, stream=STREAM, born=True)
    edge.receive(answer.topic, answer.payload)
    return edge, host


def batch(shift_ms: int = 0) -> Batch:
    return Batch(7, "R1", (Reading(1, T + shift_ms, 7.0),), logged=LOGGED)


def plain(edge: EdgeSession, batch: Batch) -> Publish:
    return edge.data(batch, T, historical=True)


def packed(edge: EdgeSession, batch: Batch) -> Publish:
    value = pack(
        [PackedBatch(6, "R1", record_encode(replace(batch, number=6))), PackedBatch(7, "R1", record_encode(batch))]
    )
    return edge.packed(value, T, {7: LOGGED})


def taken(host: HostSession, message: Publish) -> DataReceived:
    event = host.receive(message.topic, message.payload, 1.0)[-1]
    assert isinstance(event, DataReceived)
    return event


@pytest.mark.parametrize("send", [plain, packed])
def test_batch_has_one_digest_whatever_its_times_became(send: object) -> None:
    edge, host = born_pair()
    first, other = (taken(host, send(edge, batch(shift_ms))) for shift_ms in (0, 86_400_000))  # type: ignore[operator]
    assert first.digest == other.digest == LOGGED
    for event, shift_ms in ((first, 0), (other, 86_400_000)):
        assert event.content == digest("R1", 7, batch(shift_ms).readings)
        topic, payload = event.alone()
        assert host.receive(topic, payload, 1.0) == [event._replace(packed=True, historical=True)], "kept alone, too"


def test_batch_whose_times_were_known_has_its_own_digest() -> None:
    edge, host = born_pair()
    event = taken(host, edge.data(replace(batch(), logged=None), T))
    assert (event.digest, event.content) == (digest("R1", 7, batch().readings), None)
    before = packed(edge, batch())
    first, _ = host.receive(before.topic, before.payload, 1.0)
    assert isinstance(first, DataReceived)
    assert first.content is None, "of the others in the pack nothing is said"


def test_log_of_an_earlier_release_sends_without_it() -> None:
    edge, host = born_pair(tuple(tag for tag in TAGS if tag.name != "Sync/Logged"))
    assert taken(host, edge.data(batch(), T)).content is None


@given(st.binary(max_size=40), st.integers(1, 1 << 62))
def test_it_differs_by_boot_bioreactor_number_and_record(record: bytes, number: int) -> None:
    others = {
        as_logged(BOOT, "R1", number, record),
        as_logged(UUID(int=10), "R1", number, record),
        as_logged(BOOT, "R2", number, record),
        as_logged(BOOT, "R1", number + 1, record),
        as_logged(BOOT, "R1", number, record + b"x"),
    }
    assert len(others) == 5
    assert {len(each) for each in others} == {16}


@pytest.mark.parametrize("logged", [None, LOGGED])
def test_origin_comes_back_as_it_was_told(logged: bytes | None) -> None:
    origin = Origin(STREAM, 42, logged)
    assert origin_from_text(origin_to_text(origin)) == origin


@pytest.mark.parametrize("text", ["", "00", "zz" * 16, "AB" * 16, "00" * 17])
def test_other_texts_are_no_fingerprints(text: str) -> None:
    edge, host = born_pair()
    message = edge.data(batch(), T)
    payload = decode(message.payload)
    payload.metrics[-1].value = text
    (event,) = host.receive(message.topic, encode(payload), 1.0)
    assert isinstance(event, Malformed)
    assert event.number == 7
    with pytest.raises(PayloadError):
        origin_from_text(origin_to_text(Origin(STREAM, 42, LOGGED)).replace(LOGGED.hex(), text))
