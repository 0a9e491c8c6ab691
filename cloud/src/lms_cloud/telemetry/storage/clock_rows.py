"""Clock records on their way into the database, in the transaction of the batches that carry them.

Called by `lms_cloud.telemetry.storage.transaction`; `lms_cloud.telemetry.clocks` reads them.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg import AsyncCursor

from lms_cloud.telemetry.incoming import Incoming, to_instant

_INSERT = """
insert into clocks (stream, from_number, organization_id, from_at, boot, offset_ms, trusted, error_ms, correction_ms,
    estimated)
values (%s, %s, %s, coalesce(%s, now()), %s, %s, %s, %s, %s, %s)
on conflict (stream, from_number) do nothing
"""


async def write_clocks(cursor: AsyncCursor[tuple[Any, ...]], batches: Sequence[Incoming]) -> None:
    """Write the clock records of batches that this transaction stores."""
    rows = {
        batch.key: (*batch.key, batch.bioreactor.organization_id, _from_at(batch), *batch.clock)
        for batch in batches
        if batch.key is not None and batch.clock is not None
    }
    if rows:
        await cursor.executemany(_INSERT, [rows[key] for key in sorted(rows)])


def _from_at(batch: Incoming) -> datetime | None:
    """The first time in a batch; None if it has none."""
    extent = batch.columns.extent
    if extent:
        return to_instant(extent[0])
    ends = [gap.began_at_ms if gap.ended_at_ms is None else gap.ended_at_ms for gap in batch.gaps]
    return to_instant(min(ends)) if ends else None
