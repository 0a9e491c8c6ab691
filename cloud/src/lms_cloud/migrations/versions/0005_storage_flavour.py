"""Which flavour the readings are stored in: plain PostgreSQL, or TimescaleDB.

Every migration leaves a plain database behind. `lms_cloud.telemetry.storage.flavours` turns a new one into
TimescaleDB where the server has that, and an old one when it is told to; from then on TimescaleDB makes pieces
itself.

Revision ID: 0005
Revises: 0004
"""

from alembic import op

from lms_cloud.kernel.tenancy import INGEST, grant

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

STATE = """
create table storage_state (
    only_row boolean primary key default true check (only_row),
    flavour text not null default 'plain' check (flavour in ('plain', 'timescaledb')),
    since timestamptz not null default now()
);
insert into storage_state default values;
comment on table storage_state is 'How readings and rollups are stored: see docs/storage.md';
"""

PARTITIONS = """
alter function make_reading_partitions(timestamptz, timestamptz) rename to make_plain_partitions;
revoke all on function make_plain_partitions(timestamptz, timestamptz) from public, {ingest};
create function make_reading_partitions(from_at timestamptz, to_at timestamptz) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if (select flavour from public.storage_state) = 'timescaledb' then
        return 0;
    end if;
    return public.make_plain_partitions(from_at, to_at);
end
$$;
comment on function make_reading_partitions is 'Make the weeks from one instant to another that are missing';
revoke all on function make_reading_partitions(timestamptz, timestamptz) from public;
grant execute on function make_reading_partitions(timestamptz, timestamptz) to {ingest};
"""


def upgrade() -> None:
    """Note that the database is plain."""
    op.execute(STATE)
    grant("storage_state", web="select", ingest="select")
    op.execute(PARTITIONS.format(ingest=INGEST))


def downgrade() -> None:
    """Forget the flavour; a database of TimescaleDB's flavour cannot go back."""
    op.execute(
        "do $$ begin if (select flavour from storage_state) <> 'plain' then"
        " raise exception 'the readings are in TimescaleDB hypertables, which the former version does not know';"
        " end if; end $$"
    )
    op.execute("drop function make_reading_partitions(timestamptz, timestamptz)")
    op.execute("alter function make_plain_partitions(timestamptz, timestamptz) rename to make_reading_partitions")
    op.execute(f"grant execute on function make_reading_partitions(timestamptz, timestamptz) to {INGEST}")
    op.execute("drop table storage_state")
