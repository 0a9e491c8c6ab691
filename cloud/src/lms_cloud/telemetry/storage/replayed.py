"""The part of a commit that takes dead letters back in: their ledger rows come to life, their readings are written.

Called by `lms_cloud.telemetry.storage.transaction` inside its transaction. A letter is locked first, and only one
that somebody has asked for is stored: asked for twice, by two people or in two workers, its readings are written
once. A numbered batch is guarded once more by its ledger row, which goes from dead to alive and never back.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncCursor

from lms_cloud.telemetry.incoming import Incoming, Outcome, StreamBatch, Unreplayable, Work, to_instant
from lms_cloud.telemetry.storage.judging import letter_key

Cursor = AsyncCursor[tuple[Any, ...]]

CONFLICT = "another batch is committed under its number, so it cannot be stored under it"

_LOCK = """
select public_id, state = 'asked' as asked from dead_letters
where public_id = any(%b::uuid[]) or (topic, digest) in (select * from unnest(%b::text[], %b::bytea[]))
order by id for update
"""
_REVIVE = """
update ledger l set dead = false, digest = b.digest, cursor = b.cursor, first_taken_at = b.first_at,
    last_taken_at = b.last_at, readings = b.readings, committed_at = now()
from unnest(%b::uuid[], %b::bigint[], %b::bytea[], %b::bigint[], %b::timestamptz[], %b::timestamptz[], %b::integer[])
    as b (stream, number, digest, cursor, first_at, last_at, readings)
where l.stream = b.stream and l.number = b.number and l.dead
returning l.stream, l.number
"""
_CLOSE = (
    "update dead_letters set state = 'stored', refused = null, changed_at = now() where public_id = any(%b::uuid[])"
)
_REFUSE = """
update dead_letters set state = 'open', refused = %s, changed_at = now() where public_id = %s and state = 'asked'
"""


async def lock_letters(cursor: Cursor, work: Work) -> set[UUID]:
    """Lock the letters that batches are read from, and whatever else of them this transaction is to change.

    All in one statement, so that two workers lock them in the same order.

    Returns:
        Those that batches are read from and that are done with, or called off: not to be stored.
    """
    letters = {batch.letter for batch in work.batches if batch.letter is not None}
    changed = letters | {each.letter for each in work.unreplayable}
    again = sorted(letter_key(letter) for letter in work.letters)
    if not changed and not again:
        return set()
    topics, digests = [topic for topic, _ in again], [digest for _, digest in again]
    await cursor.execute(_LOCK, (sorted(changed), topics, digests))
    return letters - {public_id for public_id, asked in await cursor.fetchall() if asked}


async def revive(cursor: Cursor, batches: Iterable[Incoming], cursors: Mapping[UUID, int]) -> set[StreamBatch]:
    """Bring dead ledger rows to life, and return their keys: their readings are to be written."""
    rows = {
        batch.key: (batch.digest, cursors[batch.bioreactor.id], *bounds(batch), len(batch.readings))
        for batch in batches
        if batch.key is not None and batch.letter is not None
    }
    if not rows:
        return set()
    columns = zip(*((*key, *rows[key]) for key in sorted(rows)), strict=True)
    await cursor.execute(_REVIVE, [list(column) for column in columns])
    return {StreamBatch(stream, number) for stream, number in await cursor.fetchall()}


async def close_letters(
    cursor: Cursor, batches: Iterable[Incoming], outcome: Outcome, unreplayable: Sequence[Unreplayable]
) -> None:
    """Say of each letter what became of it."""
    refused = {batch.letter for batch in outcome.refused}
    stored = [batch.letter for batch in batches if batch.letter is not None and batch.letter not in refused]
    if stored:
        await cursor.execute(_CLOSE, [stored])
    conflicts = [Unreplayable(letter, CONFLICT) for letter in refused if letter is not None]
    for letter, reason in (*conflicts, *unreplayable):
        await cursor.execute(_REFUSE, (reason, letter))


def bounds(batch: Incoming) -> tuple[datetime | None, datetime | None]:
    """When the first and the last reading of a batch were taken; None for a batch without readings."""
    extent = batch.columns.extent
    return (to_instant(extent[0]), to_instant(extent[1])) if extent else (None, None)
