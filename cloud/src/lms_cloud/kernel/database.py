"""The database: one engine per process, and units of work, each of them one transaction with its tenant set.

Row security does the separating: every transaction says with `set_config(…, true)` whose it is, and the policies of
migrations/ show it the rows of that organization and that user only. Nothing said means nothing seen. The setting
ends with the transaction, so a pooled connection carries nothing over.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from sqlalchemy import URL, make_url, text
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

from lms_cloud.kernel.actors import Actor
from lms_cloud.kernel.clock import Clock, SystemClock
from lms_cloud.kernel.errors import SettingsError
from lms_cloud.kernel.settings import CloudSettings

CONNECT_TIMEOUT_S = 5
_SET_SCOPE = text(
    "select set_config('lms.organization_id', :organization_id, true), set_config('lms.user_id', :user_id, true),"
    " set_config('lms.login_email', :login_email, true), set_config('lms.session_hash', :session_hash, true)"
)
_SET_ORGANIZATION = text("select set_config('lms.organization_id', :organization_id, true)")
_SET_USER = text("select set_config('lms.user_id', :user_id, true)")


class Base(DeclarativeBase):
    """The base of all table models."""


def database_url(url: str) -> URL:
    """Check `url` and choose psycopg 3 as its driver.

    Raises:
        SettingsError: it is not a PostgreSQL address.
    """
    remedy = "It is: postgresql://user:password@host:port/database."
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise SettingsError("LMS_DATABASE_URL", "is not an address", remedy) from error
    if parsed.get_backend_name() not in {"postgresql", "postgres"}:
        raise SettingsError("LMS_DATABASE_URL", f"names {parsed.get_backend_name()!r}, only PostgreSQL works", remedy)
    return parsed.set(drivername="postgresql+psycopg")


class UnitOfWork:
    """One transaction, whose it is, and who acts in it.

    Attributes:
        session: the SQLAlchemy session.
        organization_id: the tenant whose rows it sees; None: no tenant's.
        user_id: the user whose own rows it sees; None: nobody's.
        actor: who is named on the events it appends.
    """

    def __init__(
        self, session: AsyncSession, clock: Clock, actor: Actor, organization_id: UUID | None, user_id: UUID | None
    ) -> None:
        self.session = session
        self.clock = clock
        self.actor = actor
        self.organization_id = organization_id
        self.user_id = user_id

    def now(self) -> datetime:
        """The present instant, aware UTC."""
        return self.clock.now()

    async def enter_organization(self, organization_id: UUID) -> None:
        """See `organization_id`'s rows from here to the end of this transaction, instead of those before."""
        await self.session.flush()
        await self.session.execute(_SET_ORGANIZATION, {"organization_id": str(organization_id)})
        self.organization_id = organization_id

    async def enter_user(self, user_id: UUID) -> None:
        """See `user_id`'s own rows, and act as that user, from here to the end of this transaction."""
        await self.session.flush()
        await self.session.execute(_SET_USER, {"user_id": str(user_id)})
        self.user_id = user_id
        self.actor = Actor.user(user_id)

    async def driver_connection(self) -> AsyncConnection[Any]:
        """The psycopg connection of this transaction, for COPY. It must not be committed or rolled back there."""
        raw = await (await self.session.connection()).get_raw_connection()
        connection = raw.driver_connection
        assert isinstance(connection, AsyncConnection)  # noqa: S101 - the engine's driver is fixed to psycopg
        return connection


class Database:
    """The engine of one process, and the units of work on it."""

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 10,
        clock: Clock | None = None,
        application_name: str = "lms-cloud",
        statement_timeout_s: float | None = None,
    ) -> None:
        """Prepare the engine; connects when first used.

        Args:
            url: postgresql://user:password@host:port/database.
            pool_size: most connections that are open at once.
            clock: where `now` comes from.
            application_name: shown in pg_stat_activity.
            statement_timeout_s: longest that one statement may take; None for no limit.
        """
        self.clock: Clock = clock or SystemClock()
        options = "-c timezone=UTC"
        if statement_timeout_s is not None:
            options += f" -c statement_timeout={int(statement_timeout_s * 1000)}"
        self.engine: AsyncEngine = create_async_engine(
            database_url(url),
            pool_size=pool_size,
            max_overflow=0,
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": CONNECT_TIMEOUT_S,
                "application_name": application_name,
                "options": options,
            },
        )
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)

    @classmethod
    def from_settings(
        cls,
        settings: CloudSettings,
        *,
        clock: Clock | None = None,
        application_name: str = "lms-cloud",
        statement_timeout_s: float | None = None,
    ) -> "Database":
        """The database that `settings` name."""
        return cls(
            settings.database_url.get_secret_value(),
            pool_size=settings.database_pool_size,
            clock=clock,
            application_name=application_name,
            statement_timeout_s=statement_timeout_s,
        )

    async def __aenter__(self) -> "Database":
        """Use the database; `close` follows."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every connection."""
        await self.close()

    @asynccontextmanager
    async def unit_of_work(
        self,
        organization_id: UUID | None,
        user_id: UUID | None = None,
        *,
        actor: Actor | None = None,
        login_email: str | None = None,
        session_hash: bytes | None = None,
        snapshot: bool = False,
    ) -> AsyncIterator[UnitOfWork]:
        """One transaction: committed when the block ends, rolled back when it raises.

        Args:
            organization_id: the tenant whose rows are seen and written; None: no tenant's.
            user_id: the user whose own rows (account, sessions, memberships) are seen.
            actor: who is named on events; the user if None, the system if there is none either.
            login_email: an address, lower case, that someone claims: its account alone is seen before anyone is
                logged in.
            session_hash: hash of a session token that someone shows: that session alone is seen.
            snapshot: all its queries see the database as it was at the first.
        """
        if actor is None:
            actor = Actor.system() if user_id is None else Actor.user(user_id)
        scope = {
            "organization_id": "" if organization_id is None else str(organization_id),
            "user_id": "" if user_id is None else str(user_id),
            "login_email": login_email or "",
            "session_hash": "" if session_hash is None else session_hash.hex(),
        }
        async with self._sessions() as session, session.begin():
            if snapshot:
                await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            await session.execute(_SET_SCOPE, scope)
            yield UnitOfWork(session, self.clock, actor, organization_id, user_id)

    async def ping(self) -> None:
        """Ask the database for nothing; raises SQLAlchemy's error if it does not answer."""
        async with self.engine.connect() as connection:
            await connection.execute(text("select 1"))

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()
