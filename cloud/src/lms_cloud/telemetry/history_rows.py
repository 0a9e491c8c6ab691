"""The queries of history: raw rows, or one row a bucket. Times go in as instants and come out as ms since 1970.

Both readings tables are asked: numbers lie in one, texts and integers beyond 2^53 in the other. Series numbers come
from `series`, through which row security lets a tenant see only his own.
"""

from sqlalchemy import text

TAGS = text("""
select t.id, t.name, t.properties, s.id as series from entities t left join series s on s.tag_id = t.id
where t.entity_type = 'tag' and t.is_active and t.properties ->> 'bioreactor_id' = :bioreactor_id order by t.name
""")
CURSOR = text("select cursor from feeds where bioreactor_id = :bioreactor_id")
LATEST_TIME = text("""
select max(taken_at) from latest where series_id = any(:series) and taken_at < :before
""")
COUNTS = text("""
select s.id,
    (select count(*) from (select from readings where series_id = s.id and taken_at >= :start and taken_at < :end
        limit :most) as n)
  + (select count(*) from (select from readings_text where series_id = s.id and taken_at >= :start and taken_at < :end
        limit :most) as n)
from unnest(cast(:series as integer[])) as s (id)
""")
RAW = text("""
select series_id, cast(extract(epoch from taken_at) * 1000 as bigint) as ms, quality, value, text
from (
    select series_id, taken_at, quality, value, null as text from readings
    where series_id = any(:series) and taken_at >= :start and taken_at < :end
    union all
    select series_id, taken_at, quality, null, value from readings_text
    where series_id = any(:series) and taken_at >= :start and taken_at < :end
) as both_tables order by series_id, taken_at
""")
# Bounds keep sums finite (avg of doubles fails on overflow) and leave NaN out, which PostgreSQL counts above infinity.
ENVELOPE = text("""
select series_id, cast(extract(epoch from min(taken_at)) * 1000 as bigint) as ms,
    min(case quality when 500 then 63 else quality end) as worst,
    avg(value) filter (where value > -1e300 and value < 1e300) as mean,
    min(value) filter (where value > '-Infinity' and value < 'Infinity') as minimum,
    max(value) filter (where value > '-Infinity' and value < 'Infinity') as maximum
from (
    select series_id, taken_at, quality, value from readings
    where series_id = any(:series) and taken_at >= :start and taken_at < :end
    union all
    select series_id, taken_at, quality, case when value ~ '^-?[0-9]+$' then cast(value as double precision) end
    from readings_text where series_id = any(:series) and taken_at >= :start and taken_at < :end
) as both_tables
group by series_id, date_bin(:width, taken_at, :start) order by series_id, ms
""")
FIRST_TEXTS = text("""
select distinct on (series_id, date_bin(:width, taken_at, :start))
    series_id, cast(extract(epoch from taken_at) * 1000 as bigint) as ms, quality, cast(null as float8) as value,
    value as text
from readings_text where series_id = any(:series) and taken_at >= :start and taken_at < :end
order by series_id, date_bin(:width, taken_at, :start), taken_at
""")
GAPS = text("""
select series, began_at, ended_at, reason from gaps
where bioreactor_id = :bioreactor_id and began_at < :end and (ended_at is null or ended_at > :start)
    and series && cast(:series as integer[])
order by coalesce(ended_at, 'infinity') - began_at desc limit :most
""")
COMMITS_SINCE = text("""
select cursor, first_taken_at, last_taken_at from ledger
where bioreactor_id = :bioreactor_id and cursor > :cursor order by cursor limit :most
""")
