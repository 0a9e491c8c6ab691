"""What makes completeness quick to tell: committed numbers of each stream, and the hours of each bioreactor.

Both are counted in the transaction that writes the ledger; here they are counted once from the ledger that is there.

Revision ID: 0009
Revises: 0008
"""

from alembic import op

from lms_cloud.kernel.losing import Loss, refuse_to_lose
from lms_cloud.kernel.tenancy import secure_tenant_table

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TABLES = """
alter table streams
    add column committed int8multirange not null default '{}',
    add column head bigint,
    add column head_at timestamptz;
comment on column streams.committed is 'numbers that are in the ledger, dead ones among them';
comment on column streams.head is 'the last number in the log, as its agent told at its last birth';

create table ledger_hours (
    stream uuid not null,
    bioreactor_id uuid not null,
    hour timestamptz not null,
    organization_id uuid not null,
    batches bigint not null,
    late bigint not null,
    readings bigint not null,
    primary key (stream, bioreactor_id, hour)
) with (fillfactor = 50);
create index ledger_hours_bioreactor on ledger_hours (bioreactor_id, hour);
comment on table ledger_hours is 'Stored batches by the hour (UTC) of their first reading';
comment on column ledger_hours.late is 'of those, how many were sent late; not counted before this table was';
create index ledger_dead on ledger (stream, number) where dead;
"""
# Row security holds for the owner too; it is off for these two statements, inside this transaction.
COUNT = """
alter table ledger no force row level security;
alter table streams no force row level security;
alter table ledger_hours no force row level security;
update streams s set committed = l.numbers
from (select stream, range_agg(int8range(number, number + 1)) as numbers from ledger group by stream) l
where l.stream = s.id;
insert into ledger_hours
select stream, bioreactor_id, date_trunc('hour', first_taken_at, 'UTC'), organization_id, count(*), 0, sum(readings)
from ledger where not dead and first_taken_at is not null group by 1, 2, 3, 4;
alter table ledger force row level security;
alter table streams force row level security;
alter table ledger_hours force row level security;
"""


def upgrade() -> None:
    """Make them, and count."""
    op.execute(TABLES)
    secure_tenant_table("ledger_hours", web="select", ingest="select, insert, update", ingest_all=True)
    op.execute(COUNT)


def downgrade() -> None:
    """Drop them."""
    refuse_to_lose(
        revision,
        Loss("how many batches were sent late", "ledger_hours", "r.late > 0"),
    )
    op.execute("drop index ledger_dead")
    op.execute("drop table ledger_hours")
    op.execute("alter table streams drop column committed, drop column head, drop column head_at")
