"""Marks: which minutes of which bioreactor a commit touched. Written in the commit's transaction, so none is missed.

Before it: `lms_cloud.telemetry.storage.transaction`; after it: `refreshing`, which deletes a mark in the transaction
that computes its minutes anew.
"""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple
from uuid import UUID

import numpy as np
from lms_protocol.columns import Columns
from psycopg import AsyncCursor

from lms_cloud.telemetry.incoming import Incoming, to_instant

MINUTE_MS: Final = 60_000
DENSE_MINUTES: Final = 10
"""A batch that spans more than this is looked at reading by reading: it may hold two times far apart."""

_INSERT = """
insert into rollup_marks (bioreactor_id, from_at, to_at)
select * from unnest(%b::uuid[], %b::timestamptz[], %b::timestamptz[])
"""


class Mark(NamedTuple):
    """Minutes of a bioreactor, counted since 1970 UTC, from `first` to `last` included."""

    bioreactor_id: UUID
    first: int
    last: int


async def write_marks(cursor: AsyncCursor[tuple[Any, ...]], batches: Iterable[Incoming]) -> None:
    """Mark the minutes of the batches' readings, in the transaction that stores them."""
    marks = marks_of(batches)
    if marks:
        ids, first, last = zip(*marks, strict=True)
        times = ([to_instant(minute * MINUTE_MS) for minute in minutes] for minutes in (first, last))
        await cursor.execute(_INSERT, (list(ids), *times))


def marks_of(batches: Iterable[Incoming]) -> list[Mark]:
    """The minutes that the batches' readings lie in: as few marks as say exactly that."""
    spans: dict[UUID, list[tuple[int, int]]] = {}
    for batch in batches:
        if batch.readings:
            spans.setdefault(batch.bioreactor.id, []).extend(_minutes(batch.columns))
    return [Mark(id_, first, last) for id_, found in spans.items() for first, last in joined(found)]


def _minutes(readings: Columns) -> list[tuple[int, int]]:
    first, last = (ms // MINUTE_MS for ms in readings.extent or (0, 0))
    if last - first <= DENSE_MINUTES:
        return [(first, last)]
    return [(minute, minute) for minute in np.unique(np.frombuffer(readings.times, dtype="<i8") // MINUTE_MS).tolist()]


def joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same whole numbers in as few spans (both ends included) as possible, in order."""
    result: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if result and first <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(last, result[-1][1]))
        else:
            result.append((first, last))
    return result
