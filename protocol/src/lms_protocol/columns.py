"""A batch's readings as columns of bytes: the form that is logged, fingerprinted and, in a backlog, sent.

    count u32 │ tags u64 │ times i64 │ qualities u16 │ kinds u8 │ words of 8 bytes │ texts, each: length u32, UTF-8

All little-endian, each column with one entry per reading, texts only of readings of kind TEXT. A word is an IEEE 754
double, a two's complement, 0 or 1; zeros for null and text. One form for one meaning: equal readings give equal bytes,
down to the payload of a NaN, so that a digest over these bytes is a digest over the readings.

Neighbours: `lms_protocol.batches` makes records and digests of them; `lms_protocol.host` gives them to the cloud, which
reads them as arrays.
"""

import reprlib
import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache
from struct import Struct
from typing import Final, overload

from lms_protocol.errors import PayloadError
from lms_protocol.reading import Quality, Reading, Value

NULL, DOUBLE, INTEGER, BOOLEAN, TEXT, UNSIGNED = range(6)
"""Kinds of values. UNSIGNED is an integer of 2^63 and more, whose word is that of a negative one."""
BYTES_A_READING: Final = 27
"""Of all columns together, without texts."""

COUNT: Final = Struct("<I")
_WORD: Final = {
    DOUBLE: Struct("<d"),
    INTEGER: Struct("<q"),
    BOOLEAN: Struct("<?7x"),
    UNSIGNED: Struct("<Q"),
}
_NOTHING: Final = bytes(8)
_QUALITIES: Final = {int(quality): quality for quality in Quality}
_GOOD: Final = Struct("<H").pack(Quality.GOOD)
_FLOATS: Final = {float}
_KINDS: Final = bytes(range(6))


class Columns(Sequence[Reading]):
    """Readings, kept as bytes until somebody looks at one.

    Compares equal to the tuple of its readings, and to other columns when their bytes are equal.

    Attributes:
        data: the bytes as in the module's description.
        size: how many readings.
    """

    __slots__ = ("_extent", "_readings", "data", "size")

    def __init__(self, data: bytes, size: int) -> None:
        """Take bytes that are known to be in the form: see `of` and `parse`."""
        self.data = data
        self.size = size
        self._readings: tuple[Reading, ...] | None = None
        self._extent: tuple[int, int] | None = None

    @classmethod
    def of(cls, readings: Sequence[Reading]) -> "Columns":
        """Make columns of readings.

        Raises:
            PayloadError: a value that no Sparkplug type carries, or a tag, time or quality out of range.
        """
        if isinstance(readings, Columns):
            return readings
        data, extent = _encode(readings)
        columns = cls(data, len(readings))
        columns._extent = extent
        return columns

    @classmethod
    def parse(cls, data: bytes, at: int = 0) -> tuple["Columns", int]:
        """Take columns out of a longer text of bytes, checking that they are in the form.

        Args:
            at: where they begin.

        Returns:
            The columns, and where they end.

        Raises:
            PayloadError: they are not in the form.
        """
        end, count = measure(data, at)
        return cls(bytes(data[at:end]), count), end

    @property
    def tags(self) -> memoryview:
        """(size,) u64 tag numbers."""
        return memoryview(self.data)[4 : 4 + 8 * self.size]

    @property
    def times(self) -> memoryview:
        """(size,) i64 times, ms UTC."""
        return memoryview(self.data)[4 + 8 * self.size : 4 + 16 * self.size]

    @property
    def qualities(self) -> memoryview:
        """(size,) u16 quality codes."""
        return memoryview(self.data)[4 + 16 * self.size : 4 + 18 * self.size]

    @property
    def kinds(self) -> memoryview:
        """(size,) u8 kinds."""
        return memoryview(self.data)[4 + 18 * self.size : 4 + 19 * self.size]

    @property
    def words(self) -> memoryview:
        """(size,) words of 8 bytes."""
        return memoryview(self.data)[4 + 19 * self.size : 4 + 27 * self.size]

    @property
    def extent(self) -> tuple[int, int] | None:
        """The earliest and the latest time, ms UTC; None if there are no readings."""
        if self._extent is None and self.size:
            times = _times(self.size).unpack(self.times)
            self._extent = min(times), max(times)
        return self._extent

    @property
    def has_texts(self) -> bool:
        """Whether any reading is of kind TEXT."""
        return len(self.data) > COUNT.size + BYTES_A_READING * self.size

    def texts(self) -> list[str]:
        """The texts of the readings of kind TEXT, in order."""
        return list(_texts(self.data, 4 + BYTES_A_READING * self.size, len(self.data)))

    @property
    def readings(self) -> tuple[Reading, ...]:
        """The readings one by one; made at the first look."""
        if self._readings is None:
            self._readings = _decode(self)
        return self._readings

    @overload
    def __getitem__(self, index: int) -> Reading: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Reading, ...]: ...
    def __getitem__(self, index: int | slice) -> Reading | tuple[Reading, ...]:
        """One reading, or several."""
        return self.readings[index]

    def __iter__(self) -> Iterator[Reading]:
        """The readings, in order."""
        return iter(self.readings)

    def __len__(self) -> int:
        """How many readings."""
        return self.size

    def __eq__(self, other: object) -> bool:
        """Whether the other holds the same readings."""
        if isinstance(other, Columns):
            return self.data == other.data
        return self.readings == other if isinstance(other, tuple) else NotImplemented

    def __hash__(self) -> int:
        """Equal to that of the tuple of readings, which it may be compared with."""
        return hash(self.readings)

    def __repr__(self) -> str:
        """As the tuple of readings."""
        return repr(self.readings)


def encode(readings: Sequence[Reading]) -> bytes:
    """The bytes of readings, in the form.

    Raises:
        PayloadError: a value that no Sparkplug type carries, or a tag, time or quality out of range.
    """
    return _encode(readings)[0]


def _encode(readings: Sequence[Reading]) -> tuple[bytes, tuple[int, int] | None]:
    """The bytes, and the earliest and the latest time."""
    count = len(readings)
    if not count:
        return COUNT.pack(0), None
    tags, times, values, qualities = zip(*readings, strict=True)
    try:
        if set(map(type, values)) == _FLOATS:  # nearly always
            codes = _GOOD * count if qualities.count(Quality.GOOD) == count else _codes(count).pack(*qualities)
            data = _form(count).pack(count, *tags, *times, codes, bytes((DOUBLE,)) * count, *values)
        else:
            if None in values:
                qualities = tuple(map(_quality, values, qualities))
            data = _encode_mixed(count, (*tags, *times, *qualities), values)
    except (struct.error, ValueError) as error:
        raise PayloadError(f"a reading is out of range: {error}") from error
    earliest = min(times)
    if earliest < 0:  # Sparkplug's times are unsigned
        raise PayloadError(f"{earliest} ms is before 1970")
    return data, (earliest, max(times))


def _quality(value: Value, quality: Quality) -> Quality:
    """Null without another quality reads as BAD on every wire, so it is that from the start."""
    return Quality.BAD if value is None and quality == Quality.GOOD else quality


def _encode_mixed(count: int, columns: tuple[int, ...], values: Sequence[Value]) -> bytes:
    cells = [_cell(value) for value in values]
    head = _head(count).pack(count, *columns, bytes(kind for kind, _, _ in cells))
    return b"".join((head, *(word for _, word, _ in cells), *(text for *_, text in cells)))


# Sizes seldom change: one scan has always the same tags. Bounded, as an importer may bring any.
@lru_cache(maxsize=64)
def _form(count: int) -> Struct:
    return Struct(f"<I{count}Q{count}q{2 * count}s{count}s{count}d")


@lru_cache(maxsize=64)
def _codes(count: int) -> Struct:
    return Struct(f"<{count}H")


@lru_cache(maxsize=64)
def _times(count: int) -> Struct:
    return Struct(f"<{count}q")


@lru_cache(maxsize=64)
def _head(count: int) -> Struct:
    return Struct(f"<I{count}Q{count}q{count}H{count}s")


@lru_cache(maxsize=64)
def _columns(count: int) -> Struct:
    return Struct(f"<4x{count}Q{count}q{count}H{count}s{count}d")


def _cell(value: Value) -> tuple[int, bytes, bytes]:
    """A value's kind, its word, and, for a text, the text with its length."""
    if type(value) is float:
        return DOUBLE, _WORD[DOUBLE].pack(value), b""
    if value is None:
        return NULL, _NOTHING, b""
    if isinstance(value, bool):
        return BOOLEAN, _WORD[BOOLEAN].pack(value), b""
    if isinstance(value, int):
        kind = INTEGER if value < 1 << 63 else UNSIGNED
        return kind, _WORD[kind].pack(value), b""
    if isinstance(value, str):
        return TEXT, _NOTHING, sized(value.encode())
    # Of another maker's node: bytes of any length, or what should have been a text and is not UTF-8.
    raise PayloadError(f"{reprlib.repr(value)} is not a value that a tag can have")


def sized(data: bytes) -> bytes:
    """Bytes with their length before them."""
    return COUNT.pack(len(data)) + data


def measure(data: bytes, at: int = 0) -> tuple[int, int]:
    """Check that columns in the form begin at `at`.

    Returns:
        Where they end, and how many readings they hold.

    Raises:
        PayloadError: they are not in the form.
    """
    if len(data) < at + 4:
        raise PayloadError("the columns have no count")
    (count,) = COUNT.unpack_from(data, at)
    kinds_at = at + 4 + 18 * count
    end = kinds_at + 9 * count
    if len(data) < end:
        raise PayloadError(f"{count} readings need {end - at} bytes of columns, but {len(data) - at} are there")
    if data[at + 4 + 16 * count : kinds_at] != _GOOD * count:
        _check_qualities(data[at + 4 + 16 * count : kinds_at])
    kinds = data[kinds_at : kinds_at + count]
    if kinds.count(DOUBLE) != count:
        _check_words(kinds, data[kinds_at + count : end])
        for _ in range(kinds.count(TEXT)):
            text, end = take_sized(data, end)
            utf8(text)
    return end, count


def _check_qualities(column: bytes) -> None:
    for code in Struct(f"<{len(column) // 2}H").unpack(column):
        if code not in _QUALITIES:
            raise PayloadError(f"{code} is no quality")


def _check_words(kinds: bytes, words: bytes) -> None:
    """One form for one meaning: what a word does not need is zero."""
    if kinds.translate(None, _KINDS):
        raise PayloadError("a value is of no known kind")
    for row, kind in enumerate(kinds):
        word = words[8 * row : 8 * row + 8]
        if kind in (NULL, TEXT) and word != _NOTHING:
            raise PayloadError("a value that is no number has one")
        if kind == BOOLEAN and (word[0] > 1 or word[1:] != _NOTHING[1:]):
            raise PayloadError("a Boolean is neither true nor false")
        if kind == UNSIGNED and word[7] < 128:
            raise PayloadError("an integer below 2^63 is marked as one above")


def take_sized(data: bytes, at: int) -> tuple[bytes, int]:
    """Bytes with their length before them, and where they end.

    Raises:
        PayloadError: there are fewer bytes.
    """
    if len(data) < at + 4:
        raise PayloadError("a text has no length")
    (length,) = COUNT.unpack_from(data, at)
    end = at + 4 + length
    if len(data) < end:
        raise PayloadError(f"a text of {length} bytes is cut off")
    return bytes(data[at + 4 : end]), end


def _texts(data: bytes, at: int, end: int) -> Iterator[str]:
    while at < end:
        text, at = take_sized(data, at)
        yield text.decode()


def utf8(data: bytes) -> str:
    """Bytes as text.

    Raises:
        PayloadError: they are not UTF-8.
    """
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise PayloadError(f"a text is not UTF-8: {error}") from error


def _decode(columns: Columns) -> tuple[Reading, ...]:
    count = columns.size
    cells = _columns(count).unpack_from(columns.data)
    kinds: bytes = cells[3 * count]
    values: Sequence[Value] = cells[3 * count + 1 :]
    if kinds.count(DOUBLE) != count:
        texts = iter(columns.texts())
        words = columns.words
        values = [_value(kind, words[8 * row : 8 * row + 8], texts) for row, kind in enumerate(kinds)]
    qualities = map(_QUALITIES.__getitem__, cells[2 * count : 3 * count])
    return tuple(map(Reading, cells[:count], cells[count : 2 * count], values, qualities))


def _value(kind: int, word: memoryview, texts: Iterator[str]) -> Value:
    if kind == NULL:
        return None
    if kind == TEXT:
        return next(texts)
    value: float | int | bool = _WORD[kind].unpack(word)[0]
    return value
