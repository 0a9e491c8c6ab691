"""Records keep a batch bit by bit; the digest tells any two batches apart and equal ones equal."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lms_protocol.batches import (
    digest,
    gap_from_text,
    gap_to_text,
    quality_from_code,
    record_decode,
    record_encode,
)
from lms_protocol.errors import PayloadError
from lms_protocol.reading import Batch, Gap, Quality, Reading
from support.sparkplug import gaps, readings

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
    return batch.number, batch.device, cells, batch.gaps


@given(many_readings, many_gaps)
def test_record_reads_back_bit_equal(some_readings: tuple[Reading, ...], some_gaps: tuple[Gap, ...]) -> None:
    batch = Batch(7, "R1", some_readings, some_gaps)
    assert exact(record_decode(7, "R1", record_encode(batch))) == exact(batch)


@given(many_readings, many_gaps, many_readings, many_gaps)
def test_digest_differs_exactly_when_batches_differ(
    a: tuple[Reading, ...], gaps_a: tuple[Gap, ...], b: tuple[Reading, ...], gaps_b: tuple[Gap, ...]
) -> None:
    same = exact(Batch(1, "R1", a, gaps_a)) == exact(Batch(1, "R1", b, gaps_b))
    assert (digest("R1", 1, a, gaps_a) == digest("R1", 1, b, gaps_b)) == same


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
