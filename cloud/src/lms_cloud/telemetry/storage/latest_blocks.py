"""The newest reading of each series, kept by the block, so that a commit writes a row a bioreactor and not one a tag.

A block holds up to `SPAN` neighbouring series of one bioreactor as arrays; the view `latest` shows them one by one.
Measured: a commit of 10,000 series took 80 ms and more for `latest` as one row a series, six times its COPY.

A worker remembers the blocks that it wrote, so it need not read what it replaces. It may be wrong about them: another
worker wrote since, or what it wrote itself was never committed. Hence each block's version: a write counts only if
nobody wrote in between; else the block, whose row this transaction has locked by then, is read and written again.

What a clock that was years ahead has dated is the newest only until there is anything else: it would hide what comes
after the clock was set right for as many years.

Called by `lms_cloud.telemetry.storage.transaction` inside its transaction, with the readings that it stores.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from psycopg import AsyncCursor

from lms_cloud.telemetry.columns import ReadingColumns, latest_rows
from lms_cloud.telemetry.incoming import Incoming
from lms_cloud.telemetry.storage.arrays import (
    doubles,
    from_sent,
    instants,
    int16s,
    int32s,
    int64s,
    ms_from_sent,
    take_arrays,
)

Cursor = AsyncCursor[tuple[Any, ...]]

SPAN: Final = 128
"""Series numbers of a block: those of one bioreactor are mostly neighbours."""
MAX_BLOCKS: Final = 8192
"""Remembered between commits; a block takes 4 KB."""
FUTURE_MS: Final = 86_400_000
"""A reading that was taken so long after now was dated by a clock that was wrong."""
_NOTHING: Final = np.iinfo(np.int64).min
_BEHIND_ALL_MS: Final = 1 << 61

_READ: Final = """
select bioreactor_id, block, version, array_send(series), array_send(taken_at), array_send(number),
    array_send(quality), array_send(kind), array_send(value), text
from latest_blocks where (bioreactor_id, block) in (select * from unnest(%b::uuid[], %b::integer[]))
"""
_WRITE: Final = """
insert into latest_blocks as l
    (bioreactor_id, block, organization_id, version, series, taken_at, number, quality, kind, value, text)
select b.home, b.block, b.organization_id, b.version, (%b::integer[])[b.from_row:b.to_row],
    (%b::timestamptz[])[b.from_row:b.to_row], (%b::bigint[])[b.from_row:b.to_row],
    (%b::smallint[])[b.from_row:b.to_row], (%b::smallint[])[b.from_row:b.to_row],
    (%b::double precision[])[b.from_row:b.to_row],
    case when b.has_texts then (%b::text[])[b.from_row:b.to_row] end
from unnest(%b::uuid[], %b::integer[], %b::uuid[], %b::bigint[], %b::integer[], %b::integer[], %b::boolean[])
    as b (home, block, organization_id, version, from_row, to_row, has_texts)
order by b.home, b.block
on conflict (bioreactor_id, block) do update
set version = excluded.version, series = excluded.series, taken_at = excluded.taken_at, number = excluded.number,
    quality = excluded.quality, kind = excluded.kind, value = excluded.value, text = excluded.text
where l.version = excluded.version - 1
returning bioreactor_id, block
"""


class BlockKey(NamedTuple):
    """Which block: the series of a bioreactor whose numbers are `SPAN` × block and above."""

    bioreactor_id: UUID
    block: int


@dataclass(slots=True)
class _Cells:
    """What blocks hold, as (slots, SPAN): a series without any reading has the time `_NOTHING`."""

    taken_at_ms: NDArray[np.int64]
    number: NDArray[np.int64]
    quality: NDArray[np.int16]
    kind: NDArray[np.int8]
    value: NDArray[np.float64]

    @classmethod
    def empty(cls, slots: int) -> "_Cells":
        shape = (slots, SPAN)
        return cls(
            np.full(shape, _NOTHING),
            np.zeros(shape, dtype=np.int64),
            np.zeros(shape, dtype=np.int16),
            np.zeros(shape, dtype=np.int8),
            np.zeros(shape),
        )

    def grown(self, slots: int) -> "_Cells":
        larger = _Cells.empty(slots)
        had = len(self.taken_at_ms)
        for name in _Cells.__slots__:
            getattr(larger, name)[:had] = getattr(self, name)
        return larger


class _Newest(NamedTuple):
    """The newest readings of a commit.

    Attributes:
        columns, numbers: all readings of the commit, and the number of the batch of each.
        ranks: (n,) of the newest: see `_ranks`.
        until_ms: what was taken after it was dated by a wrong clock.
        rows: (n,) which of them are the newest, one a series.
        keys: the blocks that they belong to.
        which: (n,) the index in `keys` of each one's block.
        homes: whose bioreactor each is.
    """

    columns: ReadingColumns
    numbers: NDArray[np.int64]
    ranks: NDArray[np.int64]
    until_ms: int
    rows: NDArray[np.intp]
    keys: list[BlockKey]
    which: NDArray[np.intp]
    homes: Mapping[UUID, UUID]


class LatestBlocks:
    """What a writer remembers of the blocks.

    Whoever calls `send` in a transaction that does not commit calls `forget`.

    Args:
        now_ms: tells the time, ms UTC.
    """

    def __init__(self, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._now_ms = now_ms
        self.forget()

    def forget(self) -> None:
        """Remember nothing: blocks are read again before they are written."""
        self._slots: dict[BlockKey, int] = {}
        self._keys: list[BlockKey] = []
        self._versions: list[int] = []
        self._cells = _Cells.empty(16)
        self._texts: dict[int, dict[int, str]] = {}  # of each slot, by cell

    async def send(self, cursor: Cursor, batches: Sequence[Incoming], columns: ReadingColumns) -> _Newest:
        """Let the newest of the readings replace older ones, in as far as the blocks are as remembered.

        Args:
            cursor: kept for `settle`, which has to follow in the same transaction.
            batches: those whose readings are written.
            columns: their readings, in the same order.
        """
        take_arrays(cursor)
        if len(self._keys) > MAX_BLOCKS:
            self.forget()
        sizes = [len(batch.readings) for batch in batches]
        numbers = np.repeat(
            np.array([batch.key.number if batch.key else 0 for batch in batches], dtype=np.int64), sizes
        )
        until_ms = self._now_ms() + FUTURE_MS
        ranks = _ranks(columns.taken_at_ms, until_ms)
        rows = latest_rows(replace(columns, taken_at_ms=ranks), numbers)
        homes = {batch.bioreactor.id: batch.bioreactor.organization_id for batch in batches}
        places = {id_: at for at, id_ in enumerate(homes)}
        home_of = np.repeat(np.array([places[batch.bioreactor.id] for batch in batches], dtype=np.int64), sizes)[rows]
        ids = list(homes)
        codes, which = np.unique(home_of << 32 | columns.series[rows] // SPAN, return_inverse=True)
        keys = [BlockKey(ids[code >> 32], code & 0xFFFF_FFFF) for code in codes.tolist()]
        newest = _Newest(columns, numbers, ranks[rows], until_ms, rows, keys, which, homes)
        await self._know(cursor, [key for key in keys if key not in self._slots])
        await self._write(cursor, newest, keys)
        return newest

    async def settle(self, cursor: Cursor, newest: _Newest) -> None:
        """See what was written; read blocks that were not as remembered, and write them again."""
        due = newest.keys
        while due:
            written = {BlockKey(home, block) for home, block in await cursor.fetchall()}
            for key in written:
                self._versions[self._slots[key]] += 1
            due = [key for key in due if key not in written]
            if due:
                await self._know(cursor, due)
                await self._write(cursor, newest, due)

    def _merge(self, newest: _Newest) -> None:
        """Put what is not older than what is there into the cells; doing it again changes nothing."""
        cells, columns, numbers = self._cells, newest.columns, newest.numbers
        slots = np.array([self._slots[key] for key in newest.keys], dtype=np.intp)[newest.which]
        at = (slots, columns.series[newest.rows] % SPAN)
        new, known = newest.ranks, _ranks(cells.taken_at_ms[at], newest.until_ms)
        wins = (new > known) | ((new == known) & (numbers[newest.rows] >= cells.number[at]))
        rows, at = newest.rows[wins], (at[0][wins], at[1][wins])
        cells.taken_at_ms[at] = columns.taken_at_ms[rows]
        cells.number[at] = numbers[rows]
        cells.quality[at] = columns.quality[rows]
        cells.kind[at] = columns.kind[rows]
        cells.value[at] = np.where(columns.kind[rows] == ReadingColumns.NUMBER, columns.value[rows], 0.0)
        if not columns.text and not self._texts:
            return
        for row, slot, cell in zip(rows.tolist(), at[0].tolist(), at[1].tolist(), strict=True):
            text = columns.text.get(row)
            if text is not None:
                self._texts.setdefault(slot, {})[cell] = text
            elif slot in self._texts:
                self._texts[slot].pop(cell, None)

    async def _know(self, cursor: Cursor, keys: Sequence[BlockKey]) -> None:
        """Read blocks, and remember them as they are."""
        if not keys:
            return
        for key in keys:
            if key not in self._slots:
                self._slots[key] = len(self._keys)
                self._keys.append(key)
                self._versions.append(0)
            slot = self._slots[key]
            if slot >= len(self._cells.taken_at_ms):
                self._cells = self._cells.grown(2 * slot)
            self._versions[slot] = 0
            self._cells.taken_at_ms[slot] = _NOTHING
            self._texts.pop(slot, None)
        await cursor.execute(_READ, ([key.bioreactor_id for key in keys], [key.block for key in keys]))
        for home, block, version, *sent, texts in await cursor.fetchall():
            slot = self._slots[BlockKey(home, block)]
            self._versions[slot] = version
            at = (slot, from_sent(sent[0], "i4") % SPAN)
            self._cells.taken_at_ms[at] = ms_from_sent(sent[1])
            self._cells.number[at] = from_sent(sent[2], "i8")
            self._cells.quality[at] = from_sent(sent[3], "i2")
            self._cells.kind[at] = from_sent(sent[4], "i2")
            self._cells.value[at] = from_sent(sent[5], "f8")
            if texts is not None:
                named = zip(at[1].tolist(), texts, strict=True)
                self._texts[slot] = {cell: text for cell, text in named if text is not None}

    async def _write(self, cursor: Cursor, newest: _Newest, keys: Sequence[BlockKey]) -> None:
        """Write blocks, those that are as remembered; the cursor then has their keys."""
        self._merge(newest)
        slots = [self._slots[key] for key in keys]
        cells = self._cells
        present = cells.taken_at_ms[slots] != _NOTHING
        ends = np.cumsum(present.sum(axis=1))
        series = (np.array([key.block for key in keys])[:, None] * SPAN + np.arange(SPAN))[present]
        has_texts = [bool(self._texts.get(slot)) for slot in slots]
        texts = list(self._all_texts(slots, present)) if any(has_texts) else None
        await cursor.execute(
            _WRITE,
            (
                int32s(series),
                instants(cells.taken_at_ms[slots][present]),
                int64s(cells.number[slots][present]),
                int16s(cells.quality[slots][present]),
                int16s(cells.kind[slots][present].astype(np.int16)),
                doubles(cells.value[slots][present]),
                texts,
                [key.bioreactor_id for key in keys],
                [key.block for key in keys],
                [newest.homes[key.bioreactor_id] for key in keys],
                [self._versions[slot] + 1 for slot in slots],
                int32s(np.concatenate(([1], ends[:-1] + 1))),
                int32s(ends),
                has_texts,
            ),
        )

    def _all_texts(self, slots: Sequence[int], present: NDArray[np.bool_]) -> Iterable[str | None]:
        for slot, there in zip(slots, present, strict=True):
            known = self._texts.get(slot, {})
            yield from (known.get(cell) for cell in np.flatnonzero(there).tolist())


def _ranks(taken_at_ms: NDArray[np.int64], until_ms: int) -> NDArray[np.int64]:
    """Times, so that the newest is the highest: those after `until_ms` stand behind all others."""
    return np.where(taken_at_ms > until_ms, taken_at_ms - _BEHIND_ALL_MS, taken_at_ms)
