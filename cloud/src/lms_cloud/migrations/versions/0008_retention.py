"""Retention: what was removed and why, windows in which nothing is, and the two functions that remove.

Ingest may delete no reading. It runs `remove_piece`, which drops a whole piece (a partition, or a chunk of TimescaleDB)
with the owner's rights, but only one that is old enough, whose readings are in every rollup, and that no locked window
touches; and `fold_removed`, which adds readings that came for a piece already removed to the rollups, once, by removing
them with the same statement. Both write down what they removed.

Revision ID: 0008
Revises: 0007
"""

from alembic import op

from lms_cloud.kernel.losing import Loss, refuse_to_lose
from lms_cloud.kernel.tenancy import INGEST, grant, secure_tenant_table

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TABLES = """
create table storage_removals (
    id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    level text not null check (level in ('readings', 'rollup_1m', 'rollup_1h')),
    from_at timestamptz not null,
    to_at timestamptz not null,
    readings bigint not null,
    bytes bigint not null,
    keep_days integer,
    reason text not null check (reason in ('retention', 'late')),
    by text not null default session_user
);
create index storage_removals_level on storage_removals (level, from_at);
comment on table storage_removals is 'What retention removed: no reading disappears without a row here';
comment on column storage_removals.readings is 'how many readings it held, or, of a rollup, stood for';
comment on column storage_removals.reason is
    'retention: a piece older than keep_days; late: readings that came after their piece was removed';

create table locked_windows (
    id integer generated always as identity primary key,
    organization_id uuid not null references entities (id),
    bioreactor_id uuid references entities (id),
    from_at timestamptz not null,
    to_at timestamptz not null check (to_at > from_at),
    reason text not null,
    locked_at timestamptz not null default now(),
    unlocked_at timestamptz
);
comment on table locked_windows is 'Nothing that was read in these is removed, until they are unlocked';
"""

FUNCTIONS = """
create function storage_pieces() returns table (relation text, piece text, from_at timestamptz, to_at timestamptz)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp set timezone = 'UTC'
as $$
begin
    if (select flavour from public.storage_state) = 'timescaledb' then
        return query execute
            'select hypertable_name::text, format(''%I.%I'', chunk_schema, chunk_name), range_start,'
            '    least(range_end, timestamptz ''9999-12-31Z'') from timescaledb_information.chunks'
            ' where hypertable_schema = ''public'' and hypertable_name in'
            '    (''readings'', ''readings_text'', ''rollup_1m'', ''rollup_1h'')';
    else
        return query
            select parent.relname::text, format('%I.%I', 'public', child.relname), bounds[1]::timestamptz,
                bounds[2]::timestamptz
            from pg_inherits
                join pg_class parent on parent.oid = inhparent
                join pg_class child on child.oid = inhrelid
                cross join regexp_match(pg_get_expr(child.relpartbound, child.oid), $re$'(.+)'.+'(.+)'$re$) as bounds
            where parent.relnamespace = 'public'::regnamespace and bounds is not null
                and parent.relname in ('readings', 'readings_text', 'rollup_1m', 'rollup_1h');
    end if;
end
$$;
comment on function storage_pieces is
    'Every piece that has an end; absurd times lie in default partitions, which have none';

create function is_removed(of_level text, of_from timestamptz, of_to timestamptz) returns boolean
language sql stable set search_path = public, pg_catalog, pg_temp
as $$
    select exists (select from storage_removals
        where level = of_level and reason = 'retention' and from_at <= of_from and to_at >= of_to)
$$;

create function remove_piece(of_level text, of_from timestamptz, of_to timestamptz, of_keep_days integer) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '5s'
as $$
declare
    here record;
    shorter text[] := case of_level when 'readings' then '{}' when 'rollup_1m' then '{readings,readings_text}'
        when 'rollup_1h' then '{readings,readings_text,rollup_1m}' end;
    tables text[] := case of_level when 'readings' then '{readings,readings_text}' else array[of_level] end;
    is_timescale boolean := (select flavour = 'timescaledb' from public.storage_state);
    extension text := (select nspname from pg_extension e join pg_namespace n on n.oid = extnamespace
        where extname = 'timescaledb');
    filled boolean;
    any_filled boolean := false;
    freed bigint := 0;
    held bigint;
    why text;
begin
    if shorter is null or of_keep_days < 30 or of_to > now() - make_interval(days => of_keep_days) then
        raise exception 'retention removes nothing of % up to % that is to be kept for % days (at least 30)',
            of_level, of_to, of_keep_days;
    end if;
    perform pg_advisory_xact_lock(hashtextextended('lms.remove_piece', 0));  -- one worker at a time
    -- First the locks, then the questions: what commits while we wait for a lock is seen by the questions.
    for here in select * from public.storage_pieces() p
        where p.relation = any (tables) and p.from_at = of_from and p.to_at = of_to order by p.relation
    loop
        execute format('lock table %s in access exclusive mode', here.piece);
    end loop;
    if exists (select from public.rollup_marks m where m.from_at < of_to and m.to_at >= of_from) then
        return 'some of its readings are not in the rollups yet';
    end if;
    select reason into why from public.locked_windows w
        where w.unlocked_at is null and w.from_at < of_to and w.to_at > of_from limit 1;
    if why is not null then
        return format('it touches a locked window (%s)', why);
    end if;
    if exists (select from public.storage_pieces() p
        where p.relation = any (shorter) and p.from_at < of_to and p.to_at > of_from) then
        return 'what it was computed from is still there';
    end if;
    for here in select * from public.storage_pieces() p
        where p.relation = any (tables) and p.from_at = of_from and p.to_at = of_to order by p.relation
    loop
        execute format('select exists (select from %s)', here.piece) into filled;
        any_filled := any_filled or filled;
        if is_timescale then
            execute format('select coalesce(sum(total_bytes), 0) from %I.chunks_detailed_size(%L) s'
                ' where format(''%%I.%%I'', chunk_schema, chunk_name) = %L',
                extension, 'public.' || here.relation, here.piece) into held;
            freed := freed + held;
            execute format('select %I.drop_chunks(%L::regclass, older_than => %L::timestamptz,'
                ' newer_than => %L::timestamptz)',
                extension, 'public.' || here.relation, of_to, of_from);
        else
            freed := freed + pg_total_relation_size(here.piece);
            execute format('drop table %s', here.piece);
        end if;
    end loop;
    if any_filled then
        select coalesce(sum(readings), 0) into held from public.rollup_1d where bucket >= of_from and bucket < of_to;
        insert into public.storage_removals (level, from_at, to_at, readings, bytes, keep_days, reason)
        values (of_level, of_from, of_to, held, freed, of_keep_days, 'retention');
    end if;
    return null;
exception when lock_not_available then
    return 'it is in use';
end
$$;
comment on function remove_piece is 'Drop the piece of that level with those bounds; null, or why it was not dropped';

create function fold_removed(of_series integer[], of_from timestamptz, of_to timestamptz) returns bigint
language plpgsql security definer set search_path = public, pg_catalog, pg_temp
as $$
declare
    folded bigint;
begin
    if not is_removed('readings', of_from, of_to) then
        raise exception 'the readings from % to % have not been removed by retention', of_from, of_to;
    end if;
    with gone_numbers as (
        delete from readings where series_id = any (of_series) and taken_at >= of_from and taken_at < of_to
        returning series_id, taken_at, quality, value
    ), gone_texts as (
        delete from readings_text where series_id = any (of_series) and taken_at >= of_from and taken_at < of_to
        returning series_id, taken_at, quality,
            case when value ~ '^-?[0-9]{1,40}$' then cast(value as double precision) end as value
    ), gone as (
        select * from gone_numbers union all select * from gone_texts
    )FOLDS
    select count(*) into folded from gone;
    if folded > 0 then
        insert into storage_removals (level, from_at, to_at, readings, bytes, reason)
        values ('readings', of_from, of_to, folded, 0, 'late');
    end if;
    return folded;
end
$$;
comment on function fold_removed is 'Add readings of a removed piece to its rollups and remove them; how many';
"""

FOLD = """, {name} as (
        insert into {table} as r
            (series_id, bucket, count, minimum, maximum, total, first, last, first_at, last_at, worst, readings)
        select series_id, date_bin('{width}', taken_at, timestamptz '1970-01-01Z') as bucket,
            count(*) filter (where value > -1e300 and value < 1e300),
            min(value) filter (where value > '-Infinity' and value < 'Infinity'),
            max(value) filter (where value > '-Infinity' and value < 'Infinity'),
            sum(value) filter (where value > -1e300 and value < 1e300),
            (array_agg(value order by taken_at, value)
                filter (where value > '-Infinity' and value < 'Infinity'))[1],
            (array_agg(value order by taken_at desc, value desc)
                filter (where value > '-Infinity' and value < 'Infinity'))[1],
            min(taken_at), max(taken_at), min(case quality when 500 then 63 else quality end), count(*)
        from gone{unless} group by series_id, bucket
        on conflict (series_id, bucket) do update set
            count = r.count + excluded.count,
            minimum = least(r.minimum, excluded.minimum),
            maximum = greatest(r.maximum, excluded.maximum),
            total = case when r.total is null then excluded.total else r.total + coalesce(excluded.total, 0) end,
            first = case when excluded.first_at < r.first_at then coalesce(excluded.first, r.first)
                else coalesce(r.first, excluded.first) end,
            last = case when excluded.last_at > r.last_at then coalesce(excluded.last, r.last)
                else coalesce(r.last, excluded.last) end,
            first_at = least(r.first_at, excluded.first_at),
            last_at = greatest(r.last_at, excluded.last_at),
            worst = least(r.worst, excluded.worst),
            readings = r.readings + excluded.readings
    )"""
UNLESS_REMOVED = " where not is_removed('{table}', taken_at, taken_at)"
LEVELS = (("rollup_1m", "1 minute"), ("rollup_1h", "1 hour"), ("rollup_1d", "1 day"))


def upgrade() -> None:
    """Make tables and functions."""
    op.execute(TABLES)
    grant("storage_removals", web="select", ingest="select")
    secure_tenant_table("locked_windows", web="select", ingest="select", ingest_all=True)
    # The functions run with the owner's rights, and must see every tenant's windows.
    op.execute("create policy locked_windows_owner on locked_windows for select to current_user using (true)")
    folds = "".join(
        FOLD.format(
            name=f"to_{table}",
            table=table,
            width=width,
            unless="" if table == "rollup_1d" else UNLESS_REMOVED.format(table=table),
        )
        for table, width in LEVELS
    )
    op.execute(FUNCTIONS.replace("FOLDS", folds))
    for function in (
        "storage_pieces()",
        "remove_piece(text, timestamptz, timestamptz, integer)",
        "fold_removed(integer[], timestamptz, timestamptz)",
    ):
        op.execute(f"revoke all on function {function} from public")
        op.execute(f"grant execute on function {function} to {INGEST}")


def downgrade() -> None:
    """Drop it all; what was removed stays removed."""
    refuse_to_lose(
        revision,
        Loss(
            "which readings retention has removed: rollups of those weeks would be computed anew from what comes late",
            "storage_removals",
        ),
        Loss("windows locked against retention", "locked_windows", "r.unlocked_at is null"),
    )
    op.execute("drop function fold_removed(integer[], timestamptz, timestamptz)")
    op.execute("drop function remove_piece(text, timestamptz, timestamptz, integer)")
    op.execute("drop function is_removed(text, timestamptz, timestamptz)")
    op.execute("drop function storage_pieces()")
    op.execute("drop table locked_windows, storage_removals")
