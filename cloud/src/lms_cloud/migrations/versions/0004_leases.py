"""When agents were asked for their births: one limit for all ingest workers.

Revision ID: 0004
Revises: 0003
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.execute("alter table agent_status add column births_asked_at timestamptz")


def downgrade() -> None:
    """Drop it."""
    op.execute("alter table agent_status drop column births_asked_at")
