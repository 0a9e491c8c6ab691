"""The storage of an ingest worker in PostgreSQL: one connection of its own, the partitions, the transaction.

Before it: `lms_cloud.telemetry.ingest.committing`, which knows it as a `Storage`. After it:
`lms_cloud.telemetry.storage.transaction`, which writes one transaction. A connection that
failed is closed, and the next commit opens another.
"""

from collections.abc import Callable
from typing import Final

import psycopg

from lms_cloud.kernel.database import database_url
from lms_cloud.telemetry.incoming import Outcome, Work
from lms_cloud.telemetry.storage.latest_blocks import LatestBlocks
from lms_cloud.telemetry.storage.partitions import Partitions
from lms_cloud.telemetry.storage.transaction import Connection, commit_work

DURABLE: Final = (
    "select set_config('synchronous_commit', 'on', false)"
    " where current_setting('synchronous_commit') in ('off', 'local', 'remote_write')"
)
"""What is acknowledged must be on the disk, also where the server or the role is set to promise less."""


class PostgresStorage:
    """Commits work in PostgreSQL.

    Args:
        url: the database, as `lms_ingest`.
        now_ms: tells the time, ms UTC.
        name: of the connection in the list of database sessions.
    """

    def __init__(self, url: str, now_ms: Callable[[], int], *, name: str = "lms-cloud ingest") -> None:
        self._name = name
        self._url = database_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        self._partitions = Partitions(now_ms)
        self._latest = LatestBlocks(now_ms)
        self._connection: Connection | None = None

    async def commit(self, work: Work) -> Outcome:
        """Write work in one transaction, and commit it.

        Raises:
            psycopg.DataError, psycopg.IntegrityError: the database refuses something of it; nothing is committed.
            psycopg.Error, OSError: nothing is known to be committed; asking again is safe, as the ledger decides.
        """
        connection = await self._connected()
        await self._partitions.make(connection, work.batches)
        try:
            return await commit_work(connection, work, self._latest)
        except BaseException:
            self._latest.forget()  # perhaps it was never committed
            raise

    async def close(self) -> None:
        """Close the connection; the next commit opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = await self._connect()
        return self._connection

    async def _connect(self) -> Connection:
        connection = await psycopg.AsyncConnection.connect(
            self._url,
            autocommit=True,
            application_name=self._name,
            connect_timeout=5,
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=60_000,
        )
        try:
            await connection.execute(DURABLE)
        except BaseException:
            await connection.close()
            raise
        return connection
