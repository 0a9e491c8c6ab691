"""Latest values by the block: a commit writes one row a bioreactor, and not one for each of its tags.

`latest` is a view now, with the columns it had and the bioreactor; it shows each role what row security of
`latest_blocks` lets that role see. What is in the table is carried over, in both directions.

Revision ID: 0013
Revises: 0012
"""

from alembic import op

from lms_cloud.kernel.tenancy import enable_rls, grant, ingest_policy, secure_tenant_table

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

BLOCKS = """
alter table latest rename to former_latest;
create table latest_blocks (
    bioreactor_id uuid not null references entities (id),
    block integer not null,
    organization_id uuid not null references entities (id),
    version bigint not null,
    series integer[] not null,
    taken_at timestamptz[] not null,
    number bigint[] not null,
    quality smallint[] not null,
    kind smallint[] not null,
    value double precision[] not null,
    text text[],
    primary key (bioreactor_id, block)
) with (fillfactor = 40, toast_tuple_target = 8160);
comment on table latest_blocks is
    'The newest reading of each series, by the 128 series numbers from 128 times block on; read it as "latest"';
comment on column latest_blocks.version is 'counts the writes: who writes says which one he knew';
comment on column latest_blocks.number is 'batch numbers: decide between readings of the same millisecond';
comment on column latest_blocks.kind is '0: value counts; 1: there is no value; 2: text counts';
create view latest with (security_invoker = true) as
select l.bioreactor_id, each.series_id, each.taken_at, each.quality,
    case when each.kind = 0 then each.value end as value, each.text, each.number
from latest_blocks l,
    unnest(l.series, l.taken_at, l.quality, l.kind, l.value, l.text, l.number)
    as each (series_id, taken_at, quality, kind, value, text, number);
comment on view latest is 'The newest reading of each series';
"""
CARRY_OVER = """
insert into latest_blocks
    (bioreactor_id, block, organization_id, version, series, taken_at, number, quality, kind, value, text)
select s.bioreactor_id, l.series_id / 128, s.organization_id, 1,
    array_agg(l.series_id order by l.series_id), array_agg(l.taken_at order by l.series_id),
    array_agg(l.number order by l.series_id), array_agg(l.quality order by l.series_id),
    array_agg(case when l.text is not null then 2 when l.value is null then 1 else 0 end order by l.series_id),
    array_agg(coalesce(l.value, 0) order by l.series_id),
    case when bool_or(l.text is not null) then array_agg(l.text order by l.series_id) end
from former_latest l join series s on s.id = l.series_id
group by s.bioreactor_id, l.series_id / 128, s.organization_id;
drop table former_latest;
"""
FORMER = """
alter view latest rename to latest_of_blocks;
create table latest (
    series_id integer primary key references series (id),
    taken_at timestamptz not null,
    quality smallint not null,
    value double precision,
    text text,
    number bigint not null
) with (fillfactor = 50);
comment on column latest.number is 'batch number: decides between readings of the same millisecond';
insert into latest select series_id, taken_at, quality, value, text, number from latest_of_blocks;
drop view latest_of_blocks;
drop table latest_blocks;
"""


def upgrade() -> None:
    """Make the blocks of what is in the table, and the view in its place."""
    op.execute(BLOCKS)
    # Row security is forced on the owner too: for this once, he has to see everything.
    for table in ("series", "former_latest"):
        op.execute(f"alter table {table} no force row level security")
    op.execute(CARRY_OVER)
    op.execute("alter table series force row level security")
    secure_tenant_table("latest_blocks", web="select", ingest="select, insert, update", ingest_all=True)
    grant("latest", web="select", ingest="select")


def downgrade() -> None:
    """Make one row a series again."""
    op.execute("alter table latest_blocks no force row level security")
    op.execute(FORMER)
    enable_rls("latest")
    op.execute("create policy latest_tenant on latest for select using (series_id in (select id from series))")
    ingest_policy("latest")
    grant("latest", web="select", ingest="select, insert, update")
