"""The one transaction that makes readings the cloud's: ledger, readings, marks, latest values, gaps, clocks.

Before it: `lms_cloud.telemetry.ingest.committing`, which gathers batches and calls `commit_work`. After it, once
COMMIT has succeeded: acknowledgements to the agents and the live message. The ledger's primary key is what makes a
reading exist once: whoever inserts (stream, number) writes the readings, in the same transaction; anyone else finds a
duplicate.

Locks are taken in one order by every committer (feeds, letters, ledger, origins, latest, gaps, clocks, streams, hours,
new letters, agents; rows by key), so that two workers with the same batches wait for each other instead of
deadlocking.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import numpy as np
from psycopg import AsyncConnection, AsyncCursor

from lms_cloud.telemetry.columns import ReadingColumns, copy_numbers, copy_texts, to_columns
from lms_cloud.telemetry.incoming import DeadLetter, Incoming, Outcome, StatusChange, StreamBatch, Work, to_instant
from lms_cloud.telemetry.storage.clock_rows import write_clocks
from lms_cloud.telemetry.storage.flavours.copying import prepare_copy
from lms_cloud.telemetry.storage.judging import (
    LedgerEntry,
    conflict_letter,
    fingerprint,
    first_of_each,
    judge,
    letter_key,
)
from lms_cloud.telemetry.storage.latest_blocks import LatestBlocks
from lms_cloud.telemetry.storage.origins import drop_repeated
from lms_cloud.telemetry.storage.replayed import bounds, close_letters, lock_letters, revive
from lms_cloud.telemetry.storage.rollups.marks import write_marks
from lms_cloud.telemetry.storage.tallies import write_tallies

Connection = AsyncConnection[tuple[Any, ...]]
Cursor = AsyncCursor[tuple[Any, ...]]

_ADVANCE_FEEDS = """
insert into feeds (bioreactor_id, organization_id, cursor)
select b, o, 1 from unnest(%b::uuid[], %b::uuid[]) as touched (b, o) order by b
on conflict (bioreactor_id) do update set cursor = feeds.cursor + 1
returning bioreactor_id, cursor
"""
_INSERT_LEDGER = """
insert into ledger (stream, number, organization_id, bioreactor_id, digest, cursor, first_taken_at, last_taken_at,
    readings, dead)
select * from unnest(%b::uuid[], %b::bigint[], %b::uuid[], %b::uuid[], %b::bytea[], %b::bigint[],
    %b::timestamptz[], %b::timestamptz[], %b::integer[], %b::boolean[]) as batch (stream, number)
order by stream, number
on conflict (stream, number) do nothing
returning stream, number
"""
_READ_LEDGER = """
select stream, number, digest, dead from ledger
where (stream, number) in (select * from unnest(%b::uuid[], %b::bigint[]))
"""
_COPY_NUMBERS = "copy readings (series_id, taken_at, quality, value) from stdin (format binary)"
_COPY_TEXTS = "copy readings_text (series_id, taken_at, quality, value) from stdin (format binary)"
_UPSERT_GAPS = """
insert into gaps as g (stream, gap, organization_id, bioreactor_id, series, began_at, ended_at, reason)
values (%s, %s, %s, %s, %s, %s, %s, %s)
on conflict (stream, gap) do update
set ended_at = coalesce(g.ended_at, excluded.ended_at), began_at = least(g.began_at, excluded.began_at)
"""
_INSERT_DEAD_LETTER = """
insert into dead_letters as d
    (organization_id, kind, topic, payload, digest, reason, stream, number, bioreactor_id, node, birth)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
on conflict (topic, digest) do update set times = d.times + 1, last_at = now()
"""
_SET_STATUS = """
update feeds set online = %(online)s, since = %(since)s, agent_id = %(agent_id)s
where bioreactor_id = %(id)s and (online, agent_id) is distinct from (%(online)s, %(agent_id)s)
"""
_SET_AGENT_STATUS = """
insert into agent_status as a (agent_id, organization_id, online, since, stream) values (%s, %s, %s, %s, %s)
on conflict (agent_id) do update
set online = excluded.online, stream = coalesce(excluded.stream, a.stream),
    since = case when a.online = excluded.online then a.since else excluded.since end
"""


async def commit_work(connection: Connection, work: Work, latest: LatestBlocks | None = None) -> Outcome:
    """Write batches, dead letters and statuses in one transaction, and commit it.

    Args:
        latest: what this writer remembers of the latest values; it has to forget that if this raises. None: nothing.

    Raises:
        psycopg.Error: nothing is known to be committed; asking again is safe, as the ledger decides.
    """
    outcome = Outcome()
    latest = latest or LatestBlocks()
    async with (
        connection.transaction(),
        connection.cursor(binary=True) as cursor,
        connection.cursor(binary=True) as of_latest,
    ):
        batches = first_of_each(work.batches)
        taken_in = [letter for letter in work.letters if letter.counts_as_taken_in]
        outcome.cursors = await _advance_feeds(cursor, [*batches, *taken_in, *work.statuses])
        done_before = await lock_letters(cursor, work)
        batches = [batch for batch in batches if batch.letter not in done_before]
        fresh = await _insert_ledger(cursor, batches, taken_in, outcome)
        fresh |= await revive(cursor, [batch for batch in batches if batch.key not in fresh], outcome.cursors)
        conflicts = await _compare(
            cursor, [batch for batch in work.batches if batch.letter not in done_before], fresh, outcome
        )
        entered = [batch for batch in batches if batch.key is None or batch.key in fresh]
        outcome.stored = await drop_repeated(cursor, entered)
        outcome.settled += [letter.key for letter in taken_in if letter.key]
        columns = await _write_readings(cursor, outcome.stored)
        async with connection.pipeline():  # sent together: a busy program waits for its turn at each answer
            newest = await latest.send(of_latest, outcome.stored, columns) if columns is not None else None
            await write_marks(cursor, outcome.stored)
            await _write_gaps(cursor, outcome.stored)
            await write_clocks(cursor, outcome.stored)
            await write_tallies(cursor, outcome.stored, fresh, work.agents)
        if newest is not None:
            await latest.settle(of_latest, newest)
        for letter in sorted((*work.letters, *conflicts), key=letter_key):
            await _write_letter(cursor, letter)
        await close_letters(cursor, batches, outcome, work.unreplayable)
        await _write_statuses(cursor, work, outcome)
    return outcome


async def _advance_feeds(cursor: Cursor, touching: Sequence[Incoming | DeadLetter | StatusChange]) -> dict[UUID, int]:
    touched = {item.bioreactor.id: item.bioreactor.organization_id for item in touching if item.bioreactor}
    if not touched:
        return {}
    await cursor.execute(_ADVANCE_FEEDS, (list(touched), list(touched.values())), binary=True)
    return dict(await cursor.fetchall())


async def _insert_ledger(
    cursor: Cursor, batches: Sequence[Incoming], letters: Sequence[DeadLetter], outcome: Outcome
) -> set[StreamBatch]:
    """Insert a ledger row for every numbered batch that has none yet, and return the keys inserted."""
    rows: dict[StreamBatch, tuple[Any, ...]] = {}
    for letter in letters:
        if letter.key and letter.bioreactor:
            home = letter.bioreactor
            position = outcome.cursors[home.id]
            digest = fingerprint(letter.payload)
            rows[letter.key] = (home.organization_id, home.id, digest, position, None, None, 0, True)
    for batch in batches:
        if batch.key:
            home = batch.bioreactor
            first, last = bounds(batch)
            position = outcome.cursors[home.id]
            count = len(batch.readings)
            rows[batch.key] = (home.organization_id, home.id, batch.digest, position, first, last, count, False)
    if not rows:
        return set()
    columns = zip(*((*key, *row) for key, row in rows.items()), strict=True)
    await cursor.execute(_INSERT_LEDGER, [list(column) for column in columns])
    return {StreamBatch(stream, number) for stream, number in await cursor.fetchall()}


async def _compare(
    cursor: Cursor, incoming: Sequence[Incoming], fresh: set[StreamBatch], outcome: Outcome
) -> list[DeadLetter]:
    """Tell duplicates from conflicts, for every batch that came, against what the ledger holds now."""
    ledger = {each.key: LedgerEntry(each.digest) for each in reversed(incoming) if each.key and each.key in fresh}
    known = sorted({batch.key for batch in incoming if batch.key and batch.key not in fresh})
    if known:
        await cursor.execute(_READ_LEDGER, ([key.stream for key in known], [key.number for key in known]))
        for stream, number, digest, is_dead in await cursor.fetchall():
            ledger[StreamBatch(stream, number)] = LedgerEntry(digest, is_dead)
    outcome.settled, outcome.refused = judge(incoming, ledger)
    return [conflict_letter(batch) for batch in outcome.refused if batch.letter is None]  # else it is kept already


async def _write_readings(cursor: Cursor, batches: Sequence[Incoming]) -> ReadingColumns | None:
    """Write the readings of `batches` by COPY, and return them as columns; None if there are none."""
    if not any(batch.readings for batch in batches):
        return None
    columns = to_columns([(batch.columns, batch.tags.series_of) for batch in batches])
    texts = frozenset().union(*(batch.tags.texts for batch in batches))
    if texts:
        columns = columns.with_empty_texts(sorted(texts))
    if len(columns) > len(columns.text):
        await prepare_copy(cursor, len(columns), len(np.unique(columns.series)))
        async with cursor.copy(_COPY_NUMBERS) as copy:
            await copy.write(copy_numbers(columns))
    if columns.text:
        async with cursor.copy(_COPY_TEXTS) as copy:
            await copy.write(copy_texts(columns))
    return columns


async def _write_gaps(cursor: Cursor, batches: Sequence[Incoming]) -> None:
    rows: dict[tuple[UUID, int, bool], tuple[Any, ...]] = {}
    for batch in batches:
        for gap in batch.gaps:
            if batch.key is not None:
                ended_at = None if gap.ended_at_ms is None else to_instant(gap.ended_at_ms)
                series = [batch.tags.series[tag] for tag in gap.tags if tag in batch.tags.series]
                home = batch.bioreactor
                rows[batch.key.stream, gap.id, ended_at is None] = (
                    *(batch.key.stream, gap.id, home.organization_id, home.id, series),
                    *(to_instant(gap.began_at_ms), ended_at, gap.reason),
                )
    if rows:
        await cursor.executemany(_UPSERT_GAPS, [rows[key] for key in sorted(rows)])


async def _write_letter(cursor: Cursor, letter: DeadLetter) -> None:
    key = letter.key or (None, None)
    topic, digest = letter_key(letter)
    await cursor.execute(
        _INSERT_DEAD_LETTER,
        (
            *(letter.organization_id, letter.kind, topic, letter.payload, digest, letter.reason, *key),
            *(letter.bioreactor and letter.bioreactor.id, letter.node, letter.birth and letter.birth.as_json()),
        ),
    )


async def _write_statuses(cursor: Cursor, work: Work, outcome: Outcome) -> None:
    """Write who is online, and note in `outcome` what really changed: births come again without any change."""
    for change in sorted(work.statuses, key=lambda change: change.bioreactor.id):
        values = {"online": change.online, "since": change.since, "agent_id": change.agent_id}
        await cursor.execute(_SET_STATUS, {**values, "id": change.bioreactor.id})
        if cursor.rowcount:
            outcome.statuses.append(change)
    for agent in sorted(work.agents, key=lambda change: change.agent_id):
        await cursor.execute(
            _SET_AGENT_STATUS, (agent.agent_id, agent.organization_id, agent.online, agent.since, agent.stream)
        )
