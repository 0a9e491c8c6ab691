"""The queries of history. Series numbers come from `series`, through which row security lets a tenant see only his own.

Many readings come as columns: PostgreSQL packs each column of a series into one run of big-endian numbers, which numpy
takes as they are. That is seven times as fast as COPY, whose rows reach Python one by one (200,000 readings: 32 and
230 ms). Times are bound anew each time (`prepare=False`), so that the planner sees them and leaves out other weeks.

Numbers lie in `readings`; texts and integers beyond 2^53 in `readings_text`, which is asked only where there are any.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, NamedTuple

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from sqlalchemy import text
from sqlalchemy.exc import InterfaceError, OperationalError

from lms_cloud.telemetry.columns import POSTGRES_EPOCH_MS
from lms_cloud.telemetry.history.buckets import DAY_S, HOUR_S, MINUTE_S, Span
from lms_cloud.telemetry.history.envelopes import Pieces
from lms_cloud.telemetry.incoming import to_instant

ROLLUPS: Final = {MINUTE_S: "rollup_1m", HOUR_S: "rollup_1h", DAY_S: "rollup_1d"}

TAGS = text("""
select t.id, t.name, t.properties, s.id as series from entities t left join series s on s.tag_id = t.id
where t.entity_type = 'tag' and t.is_active and t.properties ->> 'bioreactor_id' = :bioreactor_id order by t.name
""")
CURSOR = text("select cursor from feeds where bioreactor_id = :bioreactor_id")
LATEST_TIME = text("""
select max(taken_at) from latest where series_id = any(:series) and taken_at < :before
    and bioreactor_id in (select bioreactor_id from series where id = any(:series))
""")
GAPS = text("""
select series, began_at, ended_at, reason from gaps
where bioreactor_id = :bioreactor_id and began_at < :end and (ended_at is null or ended_at > :start)
    and series && cast(:series as integer[])
order by coalesce(ended_at, 'infinity') - began_at desc limit :most
""")
ROLLUPS_BEHIND = text("""
select cast(extract(epoch from now() - min(marked_at)) as integer) from rollup_marks
where bioreactor_id = :bioreactor_id and from_at < :end and to_at > cast(:start as timestamptz) - interval '1 minute'
    and marked_at < now() - make_interval(secs => :usual_s)
""")
COMMITS_SINCE = text("""
select cursor, first_taken_at, last_taken_at from ledger
where bioreactor_id = :bioreactor_id and cursor > :cursor order by cursor limit :most
""")
_MS: Final = "cast(extract(epoch from taken_at) * 1000 as bigint)"
EVERY_NUMBER: Final = f"""
select {_MS}, quality, value, null::text from readings
where series_id = %(series)s and taken_at >= %(start)s and taken_at < %(end)s order by taken_at
"""  # noqa: S608 - put together from constants
EVERY_TEXT: Final = f"""
select {_MS}, quality, null::float8, value from readings_text
where series_id = %(series)s and taken_at >= %(start)s and taken_at < %(end)s order by taken_at
"""  # noqa: S608 - put together from constants
# Each table by itself is read in order of its index and stopped early; both together would be sorted as a whole.
_FIRST_OF_BOTH: Final = f"""
(select * from ({EVERY_NUMBER}) as numbers limit %(most)s)
union all (select * from ({EVERY_TEXT}) as texts limit %(most)s) order by 1 limit %(most)s
"""  # noqa: S608 - put together from constants
_AT_TIMES: Final = f"""
select {_MS}, quality, value, null::text from readings where series_id = %(series)s and taken_at = any(%(times)s)
union all
select {_MS}, quality, null, value from readings_text where series_id = %(series)s and taken_at = any(%(times)s)
order by 1
"""  # noqa: S608 - put together from constants
_TEXTS: Final = """
select s.id from unnest(%(series)s::integer[]) as s (id) where exists (
    select from readings_text where series_id = s.id and taken_at >= %(start)s and taken_at < %(end)s)
"""
_NUMBERS: Final = """
select s.id, times, qualities, numbers, nulls
from unnest(%(series)s::integer[]) as s (id) cross join lateral (
    select string_agg(timestamptz_send(taken_at), '') as times, string_agg(int2send(quality), '') as qualities,
        string_agg(float8send(coalesce(value, 'NaN')), '') as numbers, string_agg(boolsend(value is null), '') as nulls
    from (
        select taken_at, quality, value from readings
        where series_id = s.id and taken_at >= %(start)s and taken_at < %(end)s
        order by series_id, taken_at limit %(most)s
    ) as read
) as packed where times is not null
"""
_ROLLUP_COLUMNS: Final = "bucket, count, minimum, maximum, total, first, last, first_at, last_at, worst, readings"
_ROLLUP: Final = """
select {columns} from {rollup} where series_id = s.id and bucket >= %({start})s and bucket < %({end})s
"""
# Bounds keep sums finite and leave NaN out, which PostgreSQL counts above infinity; as the rollups have it.
_SINGLE: Final = """
select taken_at, case when value > -1e300 and value < 1e300 then 1 else 0 end, finite, finite, finite, finite, finite,
    taken_at, taken_at, case quality when 500 then 63 else quality end, 1
from (
    select taken_at, quality, value, case when value > '-Infinity' and value < 'Infinity' then value end as finite
    from (
        select taken_at, quality, value from readings
        where series_id = s.id and taken_at >= %({start})s and taken_at < %({end})s
        union all
        select taken_at, quality, case when value ~ '^-?[0-9]{{1,40}}$' then cast(value as double precision) end
        from readings_text where series_id = s.id and taken_at >= %({start})s and taken_at < %({end})s
    ) as read
) as checked
"""
_PIECES: Final = """
select s.id, counts, minima, maxima, totals, firsts, lasts, firsts_at, lasts_at, worsts, numbers
from unnest(%(series)s::integer[]) as s (id) cross join lateral (
    select string_agg(int8send(count), '') as counts,
        string_agg(float8send(coalesce(minimum, 'NaN')), '') as minima,
        string_agg(float8send(coalesce(maximum, 'NaN')), '') as maxima,
        string_agg(float8send(coalesce(total, 'NaN')), '') as totals,
        string_agg(float8send(coalesce(first, 'NaN')), '') as firsts,
        string_agg(float8send(coalesce(last, 'NaN')), '') as lasts,
        string_agg(timestamptz_send(first_at), '') as firsts_at, string_agg(timestamptz_send(last_at), '') as lasts_at,
        string_agg(int2send(worst::smallint), '') as worsts, string_agg(int8send(readings), '') as numbers
    from (select {columns} from ({spans}) as piece ({columns}) order by bucket) as ordered
) as packed where counts is not null
"""
_ESTIMATE: Final = """
select s.id, (select sum(readings) from ({spans}) as known) from unnest(%(series)s::integer[]) as s (id)
"""


class Readings(NamedTuple):
    """Numbers of one series, all of length n, in order of time.

    Attributes:
        at_ms: ms UTC.
        quality: quality codes.
        value: NaN where `null` is true; but NaN may be a value, too.
        null: whether no value could be had.
    """

    at_ms: NDArray[np.int64]
    quality: NDArray[np.int16]
    value: NDArray[np.float64]
    null: NDArray[np.bool_]

    def only(self, positions: NDArray[np.intp]) -> "Readings":
        """Some of them."""
        return Readings(self.at_ms[positions], self.quality[positions], self.value[positions], self.null[positions])


Connection = AsyncConnection[Any]


async def with_texts(connection: Connection, series: Sequence[int], start: datetime, end: datetime) -> set[int]:
    """Which series have readings in `readings_text` in a window."""
    rows = await _execute(connection, _TEXTS, {"series": list(series), "start": start, "end": end})
    return {row[0] for row in rows}


async def read_both(connection: Connection, series: int, start: datetime, end: datetime, most: int) -> list[TupleRow]:
    """Readings of both tables in a window: ms, quality, number and text of each, in order of time; at most so many."""
    values = {"series": series, "start": start, "end": end, "most": most}
    return await _execute(connection, _FIRST_OF_BOTH, values)


async def read_at(connection: Connection, series: int, times: Sequence[datetime]) -> list[TupleRow]:
    """Readings of both tables at some times: ms, quality, number and text of each, in order of time."""
    return await _execute(connection, _AT_TIMES, {"series": series, "times": list(times)})


async def read_numbers(
    connection: Connection, series: Sequence[int], start: datetime, end: datetime, most: int
) -> dict[int, Readings]:
    """Readings of `readings` in a window, by series; of each at most `most`, the oldest."""
    values = {"series": list(series), "start": start, "end": end, "most": most}
    return {
        number: Readings(
            _instants(times), _packed(qualities, ">i2"), _packed(numbers, ">f8"), np.frombuffer(nulls, dtype=np.bool_)
        )
        for number, times, qualities, numbers, nulls in await _execute(connection, _NUMBERS, values)
    }


async def read_pieces(connection: Connection, series: Sequence[int], spans: Iterable[Span]) -> dict[int, Pieces]:
    """Rollup rows and single readings of spans that follow one another, by series."""
    parts, values = _united(spans, _ROLLUP_COLUMNS)
    statement = _PIECES.format(columns=_ROLLUP_COLUMNS, spans=parts)
    rows = await _execute(connection, statement, {"series": list(series), **values})
    return {
        row[0]: Pieces(
            count=_packed(row[1], ">i8"),
            minimum=_packed(row[2], ">f8"),
            maximum=_packed(row[3], ">f8"),
            total=_packed(row[4], ">f8"),
            first=_packed(row[5], ">f8"),
            last=_packed(row[6], ">f8"),
            first_at_ms=_instants(row[7]),
            last_at_ms=_instants(row[8]),
            worst=_packed(row[9], ">i2"),
            readings=_packed(row[10], ">i8"),
        )
        for row in rows
    }


async def estimate(connection: Connection, series: Sequence[int], spans: Iterable[Span]) -> Mapping[int, int]:
    """How many readings the rollups of some spans know of: at most a minute behind, never more than there were."""
    parts, values = _united(spans, "readings")
    found = await _execute(connection, _ESTIMATE.format(spans=parts), {"series": list(series), **values})
    return {row[0]: int(row[1] or 0) for row in found}


def _united(spans: Iterable[Span], columns: str) -> tuple[str, dict[str, Any]]:
    """The SQL of the spans' rows, and the times in it."""
    values: dict[str, Any] = {}
    parts: list[str] = []
    for number, span in enumerate(spans):
        start, end = f"start_{number}", f"end_{number}"
        values |= {start: to_instant(span.start_ms), end: to_instant(span.end_ms)}
        if span.rollup_s:
            rollup = ROLLUPS[span.rollup_s]
            parts.append(_ROLLUP.format(columns=columns, rollup=rollup, start=start, end=end))
        else:
            parts.append(_SINGLE.format(start=start, end=end))
    return " union all ".join(parts), values


@contextmanager
def as_sqlalchemy() -> Iterator[None]:
    """Let what the driver raises look as all other statements' errors do.

    Raises:
        sqlalchemy.exc.OperationalError: the database does not answer, or a statement took too long.
        sqlalchemy.exc.InterfaceError: the connection is gone.
    """
    try:
        yield
    except psycopg.OperationalError as error:
        raise OperationalError(None, None, error) from error
    except psycopg.InterfaceError as error:
        raise InterfaceError(None, None, error) from error


async def _execute(connection: Connection, statement: str, values: Mapping[str, Any]) -> list[TupleRow]:
    with as_sqlalchemy():
        return await _fetch(connection, statement, values)


async def _fetch(connection: Connection, statement: str, values: Mapping[str, Any]) -> list[TupleRow]:
    async with connection.cursor(binary=True) as cursor:
        await cursor.execute(statement, values, prepare=False)
        return await cursor.fetchall()


def _packed(data: bytes, kind: str) -> NDArray[Any]:
    native = np.dtype(kind).newbyteorder("=")
    return np.frombuffer(data, dtype=kind).astype(native)


def _instants(data: bytes) -> NDArray[np.int64]:
    """Timestamps, microseconds since 2000, as ms since 1970."""
    return _packed(data, ">i8") // 1000 + POSTGRES_EPOCH_MS
