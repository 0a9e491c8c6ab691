"""Batches that agents logged anew are taken in once: their origins, in the transaction that writes their readings.

Called by `lms_cloud.telemetry.storage.transaction` between the ledger and the readings; what is the same is for
`lms_cloud.telemetry.storage.judging` to say.
"""

from collections.abc import Sequence
from typing import Any

from psycopg import AsyncCursor

from lms_cloud.telemetry.incoming import Incoming
from lms_cloud.telemetry.storage.judging import OriginKey, origins_of, without_repeated

_INSERT = """
insert into origins (bioreactor_id, stream, number, content, organization_id, into_stream, into_number)
select * from unnest(%b::uuid[], %b::uuid[], %b::bigint[], %b::bytea[], %b::uuid[], %b::uuid[], %b::bigint[])
    as new (bioreactor_id, stream, number, content)
order by bioreactor_id, stream, number, content
on conflict (bioreactor_id, stream, number, content) do nothing
returning bioreactor_id, stream, number, content
"""
_BROUGHT_NOTHING = """
update ledger l set readings = 0, first_taken_at = null, last_taken_at = null
from unnest(%b::uuid[], %b::bigint[]) as b (stream, number)
where l.stream = b.stream and l.number = b.number
"""


async def drop_repeated(cursor: AsyncCursor[tuple[Any, ...]], entered: Sequence[Incoming]) -> list[Incoming]:
    """Note the origins of batches that were just entered into the ledger.

    Returns:
        The batches; those whose readings are in the database already, from another stream, without readings. Their
        ledger rows say so too.
    """
    origins = origins_of(entered)
    if not origins:
        return list(entered)
    rows = [
        (*key, batch.bioreactor.organization_id, *batch.key) for key, batch in origins.items() if batch.key is not None
    ]
    await cursor.execute(_INSERT, [list(column) for column in zip(*rows, strict=True)])
    first = [origins[OriginKey(*row)] for row in await cursor.fetchall()]
    kept = without_repeated(entered, first)
    repeated = [after.key for before, after in zip(entered, kept, strict=True) if after is not before and after.key]
    if repeated:
        streams, numbers = zip(*repeated, strict=True)
        await cursor.execute(_BROUGHT_NOTHING, (list(streams), list(numbers)))
    return kept
