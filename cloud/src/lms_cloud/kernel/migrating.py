"""Bring the database to the newest migration, or back to a former one.

Waits until the database answers, and lets one program migrate at a time.

Used by `lms-cloud migrate` (cli/migrate.py), by the demo and by the tests; the migrations are in migrations/versions.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import tenacity
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError
from sqlalchemy.pool import NullPool

from lms_cloud.kernel.database import CONNECT_TIMEOUT_S, database_url
from lms_cloud.kernel.errors import DatabaseSetupError
from lms_cloud.kernel.losing import MAY_LOSE
from lms_cloud.kernel.tenancy import INGEST, WEB

_LOCK_KEY = 0x6C6D735F6D6967
_ROLES = (WEB, INGEST)


class Migrated(NamedTuple):
    """What a migration did.

    Attributes:
        before: the revision that the database was at; None for an empty one.
        after: the revision that it is at now.
    """

    before: str | None
    after: str


def migrate(
    url: str,
    *,
    wait_s: float = 60,
    tell: Callable[[str], None] = lambda _: None,
    finish: Callable[[Connection], None] = lambda _: None,
) -> Migrated:
    """Migrate the database at `url`, as its owner.

    Args:
        url: postgresql://owner:password@host:port/database.
        wait_s: how long to wait for the database to answer.
        tell: called with a sentence about each thing that takes time or is done.
        finish: called when the newest migration is reached, while nobody else can migrate.

    Raises:
        SettingsError: `url` is no PostgreSQL address.
        DatabaseSetupError: the database does not answer, or the owner may not do what is needed.
    """
    with connect(url, wait_s=wait_s, tell=tell) as connection:
        lock_migrations(connection)
        before = current_revision(connection)
        _create_group_roles(connection, tell)
        config = _config()
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
            connection.commit()
            finish(connection)
        except ProgrammingError as error:
            raise DatabaseSetupError(
                f"The migration was refused: {first_line(error)}", "Migrate with the account that owns the database"
            ) from error
        after = current_revision(connection)
        assert after is not None  # noqa: S101 - `head` exists
        return Migrated(before, after)


def go_back(url: str, revision: str, *, lose_data: bool = False, wait_s: float = 60) -> Migrated:
    """Bring the database at `url` back to a former migration, as its owner, for a former release.

    Args:
        revision: such as "0012".
        lose_data: whether what that release has no place for may be lost.

    Raises:
        DatabaseSetupError: something would be lost, there is no such revision behind it, the database does not answer,
            or the owner may not do what is needed; nothing is changed.
    """
    with connect(url, wait_s=wait_s) as connection:
        lock_migrations(connection)
        before = current_revision(connection)
        config = _config()
        config.attributes.update({"connection": connection, MAY_LOSE: lose_data})
        behind = [each.revision for each in ScriptDirectory.from_config(config).iterate_revisions(before, "base")]
        if revision not in behind:
            known = ", ".join(reversed(behind)) or "none: the database is empty"
            raise DatabaseSetupError(
                f"The database is at {before or 'nothing'}: there is no way back to {revision!r}",
                f"Say one of these: {known}",
            )
        try:
            command.downgrade(config, revision)
            connection.commit()
        except ProgrammingError as error:
            raise DatabaseSetupError(
                f"The way back was refused: {first_line(error)}", "Go back with the account that owns the database"
            ) from error
        return Migrated(before, revision)


def lock_migrations(connection: Connection) -> None:
    """Be the only one who migrates, until `connection` closes. Of two at once, the second finds nothing left to do."""
    connection.execute(text("select pg_advisory_lock(:key)"), {"key": _LOCK_KEY})
    connection.commit()


def newest_revision() -> str:
    """The revision that this version of the program needs."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None  # noqa: S101 - migrations/versions is not empty
    return head


def current_revision(connection: Connection) -> str | None:
    """The revision that the database is at; None for an empty one."""
    return MigrationContext.configure(connection).get_current_revision()


@contextmanager
def connect(
    url: str, *, wait_s: float = 0, tell: Callable[[str], None] = lambda _: None, autocommit: bool = False
) -> Iterator[Connection]:
    """One plain connection for set-up work, waiting up to `wait_s` for the database to answer.

    Raises:
        DatabaseSetupError: it does not answer in that time.
    """
    engine = create_engine(
        database_url(url),
        poolclass=NullPool,
        connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "lms-cloud migrate"},
    )
    if autocommit:
        engine = engine.execution_options(isolation_level="AUTOCOMMIT")
    shown = engine.url.render_as_string(hide_password=True)

    def before_sleep(state: tenacity.RetryCallState) -> None:
        if state.attempt_number == 1:
            tell(f"Waiting up to {wait_s:.0f} s for {shown}.")

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(OperationalError),
        stop=tenacity.stop_after_delay(wait_s),
        wait=tenacity.wait_exponential(multiplier=0.1, max=2),
        before_sleep=before_sleep,
        reraise=True,
    )
    try:
        connection = retrying(engine.connect)
    except OperationalError as error:
        raise DatabaseSetupError(
            f"The database {shown} does not answer: {first_line(error)}", "Check that it runs, and LMS_DATABASE_URL"
        ) from error
    with connection:
        yield connection
    engine.dispose()


def _create_group_roles(connection: Connection, tell: Callable[[str], None]) -> None:
    missing = [role for role in _ROLES if not _role_exists(connection, role)]
    for role in missing:
        try:
            # Another database of the same server may do the same at this moment: then it exists, which is enough.
            connection.execute(
                text(
                    f"do $$ begin create role {role} nologin nobypassrls nosuperuser nocreatedb nocreaterole;"
                    " exception when duplicate_object or unique_violation then null; end $$"
                )
            )
            connection.commit()
        except ProgrammingError as error:
            raise DatabaseSetupError(
                f"The database account may not create the role {role!r} ({first_line(error)})",
                "Let a superuser run: " + " ".join(f"CREATE ROLE {each} NOLOGIN NOBYPASSRLS;" for each in missing),
            ) from error
        tell(f"Created the group role {role}.")


def _role_exists(connection: Connection, role: str) -> bool:
    query = text("select exists (select from pg_roles where rolname = :role)")
    return bool(connection.execute(query, {"role": role}).scalar_one())


def first_line(error: Exception) -> str:
    """The first line of what the database or its driver says; the rest are hints that repeat ours."""
    said = error.orig if isinstance(error, DBAPIError) else error
    return str(said).strip().partition("\n")[0]


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "lms_cloud:migrations")
    config.set_main_option("path_separator", "os")
    return config
