"""What a COPY into `readings` does for the columnstore: readings that come as a backlog are compressed on their way in.

TimescaleDB can turn the rows of a COPY into columns at once. One such batch holds readings of one series; measured on
two cores with 2,000 series (rows/s, bytes a row): one reading a series 221,000 and 325, as rows 756,000 and 104; eight
readings a series 980,000 and 49, as rows 677,000 and 96; sixty 1,341,000 and 18. So live commits, which bring a reading
or a few of each series, go in as rows, which the columnstore's policy turns into columns; only dense ones go directly.

The rows need not be sorted: TimescaleDB sorts them, and knows that they overlap what is there. Its option for sorted
rows (`enable_direct_compress_copy_client_sorted`) is a quarter faster, but takes the client's word that the rows of all
COPYs together are sorted and never overlap. Late readings do overlap, and queries would then answer in a wrong order.
"""

from typing import Any, Final

from psycopg import AsyncCursor

DENSE: Final = 8
"""Readings a series from which on columns are faster and smaller than rows."""

# Only where the setting exists: plain PostgreSQL and old TimescaleDBs know no such name, and may refuse it.
_DIRECTLY: Final = """
select set_config('timescaledb.enable_direct_compress_copy', 'on', true)
where current_setting('timescaledb.enable_direct_compress_copy', true) is not null
"""


async def prepare_copy(cursor: AsyncCursor[tuple[Any, ...]], readings: int, series: int) -> None:
    """Let the rest of this transaction compress directly if that pays; on plain PostgreSQL nothing changes.

    Args:
        readings: how many rows the COPY will bring.
        series: of how many series.
    """
    if readings >= DENSE * series:
        await cursor.execute(_DIRECTLY)
