"""The log file's tables, and the migrations that bring an older file up to date.

    meta          stream, acked, bd_seq: one row each
    tags          the number of each tag, given once and for ever; it is the Sparkplug alias
    batches       one row a batch, numbered 1, 2, 3 …; `record` is lms_protocol.batches' encoding, `checksum` its CRC-32
    gaps          every interval without readings; `ended_at_ms` is null while it is open
    blocks        when the readings of 500 batches in a row were taken; block n ends with number 500 n + 500
    drops         what the size limit took away before the cloud had it
    predecessors  logs that were set aside, each with the stream that it was, and how far it is sent
    spans         which batches were logged under which offset of the clock, and whether their time may still change
    corrections   by how much the time of batches was corrected afterwards
    origins       which batches of predecessors were written again into this log, so that none is twice
    spare         a second copy of the stream, all tags, corrections and spans, should the page of the first be damaged

`total` is the number of readings in the log up to and with this batch, so that the count is one look-up. `blocks` is
what an index on time would be, were that not a second page to write with every batch. A block without a row is one that
must be looked into: of a file from before there were blocks, until the writer has gone through it.
sqlite-utils is imported only when a file is made or brought up to date: it costs 8 MB that a running agent can save.
"""

import json
import sqlite3
from uuid import uuid4

from lms_agent.log.checksums import (
    gap_checksum,
    meta_checksum,
    origin_checksum,
    predecessor_checksum,
    row_checksum,
    tag_checksum,
)
from lms_agent.log.damage.spare import keep_clock, keep_spare

MIGRATION_SET = "lms-agent-log"
APPLICATION_ID = 0x4C4D534C
"""`LMSL` in the file's header, so that `file` and we can tell it from other SQLite files."""
MIGRATIONS = ("0001_batches", "0002_limits_and_predecessors", "0003_clocks", "0004_spare", "0005_clock_copy")
LATEST_MIGRATION = MIGRATIONS[-1]
STAND_IN_TOTAL = -1
"""The `total` of a batch that stands for one that could not be read."""
FILE_MODE = 0o640
"""The agent's user writes; its group, the technicians at the bench, may look with `lms-agent log` and `watch`."""
BLOCK_BATCHES = 500
"""Batches in a block."""
BLOCK_SUM = (
    "(block * 31 + coalesce(first_taken_at_ms, -1) * 37 + coalesce(last_taken_at_ms, -1) * 41 + readings * 43)"
    " % 2147483647"
)
"""Checksum of a row of `blocks`, in SQL: no single bit can be altered without it. A row that it does not fit counts as
one that is not there."""
SUM_UP_BLOCKS = f"UPDATE blocks SET checksum = {BLOCK_SUM} WHERE checksum IS NULL"  # noqa: S608 - our own words


def migrate(connection: sqlite3.Connection, stream: str | None = None) -> None:
    """Make the tables, or bring an older file up to date; each migration is one transaction.

    Args:
        stream: of a new file; a new one if it is not given.

    Raises:
        sqlite3.Error: the file cannot be written.
    """
    from sqlite_utils import Database, Migrations  # noqa: PLC0415 - see the module's docstring

    migrations = Migrations(MIGRATION_SET)

    @migrations(name="0001_batches")
    def batches(database: Database) -> None:
        database.table("meta").create({"key": str, "value": str}, pk="key", not_null={"value"})
        database.table("tags").create(
            {"number": int, "device": str, "name": str, "description": str},
            pk="number",
            not_null={"device", "name", "description"},
        )
        database.table("tags").create_index(["device", "name"], unique=True)
        database.table("batches").create(
            {
                "number": int,
                "device": str,
                "first_taken_at_ms": int,
                "last_taken_at_ms": int,
                "readings": int,
                "total": int,
                "checksum": int,
                "record": bytes,
            },
            pk="number",
            not_null={"device", "readings", "total", "checksum", "record"},
        )
        database.table("batches").create_index(["first_taken_at_ms"])
        database.table("gaps").create(
            {
                "id": int,
                "device": str,
                "batch": int,
                "tags": str,
                "began_at_ms": int,
                "ended_at_ms": int,
                "reason": str,
            },
            pk="id",
            not_null={"device", "batch", "tags", "began_at_ms", "reason"},
        )
        connection.execute("CREATE INDEX open_gaps ON gaps (id) WHERE ended_at_ms IS NULL")
        database.table("meta").insert_all(
            [
                {"key": "stream", "value": stream or str(uuid4())},
                {"key": "acked", "value": "0"},
                {"key": "bd_seq", "value": "null"},
                {"key": "latest", "value": json.dumps({"through": 0, "record": ""})},
            ]
        )
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")

    @migrations(name="0002_limits_and_predecessors")
    def limits_and_predecessors(database: Database) -> None:
        # Rows of `batches` stay as they are: a log of 30 million readings is brought up to date in a moment.
        connection.execute("DROP INDEX idx_batches_first_taken_at_ms")
        database.table("blocks").create(
            {"block": int, "first_taken_at_ms": int, "last_taken_at_ms": int, "readings": int}, pk="block"
        )
        database.table("drops").create(
            {
                "first": int,
                "last": int,
                "readings": int,
                "began_at_ms": int,
                "ended_at_ms": int,
                "dropped_at_ms": int,
            },
            pk="first",
            not_null={"last", "readings", "dropped_at_ms"},
        )
        database.table("predecessors").create(
            {
                "path": str,
                "stream": str,
                "reason": str,
                "state": str,
                "first": int,
                "head": int,
                "acked": int,
                "set_aside_at_ms": int,
                "ended_at_ms": int,
            },
            pk="path",
            not_null={"reason", "state", "set_aside_at_ms"},
        )
        database.table("origins").create(
            {"stream": str, "number": int, "batch": int}, pk=("stream", "number"), not_null={"batch"}
        )
        database.table("gaps").create_index(["batch"])
        for table in ("meta", "tags", "gaps"):
            database.table(table).add_column("checksum", int)
        _fill_checksums(connection)

    @migrations(name="0003_clocks")
    def clocks(database: Database) -> None:
        database.table("spans").create(
            {
                "first": int,
                "last": int,
                "boot": str,
                "began_ms": int,
                "offset_ms": int,
                "trust": str,
                "error_ms": int,
                "open": int,
            },
            pk="first",
            not_null={"boot", "began_ms", "offset_ms", "trust", "open"},
        )
        database.table("corrections").create(
            {
                "id": int,
                "event": int,
                "first": int,
                "last": int,
                "boot": str,
                "began_ms": int,
                "shift_ms": int,
                "trusted": int,
                "estimated": int,
                "at_ms": int,
                "checksum": int,
            },
            pk="id",
            not_null={"event", "first", "last", "boot", "began_ms", "shift_ms", "trusted", "estimated", "checksum"},
        )

    @migrations(name="0004_spare")
    def spare(database: Database) -> None:
        for table in ("predecessors", "origins", "spans"):
            database.table(table).add_column("checksum", int)
        rows = connection.execute("SELECT * FROM predecessors").fetchall()
        connection.executemany(
            "UPDATE predecessors SET checksum = ? WHERE path = ?", [(predecessor_checksum(r[:9]), r[0]) for r in rows]
        )
        rows = connection.execute("SELECT stream, number FROM origins").fetchall()
        connection.executemany(
            "UPDATE origins SET checksum = ? WHERE stream = ? AND number = ?", [(origin_checksum(*r), *r) for r in rows]
        )
        rows = connection.execute("SELECT * FROM spans").fetchall()
        connection.executemany(
            "UPDATE spans SET checksum = ? WHERE first = ?", [(row_checksum(r[:8]), r[0]) for r in rows]
        )
        columns = {"key": str, "value": str, "checksum": int}
        database.table("spare").create(columns, not_null=set(columns))
        keep_spare(connection)

    @migrations(name="0005_clock_copy")
    def clock_copy(database: Database) -> None:
        database.table("blocks").add_column("checksum", int)
        connection.execute(SUM_UP_BLOCKS)
        keep_clock(connection)

    migrations.apply(Database(connection))


def _fill_checksums(connection: sqlite3.Connection) -> None:
    metas = [(meta_checksum(*row), row[0]) for row in connection.execute("SELECT key, value FROM meta").fetchall()]
    connection.executemany("UPDATE meta SET checksum = ? WHERE key = ?", metas)
    rows = connection.execute("SELECT number, device, name, description FROM tags").fetchall()
    connection.executemany("UPDATE tags SET checksum = ? WHERE number = ?", [(tag_checksum(*r), r[0]) for r in rows])
    rows = connection.execute("SELECT id, device, batch, tags, began_at_ms, ended_at_ms, reason FROM gaps").fetchall()
    connection.executemany("UPDATE gaps SET checksum = ? WHERE id = ?", [(gap_checksum(r), r[0]) for r in rows])
