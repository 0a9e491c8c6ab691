"""Pages may see which minutes wait for their rollups, so that a history that is behind can say so.

Revision ID: 0010
Revises: 0009
"""

from alembic import op

from lms_cloud.kernel.tenancy import WEB, grant

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Grant it: marks hold nothing but times, by the number of a bioreactor."""
    grant("rollup_marks", web="select")


def downgrade() -> None:
    """Take it back."""
    op.execute(f"revoke select on rollup_marks from {WEB}")  # noqa: S608 - put together from constants
