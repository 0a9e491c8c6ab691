"""What migrations say about tenants: roles, row security and grants, in the same words everywhere.

    lms_web       group role of the web workers: sees one organization per transaction
    lms_ingest    group role of the ingest workers: serves all organizations, where a table lets it
    the owner     migrates; row security is forced on it too

Neither group role can log in, owns anything, or passes by row security. Login roles are made by
`lms-cloud database-user` as members of one of them. Used by migrations/versions; needs Alembic's operations context.
"""

from alembic import op

WEB = "lms_web"
INGEST = "lms_ingest"
ORGANIZATION = "lms_organization_id()"
USER = "lms_user_id()"


def create_scope_functions() -> None:
    """SQL functions that give what `Database.unit_of_work` has set for the transaction; null where nothing is."""
    for name, type_ in (("organization_id", "uuid"), ("user_id", "uuid"), ("login_email", "text")):
        op.execute(
            f"create function lms_{name}() returns {type_} language sql stable parallel safe"
            f" as $$ select nullif(current_setting('lms.{name}', true), '')::{type_} $$"
        )
    op.execute(
        "create function lms_session_hash() returns bytea language sql stable parallel safe"
        " as $$ select decode(nullif(current_setting('lms.session_hash', true), ''), 'hex') $$"
    )


def drop_scope_functions() -> None:
    """Undo `create_scope_functions`."""
    for name in ("organization_id", "user_id", "login_email", "session_hash"):
        op.execute(f"drop function lms_{name}()")


def enable_rls(table: str) -> None:
    """Turn row security on for everyone, the owner included. Without a policy no row is seen or written."""
    op.execute(f"alter table {table} enable row level security")
    op.execute(f"alter table {table} force row level security")


def tenant_policy(table: str, *, column: str = "organization_id") -> None:
    """Every role sees and writes the rows of the transaction's organization, and no others."""
    op.execute(
        f"create policy {table}_tenant on {table} for all"
        f" using ({column} = {ORGANIZATION}) with check ({column} = {ORGANIZATION})"
    )


def ingest_policy(table: str, *, command: str = "all", condition: str = "true") -> None:
    """The ingest workers see (and, with "all", write) rows of every organization that fulfil `condition`.

    Args:
        table: its name.
        command: "all", "select", "insert", "update" or "delete".
        condition: an SQL condition on the row.
    """
    check = "" if command in {"select", "delete"} else f" with check ({condition})"
    using = "" if command == "insert" else f" using ({condition})"
    op.execute(f"create policy {table}_ingest_{command} on {table} for {command} to {INGEST}{using}{check}")


def secure_tenant_table(table: str, *, web: str, ingest: str, ingest_all: bool = False) -> None:
    """All of it for an ordinary tenant table that has an `organization_id`.

    Args:
        table: its name.
        web: privileges of the web workers, such as "select, insert"; "" for none.
        ingest: the same of the ingest workers.
        ingest_all: the ingest workers see and write rows of every organization.
    """
    enable_rls(table)
    tenant_policy(table)
    if ingest_all:
        ingest_policy(table)
    grant(table, web=web, ingest=ingest)


def grant(table: str, *, web: str = "", ingest: str = "") -> None:
    """Grant privileges on a table (or view) to the two group roles; "" for none."""
    for role, privileges in ((WEB, web), (INGEST, ingest)):
        if privileges:
            op.execute(f"grant {privileges} on {table} to {role}")
