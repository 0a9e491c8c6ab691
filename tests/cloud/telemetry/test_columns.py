"""Readings become COPY bytes without a bit of them changing."""

import math
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lms_cloud.telemetry.columns import (
    COPY_HEADER,
    COPY_TRAILER,
    LAST_TIME_MS,
    POSTGRES_EPOCH_MS,
    NotStorableError,
    ReadingColumns,
    check_storable,
    copy_numbers,
    copy_texts,
    latest_rows,
    to_columns,
)
from lms_cloud.telemetry.incoming import MAX_COLUMNS, DeviceTags
from lms_protocol.columns import Columns
from lms_protocol.reading import Gap, Quality, Reading

TIMES = st.integers(0, LAST_TIME_MS)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(),
    st.integers(-(2**63), 2**64 - 1),
    st.text(st.characters(codec="utf-8", exclude_characters="\0")),
)
READINGS = st.lists(
    st.builds(Reading, st.integers(1, 9), TIMES, VALUES, st.sampled_from(Quality)).filter(
        lambda reading: reading.value is not None or reading.quality is not Quality.GOOD  # that reads as BAD
    ),
    max_size=40,
)


TAGS = DeviceTags({number: 100 + number for number in range(1, 10)}, {}, frozenset())


def columns_of(*batches: list[Reading]) -> ReadingColumns:
    return to_columns([(Columns.of(readings), TAGS.series_of) for readings in batches])


def parse_copy(data: bytes) -> list[list[bytes | None]]:
    """Read a binary COPY stream field by field, as PostgreSQL's manual describes it."""
    assert data.startswith(COPY_HEADER)
    at, rows = len(COPY_HEADER), []
    while True:
        (fields,) = struct.unpack_from(">h", data, at)
        at += 2
        if fields == -1:
            assert at == len(data)
            return rows
        row: list[bytes | None] = []
        for _ in range(fields):
            (size,) = struct.unpack_from(">i", data, at)
            at += 4
            row.append(None if size == -1 else data[at : at + size])
            at += max(size, 0)
        rows.append(row)


def is_text(reading: Reading) -> bool:
    """Whether the reading is stored as text: a text is, and an integer that a double would alter."""
    return isinstance(reading.value, str) or (type(reading.value) is int and abs(reading.value) > 2**53)


@given(READINGS, st.integers(0, 40))
def test_every_reading_is_in_exactly_one_stream(readings, cut):
    columns = columns_of(readings[:cut], readings[cut:])
    numbers, texts = parse_copy(copy_numbers(columns)), parse_copy(copy_texts(columns))
    assert len(numbers) + len(texts) == len(readings) == len(columns)
    in_text = [r for r in readings if is_text(r)]
    assert [row[3] for row in texts] == [str(r.value).encode() for r in in_text]
    others = [r for r in readings if not is_text(r)]
    expected = [
        (100 + r.tag, r.taken_at_ms, int(r.quality), None if r.value is None else struct.pack(">d", r.value))
        for r in (*(r for r in others if r.value is not None), *(r for r in others if r.value is None))
    ]
    stored = [
        (
            int.from_bytes(series),
            (int.from_bytes(at, signed=True) + POSTGRES_EPOCH_MS * 1000) // 1000,
            int.from_bytes(quality),
            value,
        )
        for series, at, quality, value in numbers
    ]
    assert [repr(cell) for cell in stored] == [repr(cell) for cell in expected]


@given(st.lists(st.binary(min_size=8, max_size=8), min_size=1, max_size=50))
def test_a_double_keeps_its_bits(patterns):
    values = [struct.unpack(">d", bits)[0] for bits in patterns]
    rows = parse_copy(copy_numbers(columns_of([Reading(1, 5, value) for value in values])))
    assert [row[3] for row in rows] == [struct.pack(">d", value) for value in values]


@given(READINGS)
def test_latest_row_is_the_newest_and_the_last_among_equals(readings):
    columns = columns_of(readings)
    numbers = np.arange(len(readings)) // 3
    expected = {}
    for row, reading in enumerate(readings):
        best = expected.get(reading.tag)
        if best is None or reading.taken_at_ms >= readings[best].taken_at_ms:
            expected[reading.tag] = row
    assert sorted(latest_rows(columns, numbers).tolist()) == sorted(expected.values())


def test_one_row_is_as_the_manual_says():
    columns = columns_of([Reading(1, 946_684_800_001, -0.0, Quality.GOOD)])
    body = bytes.fromhex(
        "0004 00000004 00000065 00000008 00000000000003e8 00000002 00c0 00000008 8000000000000000".replace(" ", "")
    )
    assert copy_numbers(columns) == COPY_HEADER + body + COPY_TRAILER


def test_no_value_is_null_and_of_a_text_tag_stands_beside_its_texts():
    columns = columns_of([Reading(1, 5, None, Quality.BAD), Reading(2, 5, None), Reading(2, 6, "on")])
    assert [row[3] for row in parse_copy(copy_numbers(columns))] == [None, None]
    sorted_out = columns.with_empty_texts([102])
    assert [row[3] for row in parse_copy(copy_numbers(sorted_out))] == [None]
    assert [row[3] for row in parse_copy(copy_texts(sorted_out))] == [None, b"on"]


@given(READINGS)
def test_latest_row_is_the_same_however_far_apart_the_series_are(readings):
    near = columns_of(readings)
    far = replace(near, series=near.series * 1_000_000)
    numbers = np.arange(len(readings)) // 3
    assert latest_rows(far, numbers).tolist() == latest_rows(near, numbers).tolist()


def with_time(readings: Columns, taken_at_ms: int) -> Columns:
    """The same with another time of the last reading, also one that no agent can log."""
    data = bytearray(readings.data)
    data[4 + 16 * readings.size - 8 : 4 + 16 * readings.size] = struct.pack("<q", taken_at_ms)
    return Columns.parse(bytes(data))[0]


@pytest.mark.parametrize(
    ("value", "taken_at_ms"),
    [(1.0, -1), (1.0, LAST_TIME_MS + 1), ("a\0b", 5), (None, (1 << 63) - 1), (None, -(1 << 63))],
)
def test_what_the_database_could_not_give_back_is_refused(value, taken_at_ms):
    readings = with_time(Columns.of([Reading(1, 5, math.nan), Reading(1, 5, value)]), taken_at_ms)
    with pytest.raises(NotStorableError):
        check_storable(readings)


def test_gap_that_the_database_could_not_give_back_is_refused():
    for gap in (Gap(1, (1,), 5, LAST_TIME_MS + 1, "late"), Gap(1, (1,), 5, None, "a\0b"), Gap(1, (), 5, 6, "\ud800")):
        with pytest.raises(NotStorableError):
            check_storable(Columns.of([]), [gap])


def test_tag_without_series_is_named():
    with pytest.raises(KeyError, match="11"):
        columns_of([Reading(1, 5, 1.0), Reading(11, 5, 1.0)])


def test_columns_of_tags_are_remembered_within_bounds():
    tags = DeviceTags(TAGS.series, {}, frozenset())
    for first in range(1, 10):
        for second in range(1, 10):
            assert tags.series_of(struct.pack("<QQ", first, second)) == struct.pack("=ii", 100 + first, 100 + second)
    assert len(tags._columns) <= MAX_COLUMNS
