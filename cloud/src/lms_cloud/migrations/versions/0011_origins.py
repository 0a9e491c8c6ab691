"""Where batches that agents logged anew were logged first, so that their readings are taken in once.

One row for each batch with an origin whose readings were stored, written in the transaction that stores them.

Revision ID: 0011
Revises: 0010
"""

from alembic import op

from lms_cloud.kernel.losing import Loss, refuse_to_lose
from lms_cloud.kernel.tenancy import secure_tenant_table

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TABLE = """
create table origins (
    bioreactor_id uuid not null,
    stream uuid not null,
    number bigint not null,
    content bytea not null,
    organization_id uuid not null,
    into_stream uuid not null,
    into_number bigint not null,
    primary key (bioreactor_id, stream, number, content)
);
comment on table origins is 'Where batches that were logged anew were logged first, and as what taken in';
comment on column origins.content is 'fingerprint of series, times, qualities and values';
"""


def upgrade() -> None:
    """Make the table."""
    op.execute(TABLE)
    secure_tenant_table("origins", web="select", ingest="select, insert", ingest_all=True)


def downgrade() -> None:
    """Drop it: a batch that is logged anew once more is then stored once more."""
    refuse_to_lose(
        revision,
        Loss("where batches were logged first: one that comes again would be stored again", "origins"),
    )
    op.execute("drop table origins")
