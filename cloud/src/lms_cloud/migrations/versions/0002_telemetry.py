"""Readings and what surrounds them: series, ledger, streams, latest values, gaps, dead letters, feeds.

Readings carry no tenant, as no columnstore allows row security: they hang on a series number, and the application
reaches them only through `series`, which row security guards. They carry no unique index either: the ledger makes
them unique.

Partitions are weeks (Monday 00:00 UTC). `make_reading_partitions` makes them with the owner's rights, so that the
ingest role owns nothing; what falls outside the weeks made, such as a clock that says 1970, goes to the default one.

Revision ID: 0002
Revises: 0001
"""

from alembic import op

from lms_cloud.kernel.losing import Loss, refuse_to_lose
from lms_cloud.kernel.tenancy import INGEST, enable_rls, grant, ingest_policy, secure_tenant_table

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = """
create table series (
    id integer generated always as identity primary key,
    organization_id uuid not null references entities (id),
    bioreactor_id uuid not null references entities (id),
    tag_id uuid not null unique references entities (id),
    datatype smallint not null,
    described jsonb not null
);
create index series_bioreactor on series (bioreactor_id);
comment on column series.datatype is 'Sparkplug data type: says how to read the stored number or text';
comment on column series.described is 'the tag as its last birth told it: what people changed since stays changed';

create table readings (
    series_id integer not null,
    taken_at timestamptz not null,
    quality smallint not null,
    value double precision
) partition by range (taken_at);
create index readings_series_taken on readings (series_id, taken_at);
create table readings_default partition of readings default;
comment on table readings is 'Numbers and booleans (0 and 1); null: no value could be had, quality says why';

create table readings_text (
    series_id integer not null,
    taken_at timestamptz not null,
    quality smallint not null,
    value text
);
create index readings_text_series_taken on readings_text (series_id, taken_at);
comment on table readings_text is 'Texts, and integers beyond 2^53, which a double would alter';

create table latest (
    series_id integer primary key references series (id),
    taken_at timestamptz not null,
    quality smallint not null,
    value double precision,
    text text,
    number bigint not null
) with (fillfactor = 50);
comment on column latest.number is 'batch number: decides between readings of the same millisecond';

create table streams (
    id uuid primary key,
    organization_id uuid not null references entities (id),
    agent_id uuid not null references entities (id),
    acked bigint not null default 0,
    created_at timestamptz not null default now()
) with (fillfactor = 50);
create index streams_agent on streams (agent_id);

create table ledger (
    stream uuid not null,
    number bigint not null,
    organization_id uuid not null,
    bioreactor_id uuid not null,
    digest bytea not null,
    cursor bigint not null,
    first_taken_at timestamptz,
    last_taken_at timestamptz,
    readings integer not null,
    dead boolean not null default false,
    committed_at timestamptz not null default now(),
    primary key (stream, number)
);
create index ledger_bioreactor_cursor on ledger (bioreactor_id, cursor);
comment on table ledger is 'One row a batch, written with its readings: what makes them exactly once';
comment on column ledger.dead is 'the batch could not be stored; its bytes are in dead_letters';

create table gaps (
    stream uuid not null,
    gap bigint not null,
    organization_id uuid not null,
    bioreactor_id uuid not null,
    series integer[] not null,
    began_at timestamptz not null,
    ended_at timestamptz,
    reason text not null,
    primary key (stream, gap)
);
create index gaps_bioreactor_began on gaps (bioreactor_id, began_at);

create table dead_letters (
    id bigint generated always as identity primary key,
    organization_id uuid,
    kind text not null check (kind in ('poison', 'conflict')),
    topic text not null,
    payload bytea not null,
    digest bytea not null,
    reason text not null,
    stream uuid,
    number bigint,
    first_at timestamptz not null default now(),
    last_at timestamptz not null default now(),
    times integer not null default 1,
    unique (topic, digest)
);

create table feeds (
    bioreactor_id uuid primary key references entities (id),
    organization_id uuid not null references entities (id),
    cursor bigint not null default 0,
    agent_id uuid references entities (id),
    online boolean not null default false,
    since timestamptz
) with (fillfactor = 50);
create index feeds_agent on feeds (agent_id);
comment on column feeds.agent_id is 'the agent that announced the bioreactor last';
comment on column feeds.cursor is 'counts the commits that touched the bioreactor; a reader that missed one sees it';

create table agent_status (
    agent_id uuid primary key references entities (id),
    organization_id uuid not null references entities (id),
    online boolean not null default false,
    since timestamptz,
    stream uuid
) with (fillfactor = 50);
"""

PARTITIONS = """
create function make_reading_partitions(from_at timestamptz, to_at timestamptz) returns integer
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
revoke all on function make_reading_partitions(timestamptz, timestamptz) from public;
select make_reading_partitions(now() - interval '7 days', now() + interval '14 days');
"""

WRITTEN_ONCE = "select, insert"
UPDATED = "select, insert, update"
TENANT_TABLES = {
    "series": UPDATED,
    "streams": UPDATED,
    "ledger": WRITTEN_ONCE,
    "gaps": UPDATED,
    "dead_letters": UPDATED,
    "feeds": UPDATED,
    "agent_status": UPDATED,
}


def upgrade() -> None:
    """Make the tables, their row security and the first partitions."""
    op.execute(TABLES)
    for table, privileges in TENANT_TABLES.items():
        secure_tenant_table(table, web="select", ingest=privileges, ingest_all=True)
    enable_rls("latest")
    op.execute("create policy latest_tenant on latest for select using (series_id in (select id from series))")
    ingest_policy("latest")
    grant("latest", web="select", ingest=UPDATED)
    for table in ("readings", "readings_text"):
        grant(table, web="select", ingest=WRITTEN_ONCE)
    op.execute(PARTITIONS)
    op.execute(f"grant execute on function make_reading_partitions(timestamptz, timestamptz) to {INGEST}")


def downgrade() -> None:
    """Drop it all; the readings are gone afterwards."""
    refuse_to_lose(
        revision,
        Loss("all readings", "readings"),
        Loss("all readings of texts and large integers", "readings_text"),
        Loss("which batches were taken in", "ledger"),
        Loss("the bytes of dead letters", "dead_letters"),
    )
    op.execute("drop function make_reading_partitions(timestamptz, timestamptz)")
    op.execute(
        "drop table agent_status, feeds, dead_letters, gaps, ledger, streams, latest, readings_text, readings, series"
    )
