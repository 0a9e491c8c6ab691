"""Data messages of a shape seen before, read without looking at each metric.

An agent sends the same tags scan after scan: from one message to the next only the times, the values and the batch's
number differ, and these stand where they stood before. A `Layout` remembers where that is, and which bits must be as
before for the message to mean the same; the rest is taken out column by column. What differs in any other bit, such as
a quality, a text, a gap, or one more byte in a number, is read metric by metric, as if there were no layouts.

Neighbours: `lms_protocol.host` asks here first, and has every message that it then had to read itself learned.

Source: protobuf's encoding; `lms_protocol.sparkplug` has the field numbers.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from struct import Struct
from typing import Final, NamedTuple

from lms_protocol.columns import COUNT, Columns

MAX_BYTES: Final = 32 * 1024
"""Longer messages are not learned: a layout takes some five times the memory of its message."""
MAX_LAYOUTS: Final = 4
"""Kept of one device. The shape changes when the batch's number takes one more byte: two are in use then."""
FREE_LESSONS: Final = 8
HITS_A_LESSON: Final = 64
"""Learning costs as much as reading some ten messages: a device whose messages are never alike soon goes without."""

_VARINT, _EIGHT, _LENGTH = 0, 1, 2
_TIME, _METRIC, _SEQ = 1, 2, 3
_PAYLOAD_FIELDS: Final = {_TIME: _VARINT, _METRIC: _LENGTH, _SEQ: _VARINT}
_ALIAS, _AT, _DATATYPE, _HISTORICAL, _TRANSIENT, _IS_NULL, _PROPERTIES = 2, 3, 4, 5, 6, 7, 9
_INT, _LONG, _DOUBLE, _BOOLEAN = 10, 11, 13, 14
_CONSTANT: Final = frozenset({_DATATYPE, _HISTORICAL, _TRANSIENT, _IS_NULL, _PROPERTIES})
"""Fields of a metric whose every bit must be as before, as the alias must."""
_METRIC_FIELDS: Final = {
    **dict.fromkeys((_ALIAS, _AT, _INT, _LONG, _BOOLEAN, *_CONSTANT), _VARINT),
    _PROPERTIES: _LENGTH,
    _DOUBLE: _EIGHT,
}
_TIME_BYTES: Final = 6
"""Of a time from 1971 to 2109 as varint: others are not learned, so that none is out of range."""
_LONGEST: Final = {_INT: 4, _LONG: 8}
"""Bytes of integers that are surely not negative, as varint."""


class Body(NamedTuple):
    """What a data message says, apart from its sequence number."""

    number: int
    columns: Columns
    historical: bool


class Layout(NamedTuple):
    """Where in a message what stands.

    Attributes:
        mask, expected: bits of the message that must be as before, and what they were; as one little-endian number.
        number_at: where the batch's number begins and ends.
        times, words: take the readings' times and values out.
        fixes: what makes a word of a value's bytes, by row; None for all if they are words already.
        before, between: the columns before the times, and those between times and words.
        historical: whether the batch is sent late.
    """

    mask: int
    expected: int
    number_at: slice
    times: Struct
    words: Struct
    fixes: Sequence[Callable[[bytes], bytes] | None] | None
    before: bytes
    between: bytes
    historical: bool


class Layouts:
    """The layouts of one device, as of its birth."""

    def __init__(self) -> None:
        self._known: dict[int, Layout] = {}
        self._hits = 0
        self._lessons = 0

    def read(self, payload: bytes) -> tuple[int, Body] | None:
        """A message's sequence number, and what it says; None if it is not of a known shape."""
        # Behind the last metric stands the sequence number: 0x18 and a byte below 128, or 0x18, one above and 1. The
        # latter's top bit says "one byte more", and is the number's own top bit, too.
        if payload[-2:-1] == b"\x18" and payload[-1] < 128:
            body, seq = payload[:-2], payload[-1]
        elif payload[-3:-2] == b"\x18" and payload[-2] >= 128 and payload[-1] == 1:
            body, seq = payload[:-3], payload[-2]
        else:
            return None
        layout = self._known.get(len(body))
        if layout is None or int.from_bytes(body, "little") & layout.mask != layout.expected:
            return None
        self._hits += 1
        return seq, _read(layout, body)

    def learn(self, payload: bytes, aliases: Mapping[int, bool], read: Body) -> None:
        """Remember the shape of a message that was read metric by metric, if it is worth it and can be.

        Args:
            aliases: of the device's birth, and whether they are the batch's number.
            read: what the message says.
        """
        if len(payload) > MAX_BYTES or self._lessons > FREE_LESSONS + self._hits // HITS_A_LESSON:
            return
        self._lessons += 1
        try:
            end, layout = _lay_out(payload, aliases, read)
        except (_NotAlikeError, IndexError):
            return
        if _read(layout, payload[:end]) != read:
            return
        if len(self._known) >= MAX_LAYOUTS:
            del self._known[next(iter(self._known))]
        self._known[end] = layout


def _read(layout: Layout, body: bytes) -> Body:
    times = b"\0\0".join((*layout.times.unpack(body), b""))
    cells = layout.words.unpack(body)
    if layout.fixes is not None:
        cells = tuple(cell if fix is None else fix(cell) for cell, fix in zip(cells, layout.fixes, strict=True))
    data = b"".join((layout.before, _from_varints(times), layout.between, *cells))
    number = _from_varint(body[layout.number_at])
    return Body(number, Columns(data, len(cells)), layout.historical)


def _from_varint(data: bytes) -> int:
    value = 0
    for byte in reversed(data):
        value = value << 7 | byte & 0x7F
    return value


def _from_varints(padded: bytes) -> bytes:
    """Varints of up to 8 bytes, each padded to 8, as u64: all at once, by moving ever larger groups together."""
    value = int.from_bytes(padded, "little")
    for low, high, shift in _steps(len(padded) // 8):
        value = value & low | (value & high) >> shift
    return value.to_bytes(len(padded), "little")


@lru_cache(maxsize=64)
def _steps(count: int) -> tuple[tuple[int, int, int], ...]:
    def repeated(word: int) -> int:
        return int.from_bytes(word.to_bytes(8, "little") * count, "little")

    return (
        (repeated(0x007F_007F_007F_007F), repeated(0x7F00_7F00_7F00_7F00), 1),
        (repeated(0x0000_3FFF_0000_3FFF), repeated(0x3FFF_0000_3FFF_0000), 2),
        (repeated(0x0000_0000_0FFF_FFFF), repeated(0x0FFF_FFFF_0000_0000), 4),
    )


class _NotAlikeError(Exception):
    """The message has something that may be elsewhere in the next one."""


class _Value(NamedTuple):
    """Where a reading's time and value begin in the message, and how many bytes the value has."""

    at: int
    value_at: int
    value_bytes: int
    fix: Callable[[bytes], bytes] | None


def _lay_out(payload: bytes, aliases: Mapping[int, bool], read: Body) -> tuple[int, Layout]:
    """Find out where in a message what stands, and where its sequence number begins."""
    mask = bytearray(b"\xff" * len(payload))
    number_at: slice | None = None
    rows: list[_Value] = []
    end = 0
    for field, content in _fields(payload, slice(0, len(payload)), _PAYLOAD_FIELDS):
        if end:
            raise _NotAlikeError
        if field == _TIME:
            _free_varint(mask, content)
        elif field == _METRIC:
            found = _metric(payload, content, mask, aliases)
            if isinstance(found, _Value):
                rows.append(found)
            elif number_at is None:
                number_at = found
            else:
                raise _NotAlikeError
        else:
            end = content.start - 1
            if content.stop != len(payload) or len(payload) - end > 3:
                raise _NotAlikeError
    if not end or number_at is None or len(rows) != read.columns.size or not rows:
        raise _NotAlikeError
    size = len(rows)
    expected = int.from_bytes(payload[:end], "little")
    bits = int.from_bytes(mask[:end], "little")
    times_at = [slice(row.at, row.at + _TIME_BYTES) for row in rows]
    words_at = [slice(row.value_at, row.value_at + row.value_bytes) for row in rows]
    data = read.columns.data
    return end, Layout(
        mask=bits,
        expected=expected & bits,
        number_at=number_at,
        times=_taking(times_at, end),
        words=_taking(words_at, end),
        fixes=None if all(row.fix is None for row in rows) else [row.fix for row in rows],
        before=data[: COUNT.size + 8 * size],
        between=data[COUNT.size + 16 * size : COUNT.size + 19 * size],
        historical=read.historical,
    )


def _metric(payload: bytes, where: slice, mask: bytearray, aliases: Mapping[int, bool]) -> _Value | slice:
    """Free what may differ in one metric; return where a reading's time and value are, or the batch's number."""
    fields: dict[int, slice] = {}
    for field, content in _fields(payload, where, _METRIC_FIELDS):
        if field in fields:
            raise _NotAlikeError
        fields[field] = content
    is_number = aliases.get(_from_varint(payload[fields.pop(_ALIAS, slice(0, 0))]))
    at = fields.pop(_AT, slice(0, 0))
    if is_number is None or at.stop - at.start != _TIME_BYTES:
        raise _NotAlikeError
    _free_varint(mask, at)
    varying = fields.keys() - _CONSTANT
    if is_number:
        if varying != {_LONG} or fields[_LONG].stop - fields[_LONG].start > _LONGEST[_LONG]:
            raise _NotAlikeError
        _free_varint(mask, fields[_LONG])
        return fields[_LONG]
    if not varying and _IS_NULL in fields:
        return _Value(at.start, at.start, 0, _nothing)
    if len(varying) != 1 or _IS_NULL in fields:
        raise _NotAlikeError
    (field,) = varying
    value = fields[field]
    if field == _DOUBLE:
        mask[value] = bytes(8)
    elif field == _BOOLEAN and value.stop - value.start == 1:
        mask[value] = b"\xfe"
    elif value.stop - value.start <= _LONGEST.get(field, 0):
        _free_varint(mask, value)
    else:
        raise _NotAlikeError
    fix = None if field == _DOUBLE else _integer_word
    return _Value(at.start, value.start, value.stop - value.start, fix)


def _nothing(_: bytes) -> bytes:
    return bytes(8)


def _integer_word(varint: bytes) -> bytes:
    return _from_varint(varint).to_bytes(8, "little")


def _free_varint(mask: bytearray, where: slice) -> None:
    """All of a varint may differ but how many bytes it has."""
    mask[where] = b"\x80" * (where.stop - where.start)


def _fields(data: bytes, where: slice, known: Mapping[int, int]) -> Iterator[tuple[int, slice]]:
    """The fields of a protobuf message, each with where its content is.

    Args:
        known: the wire type of each field that may be there; all have a number below 16, and so a tag of one byte.
    """
    at: int = where.start
    while at < where.stop:
        field, wire_type = data[at] >> 3, data[at] & 7
        if known.get(field) != wire_type:
            raise _NotAlikeError
        at += 1
        content = slice(at, at + 8) if wire_type == _EIGHT else slice(at, _varint_end(data, at))
        if wire_type == _LENGTH:
            content = slice(content.stop, content.stop + _from_varint(data[content]))
        if content.stop > where.stop:
            raise _NotAlikeError
        yield field, content
        at = content.stop


def _varint_end(data: bytes, at: int) -> int:
    while data[at] > 127:
        at += 1
    return at + 1


def _taking(wanted: Sequence[slice], end: int) -> Struct:
    """What takes these pieces, in rising order, out of a text of `end` bytes."""
    form = ["<"]
    at = 0
    for piece in wanted:
        form.append(f"{piece.start - at}x{piece.stop - piece.start}s")
        at = piece.stop
    form.append(f"{end - at}x")
    return _struct("".join(form))


# Devices with the same tags have the same layouts.
_struct = lru_cache(maxsize=256)(Struct)
