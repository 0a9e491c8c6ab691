"""Readings become COPY bytes without a bit of them changing."""

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lms_cloud.telemetry.columns import (
    COPY_HEADER,
    COPY_TRAILER,
    LAST_TIME_MS,
    NotStorableError,
    ReadingColumns,
    check_storable,
    copy_numbers,
    copy_texts,
    latest_rows,
    to_columns,
)
from lms_protocol.reading import Quality, Reading

TIMES = st.integers(0, LAST_TIME_MS)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(),
    st.integers(-(2**63), 2**64 - 1),
    st.text(st.characters(exclude_characters="\0")),
)
READINGS = st.lists(st.builds(Reading, st.integers(1, 9), TIMES, VALUES, st.sampled_from(Quality)), max_size=40)


def columns_of(readings: list[Reading]) -> ReadingColumns:
    return to_columns([(readings, {number: 100 + number for number in range(1, 10)}.__getitem__)])


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


@given(READINGS)
def test_every_reading_is_in_exactly_one_stream(readings):
    columns = columns_of(readings)
    numbers, texts = parse_copy(copy_numbers(columns)), parse_copy(copy_texts(columns))
    assert len(numbers) + len(texts) == len(readings) == len(columns)
    in_text = [r for r in readings if isinstance(r.value, str) or (type(r.value) is int and abs(r.value) > 2**53)]
    assert [row[3] for row in texts] == [str(r.value).encode() for r in in_text]


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


@pytest.mark.parametrize(
    "reading",
    [
        Reading(1, -1, 1.0),
        Reading(1, LAST_TIME_MS + 1, 1.0),
        Reading(1, 5, "a\0b"),
        Reading(1, 5, "\ud800"),
    ],
)
def test_what_the_database_could_not_give_back_is_refused(reading):
    with pytest.raises(NotStorableError):
        check_storable([Reading(1, 5, math.nan), reading])
