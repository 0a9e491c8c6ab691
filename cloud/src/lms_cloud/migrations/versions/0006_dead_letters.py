"""Dead letters that people see and have stored after all.

The web workers may say that a letter is to be read again; only ingest writes readings. A ledger row may be changed in
one way only: from dead to alive.

Revision ID: 0006
Revises: 0005
"""

from alembic import op

from lms_cloud.kernel.losing import Loss, refuse_to_lose
from lms_cloud.kernel.tenancy import INGEST, WEB

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

COLUMNS = """
alter table dead_letters
    add column public_id uuid not null default gen_random_uuid() unique,
    add column bioreactor_id uuid,
    add column node text not null default '',
    add column birth jsonb,
    add column state text not null default 'open' check (state in ('open', 'asked', 'stored', 'dismissed')),
    add column refused text,
    add column changed_at timestamptz,
    add column changed_by text;
create index dead_letters_organization on dead_letters (organization_id, id);
create index dead_letters_asked on dead_letters (id) where state = 'asked';
create index dead_letters_open on dead_letters (bioreactor_id) where state in ('open', 'asked');
comment on column dead_letters.birth is 'what the numbers in the payload stood for: stream and metrics of the birth';
comment on column dead_letters.state is 'asked: ingest is to read it again; dismissed: somebody has seen it';
comment on column dead_letters.refused is 'why it could not be stored when it was last read again';
"""


def upgrade() -> None:
    """Add the columns, and who may change what."""
    op.execute(COLUMNS)
    op.execute(f"grant update (state, changed_at, changed_by) on dead_letters to {WEB}")
    changed = "dead, digest, cursor, first_taken_at, last_taken_at, readings, committed_at"
    op.execute(f"grant update ({changed}) on ledger to {INGEST}")
    op.execute(
        "create policy ledger_from_dead_to_alive on ledger as restrictive for update using (dead) with check (not dead)"
    )


def downgrade() -> None:
    """Drop them."""
    refuse_to_lose(
        revision,
        Loss("what became of dead letters, and what is needed to store them", "dead_letters"),
    )
    changed = "dead, digest, cursor, first_taken_at, last_taken_at, readings, committed_at"
    op.execute("drop index dead_letters_organization, dead_letters_asked, dead_letters_open")
    op.execute("drop policy ledger_from_dead_to_alive on ledger")
    op.execute(f"revoke update ({changed}) on ledger from {INGEST}")
    op.execute(f"revoke update (state, changed_at, changed_by) on dead_letters from {WEB}")
    for column in ("public_id", "bioreactor_id", "node", "birth", "state", "refused", "changed_at", "changed_by"):
        op.execute(f"alter table dead_letters drop column {column}")
