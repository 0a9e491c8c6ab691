"""Rollups of 1 minute, 1 hour and 1 day, the marks that say what of them is to be computed anew, and more partitions.

Whoever commits readings leaves marks in the same transaction; `lms_cloud.telemetry.storage.rollups` takes them and
computes exactly those minutes anew, of the series of that bioreactor. Rollups carry no tenant, like readings: they
hang on series numbers, which row security guards.

`readings_text` and the rollups are cut by time as `readings` is, so that retention can drop whole pieces: a week of
each, and a year of hours. Days are never dropped.

Revision ID: 0003
Revises: 0002
"""

from alembic import op

from lms_cloud.kernel.losing import Loss, refuse_to_lose
from lms_cloud.kernel.tenancy import grant

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ROLLUP_COLUMNS = """
    series_id integer not null,
    bucket timestamptz not null,
    count bigint not null,
    minimum double precision,
    maximum double precision,
    total double precision,
    first double precision,
    last double precision,
    first_at timestamptz not null,
    last_at timestamptz not null,
    worst smallint not null,
    readings bigint not null,
    primary key (series_id, bucket)
"""
ROLLUPS = f"""
create table rollup_1m ({ROLLUP_COLUMNS}) partition by range (bucket);
create table rollup_1m_default partition of rollup_1m default;
create table rollup_1h ({ROLLUP_COLUMNS}) partition by range (bucket);
create table rollup_1h_default partition of rollup_1h default;
create table rollup_1d ({ROLLUP_COLUMNS}) with (fillfactor = 70);
"""
MEANINGS = {
    "bucket": "where it begins, UTC; as long as the table''s name says",
    "count": "finite numbers below 1e300 in magnitude: those that total adds up, so total / count is the mean",
    "minimum": "of all finite numbers; integers beyond 2^53 as the nearest double",
    "first": "the first finite number, of several at one time the smallest",
    "last": "the last finite number, of several at one time the largest",
    "first_at": "when the first reading was taken, with or without a number",
    "last_at": "when the last reading was taken, with or without a number",
    "worst": "the worst quality; stale (500) counts as 63, just better than good is worse than uncertain",
    "readings": "all readings: numbers, texts, and those without a value",
}

MARKS = """
create table rollup_marks (
    id bigint generated always as identity primary key,
    bioreactor_id uuid not null,
    from_at timestamptz not null,
    to_at timestamptz not null,
    marked_at timestamptz not null default now()
);
comment on table rollup_marks is
    'Minutes, from the first to the last included, whose rollups are older than their readings';
"""

TEXTS = """
alter table readings_text rename to readings_text_old;
drop index readings_text_series_taken;
create table readings_text (
    series_id integer not null,
    taken_at timestamptz not null,
    quality smallint not null,
    value text
) partition by range (taken_at);
create index readings_text_series_taken on readings_text (series_id, taken_at);
create table readings_text_default partition of readings_text default;
comment on table readings_text is 'Texts, and integers beyond 2^53, which a double would alter';
"""

PARTITIONS = """
create function make_partition(parent text, piece text, instant text, from_at timestamptz, to_at timestamptz)
returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if to_regclass(format('public.%I', piece)) is not null then
        return false;
    end if;
    execute format('create table public.%I (like public.%I including all)', piece, parent);
    -- Rows that came before their piece was made have to leave the default partition first.
    execute format(
        'with early as (delete from public.%I where %I >= %L and %I < %L returning *)'
        ' insert into public.%I select * from early',
        parent || '_default', instant, from_at, instant, to_at, piece);
    execute format('alter table public.%I attach partition public.%I for values from (%L) to (%L)',
        parent, piece, from_at, to_at);
    return true;
end
$$;
revoke all on function make_partition(text, text, text, timestamptz, timestamptz) from public;

create or replace function make_reading_partitions(from_at timestamptz, to_at timestamptz) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    week timestamptz := date_trunc('week', from_at, 'UTC');
    next_week timestamptz;
    year timestamptz;
    name text;
    made integer := 0;
begin
    if from_at < '2000-01-03 00:00:00+00' or to_at > now() + interval '60 days' or to_at < from_at then
        raise exception 'no partitions for % to %: outside 2000 to 60 days from now', from_at, to_at;
    end if;
    perform pg_advisory_xact_lock(hashtextextended('lms.make_reading_partitions', 0));
    while week <= to_at loop
        next_week := week + interval '7 days';
        name := to_char(week at time zone 'UTC', 'IYYY"w"IW');
        -- Always in this order, which is that of the refresher too: readings before rollups, short before long.
        if public.make_partition('readings', 'readings_' || name, 'taken_at', week, next_week) then
            made := made + 1;
        end if;
        perform public.make_partition('readings_text', 'readings_text_' || name, 'taken_at', week, next_week);
        perform public.make_partition('rollup_1m', 'rollup_1m_' || name, 'bucket', week, next_week);
        for year in
            select distinct date_trunc('year', day, 'UTC') from (values (week), (next_week)) as days (day) order by 1
        loop
            name := 'rollup_1h_' || to_char(year at time zone 'UTC', 'YYYY');
            perform public.make_partition('rollup_1h', name, 'bucket',
                year, ((year at time zone 'UTC') + interval '1 year') at time zone 'UTC');
        end loop;
        week := next_week;
    end loop;
    return made;
end
$$;
"""

FILL = """
do $$
declare
    week timestamptz;
begin
    -- Weeks that `readings` has already get the other pieces too, and those just ahead.
    for week in
        select to_date(substring(relname from 10), 'IYYY"w"IW')::timestamp at time zone 'UTC' from pg_class
        where relname ~ '^readings_[0-9]{4}w[0-9]{2}$' and relkind = 'r' order by 1
    loop
        perform make_reading_partitions(week, week);
    end loop;
end
$$;
insert into readings_text select * from readings_text_old;
drop table readings_text_old;
"""

MARK_EVERYTHING = """
insert into rollup_marks (bioreactor_id, from_at, to_at)
select distinct s.bioreactor_id, day, day + interval '1 day' - interval '1 minute'
from (
    select series_id, date_bin('1 day', taken_at, '1970-01-01Z') from readings
    union select series_id, date_bin('1 day', taken_at, '1970-01-01Z') from readings_text
) as days (series_id, day) join series s on s.id = days.series_id
"""

ONE_TABLE = """
alter table readings_text rename to readings_text_cut;
alter index readings_text_series_taken rename to readings_text_cut_series_taken;
create table readings_text (
    series_id integer not null,
    taken_at timestamptz not null,
    quality smallint not null,
    value text
);
create index readings_text_series_taken on readings_text (series_id, taken_at);
comment on table readings_text is 'Texts, and integers beyond 2^53, which a double would alter';
insert into readings_text select * from readings_text_cut;
drop table readings_text_cut;
"""
FORMER_PARTITIONS = """
create or replace function make_reading_partitions(from_at timestamptz, to_at timestamptz) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    week timestamptz := date_trunc('week', from_at, 'UTC');
    next_week timestamptz;
    name text;
    made integer := 0;
begin
    if from_at < '2000-01-03 00:00:00+00' or to_at > now() + interval '60 days' or to_at < from_at then
        raise exception 'no partitions for % to %: outside 2000 to 60 days from now', from_at, to_at;
    end if;
    perform pg_advisory_xact_lock(hashtextextended('lms.make_reading_partitions', 0));
    while week <= to_at loop
        next_week := week + interval '7 days';
        name := 'readings_' || to_char(week at time zone 'UTC', 'IYYY"w"IW');
        if to_regclass(format('public.%I', name)) is null then
            execute format('create table public.%I (like public.readings including all)', name);
            -- Readings that came before their week was made have to leave the default partition first.
            execute format(
                'with early as (delete from public.readings_default where taken_at >= %L and taken_at < %L returning *)'
                ' insert into public.%I select * from early', week, next_week, name);
            execute format('alter table public.readings attach partition public.%I for values from (%L) to (%L)',
                name, week, next_week);
            made := made + 1;
        end if;
        week := next_week;
    end loop;
    return made;
end
$$;
"""


def upgrade() -> None:
    """Make the tables, cut them, and mark what is stored already."""
    op.execute(ROLLUPS)
    for table in ("rollup_1m", "rollup_1h", "rollup_1d"):
        for column, meaning in MEANINGS.items():
            op.execute(f"comment on column {table}.{column} is '{meaning}'")
        grant(table, web="select", ingest="select, insert, update")
    op.execute(MARKS)
    grant("rollup_marks", ingest="select, insert, delete")
    op.execute(TEXTS)
    grant("readings_text", web="select", ingest="select, insert")
    op.execute(PARTITIONS)
    op.execute(FILL)
    # Row security is forced on the owner too: for this once, he has to see whose the readings are.
    op.execute("alter table series no force row level security")
    op.execute(MARK_EVERYTHING)
    op.execute("alter table series force row level security")


def downgrade() -> None:
    """Drop the rollups, and put all texts into one table again; the weeks of `readings` stay."""
    refuse_to_lose(
        revision,
        Loss(
            "the rollups of days whose readings are there no longer",
            "rollup_1d",
            "not exists (select from readings x where x.series_id = r.series_id and x.taken_at >= r.bucket"
            " and x.taken_at < r.bucket + interval '1 day')"
            " and not exists (select from readings_text x where x.series_id = r.series_id and x.taken_at >= r.bucket"
            " and x.taken_at < r.bucket + interval '1 day')",
        ),
    )
    op.execute("drop table rollup_marks, rollup_1m, rollup_1h, rollup_1d")
    op.execute(ONE_TABLE)
    grant("readings_text", web="select", ingest="select, insert")
    op.execute(FORMER_PARTITIONS)
    op.execute("drop function make_partition(text, text, text, timestamptz, timestamptz)")
