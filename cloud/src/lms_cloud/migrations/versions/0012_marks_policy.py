"""Row security on the marks of waiting rollups: pages see those of their own organization's bioreactors.

Marks carry no organization: whose they are, the bioreactor's series say, which row security guards. The owner sees all
of them: `remove_piece`, which runs with his rights, must not take a piece for done because it cannot see what waits.

Revision ID: 0012
Revises: 0011
"""

from alembic import op

from lms_cloud.kernel.tenancy import enable_rls, ingest_policy

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Turn it on."""
    enable_rls("rollup_marks")
    op.execute(
        "create policy rollup_marks_tenant on rollup_marks for all"
        " using (exists (select from series s where s.bioreactor_id = rollup_marks.bioreactor_id))"
    )
    ingest_policy("rollup_marks")
    op.execute("create policy rollup_marks_owner on rollup_marks for select to current_user using (true)")


def downgrade() -> None:
    """Turn it off: pages see the times that wait of every organization again."""
    op.execute("drop policy rollup_marks_owner on rollup_marks")
    op.execute("drop policy rollup_marks_ingest_all on rollup_marks")
    op.execute("drop policy rollup_marks_tenant on rollup_marks")
    op.execute("alter table rollup_marks no force row level security, disable row level security")
