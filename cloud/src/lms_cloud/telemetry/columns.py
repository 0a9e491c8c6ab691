"""Readings as columns, and columns as the bytes of PostgreSQL's binary COPY.

Between the message (`lms_protocol.host`) and the database (`lms_cloud.telemetry.storage.transaction`) no step handles
one reading at a time in Python: batches come as columns of bytes, a commit's columns become five numpy arrays, and
those become the COPY stream as packed records. A double travels as its eight bytes, so its bits, NaN payloads
included, are those that the agent logged.

Source: PostgreSQL manual, "COPY", section "Binary Format"; timestamps are microseconds since 2000-01-01 UTC.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from struct import pack
from typing import Any, Final, TypeAlias

import numpy as np
from lms_protocol.columns import BOOLEAN, DOUBLE, INTEGER, NULL, TEXT, UNSIGNED, Columns
from lms_protocol.errors import LmsError
from lms_protocol.reading import Gap
from numpy.typing import NDArray

POSTGRES_EPOCH_MS: Final = 946_684_800_000
"""2000-01-01T00:00Z in ms since 1970."""
LAST_TIME_MS: Final = 253_402_300_799_999
"""The last millisecond of the year 9999, the last that Python's datetime can show."""
EXACT_INTEGER: Final = 1 << 53
"""Integers up to this magnitude are exact as doubles; those beyond are kept as text."""

COPY_HEADER: Final = b"PGCOPY\n\xff\r\n\x00" + pack(">ii", 0, 0)
COPY_TRAILER: Final = b"\xff\xff"

_NUMBER_ROW: Final = np.dtype(
    [
        ("fields", ">i2"),
        ("series_size", ">i4"),
        ("series", ">i4"),
        ("taken_at_size", ">i4"),
        ("taken_at", ">i8"),
        ("quality_size", ">i4"),
        ("quality", ">i2"),
        ("value_size", ">i4"),
        ("value", ">f8"),
    ]
)
_NULL_ROW: Final = np.dtype(_NUMBER_ROW.descr[:-1])
SPARSE: Final = 64
"""Series numbers that spread wider than this many for each reading are sorted instead of counted off."""


class NotStorableError(LmsError):
    """A batch is well-formed, but holds something that the database cannot keep.

    Attributes:
        reason: what cannot be kept, and why.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"The batch cannot be stored: {reason}")


@dataclass(frozen=True, slots=True)
class ReadingColumns:
    """Readings as columns, all of length n.

    Attributes:
        series: (n,) int32 series numbers.
        taken_at_ms: (n,) int64, ms UTC.
        quality: (n,) int16 quality codes.
        value: (n,) float64; NaN where `kind` is not NUMBER, but NaN may be a value, too.
        kind: (n,) int8: NUMBER, NULL or TEXT.
        text: the texts, by row; only rows of kind TEXT are in it, None for "no value" of a text tag.
    """

    series: NDArray[np.int32]
    taken_at_ms: NDArray[np.int64]
    quality: NDArray[np.int16]
    value: NDArray[np.float64]
    kind: NDArray[np.int8]
    text: Mapping[int, str | None]

    NUMBER = 0
    NULL = 1
    TEXT = 2

    def __len__(self) -> int:
        """How many readings."""
        return len(self.series)

    def with_empty_texts(self, text_series: Sequence[int]) -> "ReadingColumns":
        """The same readings, with "no value" of the series given kept beside their texts."""
        empty = (self.kind == self.NULL) & np.isin(self.series, text_series)
        kind = np.where(empty, self.TEXT, self.kind).astype(np.int8)
        return replace(self, kind=kind, text={**self.text, **dict.fromkeys(np.flatnonzero(empty).tolist())})


def check_storable(readings: Columns, gaps: Iterable[Gap] = ()) -> None:
    """Refuse what the database would refuse, or could not give back.

    Raises:
        NotStorableError: a time outside 1970 to 9999, or a text with the character U+0000 or a lone surrogate.
    """
    times = list(readings.extent or ())
    for text in readings.texts() if readings.has_texts else ():
        _check_text(text)
    for gap in gaps:
        times += (gap.began_at_ms, gap.began_at_ms if gap.ended_at_ms is None else gap.ended_at_ms)
        _check_text(gap.reason)
    if times and not (min(times) >= 0 and max(times) <= LAST_TIME_MS):
        raise NotStorableError(f"times from {min(times)} to {max(times)} ms reach outside the years 1970 to 9999")


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise NotStorableError("a text holds the character U+0000, which PostgreSQL cannot keep")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise NotStorableError(f"a text is not valid Unicode: {error.reason}") from error


def to_columns(groups: Sequence[tuple[Columns, Callable[[bytes], bytes]]]) -> ReadingColumns:
    """Turn batches' readings into columns, in the order given.

    Args:
        groups: each batch's readings with what gives the series (n,) int32 of a column of tag numbers (n,) u64.
    """
    series = np.frombuffer(b"".join(series_of(bytes(each.tags)) for each, series_of in groups), dtype=np.int32)
    taken_at_ms = _joined("<i8", (each.times for each, _ in groups))
    quality = _joined("<u2", (each.qualities for each, _ in groups)).astype(np.int16)
    kinds = _joined("u1", (each.kinds for each, _ in groups))
    words = b"".join(each.words for each, _ in groups)
    value = np.frombuffer(words, dtype="<f8").astype(np.float64, copy=False)
    if bool((kinds == DOUBLE).all()):  # nearly always
        return ReadingColumns(series, taken_at_ms, quality, value, np.zeros(len(series), dtype=np.int8), {})
    value = np.where(kinds == DOUBLE, value, np.nan)
    kind = np.where(kinds == NULL, ReadingColumns.NULL, ReadingColumns.NUMBER).astype(np.int8)
    whole = np.frombuffer(words, dtype="<i8")
    exact = (kinds == INTEGER) & (whole >= -EXACT_INTEGER) & (whole <= EXACT_INTEGER)
    exact |= kinds == BOOLEAN
    value[exact] = whole[exact]
    text: dict[int, str | None] = {}
    texts = chain.from_iterable(each.texts() for each, _ in groups if each.has_texts)
    for row in np.flatnonzero((kinds != DOUBLE) & (kinds != NULL) & ~exact).tolist():
        kind[row] = ReadingColumns.TEXT
        if kinds[row] == TEXT:
            text[row] = next(texts)
        else:
            text[row] = str(int(whole[row]) + (1 << 64) * int(kinds[row] == UNSIGNED))
    return ReadingColumns(series, taken_at_ms, quality, value, kind, text)


def _joined(dtype: str, columns: Iterable[memoryview]) -> NDArray[Any]:
    return np.frombuffer(b"".join(columns), dtype=dtype)


def copy_numbers(columns: ReadingColumns) -> bytes:
    """The COPY stream for `readings (series_id, taken_at, quality, value)`: all rows but those of kind TEXT."""
    numbers: _Rows = columns.kind == ReadingColumns.NUMBER
    empty: _Rows | None = columns.kind == ReadingColumns.NULL
    if not columns.kind.any():  # nearly always: nothing needs to be chosen
        numbers, empty = slice(None), None
    filled = _pack(columns, numbers, _NUMBER_ROW)
    filled["value_size"] = 8
    filled["value"] = columns.value[numbers]
    parts = [COPY_HEADER, filled.tobytes()]
    if empty is not None:
        void = _pack(columns, empty, _NULL_ROW)
        void["value_size"] = -1
        parts.append(void.tobytes())
    return b"".join((*parts, COPY_TRAILER))


_Rows: TypeAlias = NDArray[np.bool_] | slice


def _pack(columns: ReadingColumns, chosen: _Rows, row: np.dtype[Any]) -> NDArray[Any]:
    series = columns.series[chosen]
    packed = np.empty(len(series), dtype=row)
    packed["fields"] = 4
    packed["series_size"] = 4
    packed["series"] = series
    packed["taken_at_size"] = 8
    packed["taken_at"] = (columns.taken_at_ms[chosen] - POSTGRES_EPOCH_MS) * 1000
    packed["quality_size"] = 2
    packed["quality"] = columns.quality[chosen]
    return packed


def copy_texts(columns: ReadingColumns) -> bytes:
    """The COPY stream for `readings_text (series_id, taken_at, quality, value)`: the rows of kind TEXT."""
    parts = [COPY_HEADER]
    for row, text in sorted(columns.text.items()):
        taken_at = (int(columns.taken_at_ms[row]) - POSTGRES_EPOCH_MS) * 1000
        parts.append(
            pack(">hiiiqih", 4, 4, int(columns.series[row]), 8, taken_at, 2, int(columns.quality[row])),
        )
        data = None if text is None else text.encode()
        parts.append(pack(">i", -1) if data is None else pack(">i", len(data)) + data)
    parts.append(COPY_TRAILER)
    return b"".join(parts)


def latest_rows(columns: ReadingColumns, numbers: NDArray[np.int64]) -> NDArray[np.intp]:
    """The row of the newest reading of each series.

    Args:
        numbers: (n,) batch number of each reading. Of several readings at the same time the one with the highest
            batch number is taken, and of those in one batch the last.
    """
    rows: NDArray[np.intp] = np.arange(len(columns), dtype=np.intp)
    if len(columns):
        # Sorting all costs ten times as much as looking for the newest time of each series, after which few are left.
        first = int(columns.series.min())
        width = int(columns.series.max()) - first + 1
        if width <= SPARSE * len(columns):
            newest = np.full(width, np.iinfo(np.int64).min)
            at = columns.series - first
            np.maximum.at(newest, at, columns.taken_at_ms)
            rows = np.flatnonzero(columns.taken_at_ms == newest[at])
    order = rows[np.lexsort((numbers[rows], columns.taken_at_ms[rows], columns.series[rows]))]
    series = columns.series[order]
    last = np.ones(len(order), dtype=np.bool_)
    np.not_equal(series[1:], series[:-1], out=last[:-1])
    return order[last]
