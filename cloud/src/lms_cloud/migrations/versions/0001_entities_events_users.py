"""Entities, events, users, memberships and sessions, each under forced row security."""

from alembic import op

from lms_cloud.kernel.losing import Loss, refuse_to_lose
from lms_cloud.kernel.tenancy import (
    INGEST,
    WEB,
    create_scope_functions,
    drop_scope_functions,
    enable_rls,
    grant,
    ingest_policy,
    secure_tenant_table,
    tenant_policy,
)

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.execute("revoke create on schema public from public")
    op.execute(f"grant usage on schema public to {WEB}, {INGEST}")
    create_scope_functions()
    _create_accounts()
    _create_entities()
    _create_events()


def downgrade() -> None:
    """Drop them. The group roles stay: other databases of the same server may use them."""
    refuse_to_lose(
        revision,
        Loss("organizations and everything that belongs to them, their events among it", "entities"),
        Loss("people and their passwords", "users"),
    )
    for table in ("events", "entities", "sessions", "memberships", "passwords", "users"):
        op.execute(f"drop table {table}")
    op.execute("drop function lms_refuse_event_change()")
    drop_scope_functions()


def _create_accounts() -> None:
    op.execute("""
        create table users (
            id uuid primary key,
            email text not null check (email = lower(email) and length(email) between 3 and 320),
            name text check (length(name) between 1 and 100),
            is_active boolean not null,
            created_at timestamptz not null,
            updated_at timestamptz not null,
            organization_id uuid
        )""")
    op.execute("create unique index users_email on users (email)")
    op.execute("""
        create table passwords (
            user_id uuid primary key references users on delete cascade,
            hash text not null,
            changed_at timestamptz not null
        )""")
    op.execute("""
        create table memberships (
            organization_id uuid not null,
            user_id uuid not null references users on delete cascade,
            role text not null check (role in ('owner', 'admin', 'scientist', 'technician', 'viewer')),
            created_at timestamptz not null,
            primary key (organization_id, user_id)
        )""")
    op.execute("create index memberships_user on memberships (user_id)")
    op.execute("""
        create table sessions (
            id uuid primary key,
            token_hash bytea not null unique,
            user_id uuid not null references users on delete cascade,
            created_at timestamptz not null,
            seen_at timestamptz not null,
            idle_s integer not null check (idle_s > 0),
            expires_at timestamptz not null
        )""")
    op.execute("create index sessions_user on sessions (user_id)")
    for table in ("users", "passwords", "memberships", "sessions"):
        enable_rls(table)

    tenant_policy("memberships")
    op.execute("create policy memberships_own on memberships for select using (user_id = lms_user_id())")
    grant("memberships", web="select, insert, update, delete")

    # Before anyone is logged in, the account whose address is claimed is seen, and no other.
    own = "id = lms_user_id() or email = lms_login_email()"
    op.execute(f"create policy users_own on users for all using ({own}) with check ({own})")
    members = "id in (select user_id from memberships where organization_id = lms_organization_id())"
    op.execute(f"create policy users_members on users for select using ({members})")
    grant("users", web="select, insert, update")

    own = "user_id = lms_user_id() or user_id in (select id from users where email = lms_login_email())"
    op.execute(f"create policy passwords_own on passwords for all using ({own}) with check ({own})")
    grant("passwords", web="select, insert, update")

    op.execute(
        "create policy sessions_own on sessions for all"
        " using (user_id = lms_user_id() or token_hash = lms_session_hash()) with check (user_id = lms_user_id())"
    )
    grant("sessions", web="select, insert, update, delete")


def _create_entities() -> None:
    op.execute("""
        create table entities (
            id uuid primary key,
            entity_type text not null,
            name text not null check (length(name) between 1 and 100),
            description text check (length(description) between 1 and 500),
            organization_id uuid not null,
            properties jsonb not null check (jsonb_typeof(properties) = 'object'),
            created_at timestamptz not null,
            updated_at timestamptz not null,
            is_active boolean not null,
            version integer not null,
            check (entity_type <> 'organization' or id = organization_id)
        )""")
    op.execute("create index entities_organization on entities (organization_id, entity_type)")
    op.execute(
        "create unique index entities_group on entities ((properties ->> 'wire_id'))"
        " where entity_type = 'organization' and is_active"
    )
    op.execute(
        "create unique index entities_wire_id on entities (organization_id, entity_type, (properties ->> 'wire_id'))"
        " where entity_type in ('agent', 'bioreactor') and is_active"
    )
    op.execute(
        "create unique index entities_tag on entities ((properties ->> 'bioreactor_id'), name)"
        " where entity_type = 'tag' and is_active"
    )
    secure_tenant_table("entities", web="select, insert, update", ingest="select, insert, update")
    # Ingest finds whose a message is by its wire ids; what it writes, it writes as that one organization.
    ingest_policy(
        "entities", command="select", condition="entity_type in ('organization', 'agent', 'bioreactor', 'tag')"
    )
    # The operator, who connects as the owner, finds an organization before entering it.
    op.execute(
        "create policy entities_operator on entities for select to current_user using (entity_type = 'organization')"
    )
    # A user sees the organizations that he is a member of, to choose between them.
    op.execute(
        "create policy entities_own_organizations on entities for select to lms_web, current_user"
        " using (entity_type = 'organization'"
        " and id in (select organization_id from memberships where user_id = lms_user_id()))"
    )


def _create_events() -> None:
    op.execute("""
        create table events (
            organization_id uuid not null,
            sequence bigint not null check (sequence > 0),
            id uuid not null unique,
            at timestamptz not null,
            actor text not null,
            reason text,
            kind text not null,
            entity_type text not null,
            entity_id uuid not null,
            before jsonb,
            after jsonb,
            previous_hash bytea not null check (length(previous_hash) = 32),
            hash bytea not null check (length(hash) = 32),
            primary key (organization_id, sequence)
        )""")
    op.execute("create index events_entity on events (entity_id)")
    secure_tenant_table("events", web="select, insert", ingest="select, insert")
    op.execute("""
        create function lms_refuse_event_change() returns trigger language plpgsql as $$
        begin
            raise exception 'events are append-only: % is refused', lower(tg_op) using errcode = '42501';
        end $$""")
    op.execute(
        "create trigger events_append_only before update or delete or truncate on events"
        " for each statement execute function lms_refuse_event_change()"
    )
