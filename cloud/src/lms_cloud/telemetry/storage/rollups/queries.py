"""The statements of the refresher. Minutes are whole numbers since 1970 UTC, as Python's times end in 9999.

Reading commands see what was committed before each of them begins (READ COMMITTED). So whoever takes marks after it
holds their bioreactor's lock, and reads the readings after that, sees all readings that belong to the marks it took.
"""

from typing import Final

from sqlalchemy import TextClause, text

# Marks of minutes that still run wait for their end: such a minute would be computed anew with every commit. Those in
# the future, by a clock that is ahead, wait no longer than this.
_DUE: Final = "(m.to_at < date_trunc('minute', now()) or m.marked_at < now() - interval '1 minute' or :at_once)"
_ORIGIN: Final = "timestamptz '1970-01-01Z'"

LOCK_DUE: Final = text(f"""
with due as materialized (
    select m.bioreactor_id from rollup_marks m where {_DUE} and m.bioreactor_id <> all(cast(:without as uuid[]))
        and exists (select from series s where s.bioreactor_id = m.bioreactor_id)
    group by m.bioreactor_id order by min(m.id) limit :most
)
select bioreactor_id from due where pg_try_advisory_xact_lock(hashtextextended('lms.rollups ' || bioreactor_id, 0))
""")  # noqa: S608 - put together from constants
"""Bioreactors with marks that are due, whose lock is free: only its holder computes their rollups, until it commits."""

TAKE_MARKS: Final = text(f"""
with taken as (
    delete from rollup_marks m where m.bioreactor_id = any(cast(:bioreactors as uuid[])) and {_DUE}
    returning bioreactor_id, marked_at, int8range(
        cast(extract(epoch from from_at) / 60 as bigint), cast(extract(epoch from to_at) / 60 as bigint), '[]'
    ) as minutes
), merged as (
    select bioreactor_id, marked_at > now() - make_interval(secs => :fresh_s) as fresh, min(marked_at) as marked_at,
        unnest(range_agg(minutes)) as minutes
    from taken group by bioreactor_id, fresh
)
select bioreactor_id, marked_at, fresh, lower(minutes) as first, upper(minutes) - 1 as last,
    (select count(*) from series s where s.bioreactor_id = merged.bioreactor_id) as series
from merged order by marked_at, bioreactor_id, first
""")  # noqa: S608 - put together from constants

PUT_BACK: Final = text("""
insert into rollup_marks (bioreactor_id, marked_at, from_at, to_at)
select b, m, to_timestamp(f * 60), to_timestamp(l * 60) from unnest(
    cast(:bioreactors as uuid[]), cast(:marked_at as timestamptz[]), cast(:first as bigint[]), cast(:last as bigint[])
) as mark (b, m, f, l)
""")

WAITING: Final = text("""
select count(*) as marks, min(marked_at) as oldest from rollup_marks m
where exists (select from series s where s.bioreactor_id = m.bioreactor_id)
""")

REMOVED: Final = text("""
select cast(extract(epoch from from_at) / 60 as bigint) as first,
    cast(extract(epoch from to_at) / 60 as bigint) - 1 as last
from storage_removals where level = 'readings' and reason = 'retention'
    and from_at <= to_timestamp(:last * 60) and to_at > to_timestamp(:first * 60)
order by first
""")
"""Minutes whose readings retention has removed: computed anew, they would hold the late readings only."""

FOLD: Final = text("""
select fold_removed(array(select id from series where bioreactor_id = :bioreactor_id),
    to_timestamp(:first * 60), to_timestamp((:last + 1) * 60))
""")

UNBOUNDED: Final = text("""
select set_config('timescaledb.max_tuples_decompressed_per_dml_transaction', '0', true)
where current_setting('timescaledb.max_tuples_decompressed_per_dml_transaction', true) is not null
""")
"""Buckets that TimescaleDB has turned into columns are changed, too, as many as late readings fall into."""

_MARKS: Final = """
    select b, f, l
    from unnest(cast(:bioreactors as uuid[]), cast(:first as bigint[]), cast(:last as bigint[])) as mark (b, f, l)
"""
_KEEP: Final = """
on conflict (series_id, bucket) do update set count = excluded.count, minimum = excluded.minimum,
    maximum = excluded.maximum, total = excluded.total, first = excluded.first, last = excluded.last,
    first_at = excluded.first_at, last_at = excluded.last_at, worst = excluded.worst, readings = excluded.readings
"""
_COLUMNS: Final = """
    (series_id, bucket, count, minimum, maximum, total, first, last, first_at, last_at, worst, readings)
"""
# NaN counts above infinity in PostgreSQL. Sums stop short of where adding up a day's doubles could overflow, and a text
# of hundreds of digits, which is no integer of any tag, must not be cast: either would be an error for ever.
_FINITE: Final = "value > '-Infinity' and value < 'Infinity'"
_SUMMABLE: Final = "value > -1e300 and value < 1e300"
_DIGITS: Final = "^-?[0-9]{1,40}$"

COMPUTE_MINUTES: Final = text(f"""
with span as (
    select s.id as series_id, to_timestamp(m.f * 60) as start, to_timestamp((m.l + 1) * 60) as stop
    from ({_MARKS}) as m join series s on s.bioreactor_id = m.b
)
insert into rollup_1m {_COLUMNS}
select series_id, bucket, count, minimum, maximum, total, numbers[1], numbers[cardinality(numbers)], first_at, last_at,
    worst, readings
from (
    select series_id, date_bin('1 minute', taken_at, {_ORIGIN}) as bucket,
        count(*) filter (where {_SUMMABLE}) as count,
        min(value) filter (where {_FINITE}) as minimum,
        max(value) filter (where {_FINITE}) as maximum,
        sum(value) filter (where {_SUMMABLE}) as total,
        array_agg(value order by taken_at, value) filter (where {_FINITE}) as numbers,
        min(taken_at) as first_at, max(taken_at) as last_at,
        min(case quality when 500 then 63 else quality end) as worst,
        count(*) as readings
    from span cross join lateral (
        select taken_at, quality, value from readings r
        where r.series_id = span.series_id and taken_at >= start and taken_at < stop
        union all
        select taken_at, quality, case when value ~ '{_DIGITS}' then cast(value as double precision) end
        from readings_text r where r.series_id = span.series_id and taken_at >= start and taken_at < stop
    ) as read
    group by series_id, bucket
) as bucketed
{_KEEP}
""")  # noqa: S608 - put together from constants


def _longer(target: str, source: str, width: str, seconds: int) -> TextClause:
    """Buckets of `target` that the marked minutes lie in, from those of `source`."""
    return text(f"""
with span as (
    select s.id as series_id, to_timestamp(lower(buckets) * {seconds}) as start,
        to_timestamp(upper(buckets) * {seconds}) as stop
    from (
        select b, unnest(range_agg(int8range(f * 60 / {seconds}, l * 60 / {seconds}, '[]'))) as buckets
        from ({_MARKS}) as m group by b
    ) as m join series s on s.bioreactor_id = m.b
)
insert into {target} {_COLUMNS}
select series_id, longer, count, minimum, maximum, total, first[1], last[cardinality(last)], first_at, last_at, worst,
    readings
from (
    select span.series_id, date_bin('{width}', bucket, {_ORIGIN}) as longer,
        cast(sum(count) as bigint) as count, min(minimum) as minimum, max(maximum) as maximum, sum(total) as total,
        array_agg(first order by bucket) filter (where first is not null) as first,
        array_agg(last order by bucket) filter (where last is not null) as last,
        min(first_at) as first_at, max(last_at) as last_at, min(worst) as worst,
        cast(sum(readings) as bigint) as readings
    from span join {source} s on s.series_id = span.series_id and bucket >= start and bucket < stop
    group by span.series_id, longer
) as bucketed
{_KEEP}
""")  # noqa: S608 - put together from constants


COMPUTE_HOURS: Final = _longer("rollup_1h", "rollup_1m", "1 hour", 3_600)
COMPUTE_DAYS: Final = _longer("rollup_1d", "rollup_1h", "1 day", 86_400)
