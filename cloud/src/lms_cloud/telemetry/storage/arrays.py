"""Columns as the bytes of PostgreSQL's binary arrays: a statement takes a numpy column without one object a value.

Used by the statements of `lms_cloud.telemetry.storage` that write as many values as a commit has series.

Source: PostgreSQL's `array_send` (utils/adt/arrayfuncs.c): dimensions, flags, element type, length, lower bound, and
for each value its length and bytes; timestamps are microseconds since 2000-01-01 UTC.
"""

from struct import Struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from psycopg import AsyncCursor
from psycopg.adapt import Dumper
from psycopg.pq import Format

from lms_cloud.telemetry.columns import POSTGRES_EPOCH_MS

_HEAD: Final = Struct(">iiIii")
_EMPTY: Final = Struct(">iiI")


class Int16Array(bytes):
    """A `smallint[]`."""


class Int32Array(bytes):
    """An `integer[]`."""


class Int64Array(bytes):
    """A `bigint[]`."""


class DoubleArray(bytes):
    """A `double precision[]`."""


class InstantArray(bytes):
    """A `timestamptz[]`."""


class _ArrayDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: bytes) -> bytes:
        """It is in the form already."""
        return bytes(obj)


def _dumper(array_oid: int) -> type[Dumper]:
    return type("ArrayDumper", (_ArrayDumper,), {"oid": array_oid})


_DUMPERS: Final = {
    Int16Array: _dumper(1005),
    Int32Array: _dumper(1007),
    Int64Array: _dumper(1016),
    DoubleArray: _dumper(1022),
    InstantArray: _dumper(1185),
}
_FORMS: Final = {code: np.dtype([("size", ">i4"), ("value", f">{code}")]) for code in ("i2", "i4", "i8", "f8")}


def take_arrays(cursor: AsyncCursor[Any]) -> None:
    """Let this cursor's statements take the arrays made here."""
    for kind, dumper in _DUMPERS.items():
        cursor.adapters.register_dumper(kind, dumper)


def int16s(column: NDArray[np.int16]) -> Int16Array:
    """(n,) as `smallint[]`."""
    return Int16Array(_array(column, 21, "i2"))


def int32s(column: NDArray[np.int32]) -> Int32Array:
    """(n,) as `integer[]`."""
    return Int32Array(_array(column, 23, "i4"))


def int64s(column: NDArray[np.int64]) -> Int64Array:
    """(n,) as `bigint[]`."""
    return Int64Array(_array(column, 20, "i8"))


def doubles(column: NDArray[np.float64]) -> DoubleArray:
    """(n,) as `double precision[]`, bit by bit."""
    return DoubleArray(_array(column, 701, "f8"))


def instants(ms: NDArray[np.int64]) -> InstantArray:
    """(n,) times, ms UTC, as `timestamptz[]`."""
    return InstantArray(_array((ms - POSTGRES_EPOCH_MS) * 1000, 1184, "i8"))


def _array(column: NDArray[Any], element_oid: int, code: str) -> bytes:
    form = _FORMS[code]
    packed = np.empty(len(column), dtype=form)
    packed["size"] = form["value"].itemsize
    packed["value"] = column
    head = _HEAD.pack(1, 0, element_oid, len(column), 1) if len(column) else _EMPTY.pack(0, 0, element_oid)
    return head + packed.tobytes()


def from_sent(sent: bytes, code: str) -> NDArray[Any]:
    """What `array_send` gives of an array without nulls, as (n,) in this machine's form.

    Args:
        code: i2, i4, i8 or f8: of its elements.
    """
    values = np.frombuffer(sent, dtype=_FORMS[code], offset=_HEAD.size)["value"] if len(sent) > _HEAD.size else ()
    return np.array(values, dtype=code)


def ms_from_sent(sent: bytes) -> NDArray[np.int64]:
    """What `array_send` gives of a `timestamptz[]`, as (n,) times, ms UTC."""
    return from_sent(sent, "i8") // 1000 + POSTGRES_EPOCH_MS
