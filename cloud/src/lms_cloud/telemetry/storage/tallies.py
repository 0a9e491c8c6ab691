"""Counted in the commit itself: the committed numbers of each stream, and what each hour of a bioreactor brought.

Called by `lms_cloud.telemetry.storage.transaction` inside its transaction, so that the counts are exactly those of
the ledger. After it: `lms_cloud.telemetry.completeness.service`, which would have to read millions of ledger rows for
a year otherwise.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final
from uuid import UUID

from psycopg import AsyncCursor

from lms_cloud.telemetry.incoming import AgentStatusChange, Incoming, StreamBatch, to_instant

Cursor = AsyncCursor[tuple[Any, ...]]

HOUR_MS: Final = 3_600_000
NO_STREAM: Final = UUID(int=0)
"""Stands for the stream of edge nodes without acknowledged delivery."""

_LOCK_STREAMS = "select from streams where id = any(%b::uuid[]) order by id for update"
_ADD_NUMBERS = """
with new as (
    select stream, range_agg(int8range(number, number + 1)) as numbers
    from unnest(%b::uuid[], %b::bigint[]) as batch (stream, number) group by stream
)
update streams s set committed = s.committed + new.numbers from new where s.id = new.stream
"""
_ADD_TO_HOURS = """
insert into ledger_hours as h (stream, bioreactor_id, hour, organization_id, batches, late, readings)
select * from unnest(%b::uuid[], %b::uuid[], %b::timestamptz[], %b::uuid[], %b::bigint[], %b::bigint[], %b::bigint[])
    as new (stream, bioreactor_id, hour)
order by stream, bioreactor_id, hour
on conflict (stream, bioreactor_id, hour) do update
set batches = h.batches + excluded.batches, late = h.late + excluded.late, readings = h.readings + excluded.readings
"""
_SET_HEADS = """
update streams set head = greatest(head, %(head)s), head_at = %(at)s where id = %(stream)s
"""


async def write_tallies(
    cursor: Cursor,
    stored: Sequence[Incoming],
    fresh: Collection[StreamBatch],
    agents: Sequence[AgentStatusChange],
) -> None:
    """Add what a commit brought, and how far agents say that their logs reach.

    The streams of both are locked together, in order: a batch of one agent and the birth of another would else wait
    for the reverse in another worker, and that one for this.

    Args:
        stored: the batches whose readings it wrote.
        fresh: the numbers that it entered into the ledger, dead ones among them.
        agents: births and deaths; those that tell a head count.
    """
    told = [agent for agent in agents if agent.stream is not None and agent.head is not None]
    touched = {key.stream for key in fresh} | {agent.stream for agent in told}
    if len(touched) > 1:
        await cursor.execute(_LOCK_STREAMS, [list(touched)])
    for agent in told:
        await cursor.execute(_SET_HEADS, {"head": agent.head, "at": agent.since, "stream": agent.stream})
    if fresh:
        streams, numbers = zip(*fresh, strict=True)
        await cursor.execute(_ADD_NUMBERS, (list(streams), list(numbers)))
    hours: dict[tuple[UUID, UUID, int, UUID], list[int]] = {}
    for batch in stored:
        home = batch.bioreactor
        hour = hour_of(batch)
        if hour is not None:
            stream = batch.key.stream if batch.key else NO_STREAM
            tally = hours.setdefault((stream, home.id, hour, home.organization_id), [0, 0, 0])
            tally[0] += 1
            tally[1] += batch.historical
            tally[2] += len(batch.readings)
    if hours:
        rows = [
            (stream, home, to_instant(hour * HOUR_MS), organization, *tally)
            for (stream, home, hour, organization), tally in hours.items()
        ]
        await cursor.execute(_ADD_TO_HOURS, [list(column) for column in zip(*rows, strict=True)])


def hour_of(batch: Incoming) -> int | None:
    """The hour since 1970 (UTC) that a batch counts in: of its first reading, or of its gap records if it has none.

    None for a batch that says nothing of any time: it is committed, but counts in no hour.
    """
    extent = batch.columns.extent
    if extent:
        return extent[0] // HOUR_MS
    times = [gap.began_at_ms if gap.ended_at_ms is None else gap.ended_at_ms for gap in batch.gaps]
    return min(times) // HOUR_MS if times else None
