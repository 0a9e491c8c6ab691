"""Records keep a batch bit by bit; the digest tells any two batches apart and equal ones equal."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lms_protocol.batches import (
    clock_from_text,
    clock_to_text,
    digest,
    gap_from_text,
    gap_to_text,
    quality_from_code,
    record_decode,
    record_encode,
)
from lms_protocol.errors import PayloadError
from lms_protocol.reading import Batch, ClockRecord, Gap, Quality, Reading
from support.sparkplug import clocks, gaps, readings

many_readings = st.lists(readings(), max_size=6).map(tuple)
many_gaps = st.lists(gaps(), max_size=2).map(tuple)


def exact(batch: Batch) -> object:
    """A batch in a form whose equality is bit equality."""
    cells = tuple(
        (
            r.tag,
            r.taken_at_ms,
            type(r.value),
            struct.pack("<d", r.value) if type(r.value) is float else r.value,
            r.quality,
        )
        for r in batch.readings
    )
    return batch.number, batch.device, cells, batch.gaps, batch.clock


batches = st.builds(Batch, st.just(7), st.just("R1"), many_readings, many_gaps, clocks())


@given(batches)
def test_record_reads_back_bit_equal(batch: Batch) -> None:
    assert exact(record_decode(7, "R1", record_encode(batch))) == exact(batch)


@given(batches, batches)
def test_digest_differs_exactly_when_batches_differ(a: Batch, b: Batch) -> None:
    one, other = (digest(each.device, each.number, each.readings, each.gaps, each.clock) for each in (a, b))
    assert (one == other) == (exact(a) == exact(b))


@given(batches, st.data())
def test_record_with_one_altered_byte_is_refused_or_another_batch(batch: Batch, data: st.DataObject) -> None:
    record = bytearray(record_encode(batch))
    at = data.draw(st.integers(0, len(record) - 1))
    record[at] ^= data.draw(st.integers(1, 255))
    try:
        read = record_decode(7, "R1", bytes(record))
    except PayloadError as error:
        assert str(error)
    else:
        assert exact(read) != exact(batch), "two records of one batch"


@given(batches, st.data())
def test_record_cut_short_is_refused_or_another_batch(batch: Batch, data: st.DataObject) -> None:
    record = record_encode(batch)
    try:
        read = record_decode(7, "R1", record[: data.draw(st.integers(1, len(record) - 1))])
    except PayloadError as error:
        assert str(error)
    else:
        assert exact(read) != exact(batch)


@pytest.mark.parametrize("bits", [0x7FF8_0000_0000_0001, 0xFFF8_1234_5678_9ABC, 0x8000_0000_0000_0000, 1])
def test_record_keeps_every_bit_of_a_double(bits: int) -> None:
    (value,) = struct.unpack("<d", bits.to_bytes(8, "little"))
    batch = Batch(7, "R1", (Reading(1, 5, value),))
    assert exact(record_decode(7, "R1", record_encode(batch))) == exact(batch)


@pytest.mark.parametrize(
    "reading",
    [
        Reading(1, -1, 1.0),
        Reading(1, 1 << 63, 1.0),
        Reading(-1, 5, 1.0),
        Reading(1, 5, 1 << 64),
        Reading(1, 5, -(1 << 63) - 1),
        Reading(1, 5, "\ud800"),
        Reading(1, 5, b"x"),  # type: ignore[arg-type]
    ],
)
def test_reading_that_a_record_would_alter_is_refused(reading: Reading) -> None:
    with pytest.raises(PayloadError):
        record_encode(Batch(7, "R1", (reading,)))


@given(many_readings)
def test_digest_depends_on_number_and_device(some: tuple[Reading, ...]) -> None:
    assert len({digest("R1", 1, some), digest("R1", 2, some), digest("R2", 1, some)}) == 3


@pytest.mark.parametrize(
    ("left", "right"),
    [(0.0, -0.0), (1, 1.0), (1, True), (0, None), ("", None), ("1", 1), (0.1, 0.1 + 2**-56)],
)
def test_digest_tells_values_apart_that_compare_equal_or_nearly_so(left: object, right: object) -> None:
    assert digest("R1", 1, [Reading(1, 5, left)]) != digest("R1", 1, [Reading(1, 5, right)])


@given(st.binary(max_size=100))
def test_damaged_record_is_refused_or_read_never_worse(data: bytes) -> None:
    try:
        record_decode(1, "R1", data)
    except PayloadError as error:
        assert str(error)


@given(gaps())
def test_gap_text_reads_back(gap: Gap) -> None:
    assert gap_from_text(gap_to_text(gap)) == gap


@given(clocks())
def test_clock_text_reads_back(clock: ClockRecord | None) -> None:
    if clock is not None:
        assert clock_from_text(clock_to_text(clock)) == clock


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[1]",
        '{"boot":"x","offset_ms":1,"trusted":true,"error_ms":null,"correction_ms":0}',
        '{"boot":5,"offset_ms":1,"trusted":true,"error_ms":null,"correction_ms":0}',
        '{"boot":"11111111-2222-3333-4444-555555555555","offset_ms":1.5,"trusted":true,"error_ms":null,"correction_ms":0}',
        '{"boot":"11111111-2222-3333-4444-555555555555","offset_ms":1,"trusted":1,"error_ms":null,"correction_ms":0}',
        '{"boot":"11111111-2222-3333-4444-555555555555","offset_ms":1,"trusted":true}',
        '{"boot":"11111111-2222-3333-4444-555555555555","offset_ms":1,"trusted":true,"error_ms":null,"else":0}',
        "[" * 100_000,
    ],
)
def test_text_that_is_no_clock_record_is_refused(text: str) -> None:
    with pytest.raises(PayloadError, match="not a clock record"):
        clock_from_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[1]",
        '{"id":1,"tags":5,"began_at_ms":1,"ended_at_ms":null,"reason":""}',
        '{"id":true,"tags":[],"began_at_ms":1,"ended_at_ms":null,"reason":""}',
        '{"id":1,"tags":[],"began_at_ms":-1,"ended_at_ms":null,"reason":""}',
        '{"id":1,"tags":[],"began_at_ms":1,"ended_at_ms":null,"reason":5}',
        "[" * 100_000,
    ],
)
def test_text_that_is_no_gap_is_refused(text: str) -> None:
    with pytest.raises(PayloadError, match="not a gap"):
        gap_from_text(text)


@pytest.mark.parametrize(
    ("code", "quality"),
    [(0, 0), (192, 192), (500, 500), (64, 64), (216, 192), (80, 64), (4, 0), (-1, 0), (300, 0)],
)
def test_quality_codes_of_other_makers_map_by_major_class(code: int, quality: int) -> None:
    assert quality_from_code(code) is Quality(quality)


def test_value_that_no_tag_can_have_is_named_in_a_few_words() -> None:
    with pytest.raises(PayloadError) as caught:
        record_encode(Batch(1, "R1", (Reading(1, 1, b"\xff" * 1_000_000),)))  # type: ignore[arg-type]
    assert len(str(caught.value)) < 120
