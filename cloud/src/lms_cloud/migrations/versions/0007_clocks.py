"""What the agents' clocks were like: one row for each clock record, written with the batch that carried it.

A record holds for all batches of its stream from `from_number` on, until the next one; so boot, time since boot and
trust of every reading are known at no cost per reading.

Revision ID: 0007
Revises: 0006
"""

from alembic import op

from lms_cloud.kernel.losing import Loss, refuse_to_lose
from lms_cloud.kernel.tenancy import secure_tenant_table

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TABLE = """
create table clocks (
    stream uuid not null,
    from_number bigint not null,
    organization_id uuid not null,
    from_at timestamptz not null,
    boot uuid not null,
    offset_ms bigint not null,
    trusted boolean not null,
    error_ms bigint,
    correction_ms bigint not null,
    estimated boolean not null,
    committed_at timestamptz not null default now(),
    primary key (stream, from_number)
);
comment on table clocks is 'How far the times of a stream''s batches can be trusted, from from_number on';
comment on column clocks.from_at is 'time of the first reading for which it holds';
comment on column clocks.offset_ms is 'the agent''s time minus the time since boot: taken_at - offset_ms is since boot';
comment on column clocks.error_ms is 'system clock minus agent''s time; null: not known';
"""


def upgrade() -> None:
    """Make the table."""
    op.execute(TABLE)
    secure_tenant_table("clocks", web="select", ingest="select, insert", ingest_all=True)


def downgrade() -> None:
    """Drop it: readings stay, what their times are worth is no longer known."""
    refuse_to_lose(
        revision,
        Loss("how far the times of readings can be trusted", "clocks"),
    )
    op.execute("drop table clocks")
