"""Is a file a log, has it the tables that this program knows, and are they as they were made?

    another program's file    refused, and left alone
    a newer version's         refused, and left alone
    an older version's        brought up to date (`lms_agent.log.schema.migrate`)
    tables never made so      damage, however well SQLite reads them

Neighbours: `lms_agent.log.opening` and `lms_agent.log.reader` ask before they believe anything in a file.
"""

import sqlite3
import zlib
from pathlib import Path

from lms_agent.log.errors import LogMalformed, LogUnavailable
from lms_agent.log.schema import APPLICATION_ID, LATEST_MIGRATION, MIGRATION_SET, MIGRATIONS

SHAPE_CHECKSUM = 0xBB72A1DB
"""CRC-32 of `_SHAPE` in a file that has every migration."""
_SHAPE = """
SELECT group_concat(line, char(10)) FROM (
  SELECT m.name || ': ' || group_concat(p.name || ' ' || p.type || ' ' || p.pk, ', ') AS line
  FROM sqlite_master m, pragma_table_info(m.name) p WHERE m.type = 'table' GROUP BY m.name ORDER BY m.name
)
"""
"""All tables with the names and types of their columns, and which make up the key."""


def is_current(connection: sqlite3.Connection) -> bool:
    """Whether the file has every migration."""
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = '_sqlite_migrations'").fetchone()
    if found is None:
        return False
    return LATEST_MIGRATION in applied(connection)


def applied(connection: sqlite3.Connection) -> list[str]:
    """Return the names of the migrations that the file has, in order."""
    rows = connection.execute(
        "SELECT name FROM _sqlite_migrations WHERE migration_set = ? ORDER BY id", (MIGRATION_SET,)
    ).fetchall()
    return [str(row[0]) for row in rows]


def sets_of(connection: sqlite3.Connection) -> set[str]:
    """Return whose migrations the file has."""
    return {str(row[0]) for row in connection.execute("SELECT migration_set FROM _sqlite_migrations").fetchall()}


def check_ours(path: Path, connection: sqlite3.Connection) -> None:
    """Make sure that the file is empty or a log.

    Raises:
        LogUnavailable: it is another SQLite file.
        LogMalformed: all but its header says that it is a log.
    """
    if connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID:
        return
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()}
    if {"meta", "tags", "batches"} <= tables and MIGRATION_SET in sets_of(connection):
        raise LogMalformed(path, "its header is not as it was written")
    if tables:
        raise LogUnavailable(path, "it is an SQLite file, but not a log of an agent", "choose another path for the log")


def check_known(path: Path, connection: sqlite3.Connection) -> None:
    """Make sure that the file has all tables, and none from a newer program.

    Raises:
        LogUnavailable: it has not.
    """
    check_list(path, connection)
    if not is_current(connection):
        has_some = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'batches'").fetchone()
        reason = "it was written by an older version of the agent" if has_some else "it has no tables yet"
        raise LogUnavailable(path, reason, "start the agent once")
    newer = [name for name in applied(connection) if name > LATEST_MIGRATION]
    if newer:
        reason = (
            f"it was written by a newer version of the agent (it has {newer[-1]}, this one knows {LATEST_MIGRATION})"
        )
        raise LogUnavailable(path, reason, "install that version again, or start with a new log")


def check_list(path: Path, connection: sqlite3.Connection) -> None:
    """Make sure that the list of migrations can be right: ours from the first on, and behind all of ours newer ones.

    A flipped bit in it must be taken neither for a newer program, nor for an older file, whose tables were made anew.

    Raises:
        LogMalformed: it cannot be right.
    """
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()}
    names = applied(connection) if "_sqlite_migrations" in tables else []
    ours = all(name == known for name, known in zip(names, MIGRATIONS, strict=False))
    if not ours or ("batches" in tables and not names):
        found = ", ".join(names) or "nothing"
        raise LogMalformed(path, f"its list of migrations was never written so: it holds {found}")


def check_shape(path: Path, connection: sqlite3.Connection) -> None:
    """Make sure that the tables have the columns that they were made with.

    Raises:
        LogMalformed: a damaged schema gives them others; every write would be refused.
    """
    found = connection.execute(_SHAPE).fetchone()[0]
    if zlib.crc32(found.encode()) != SHAPE_CHECKSUM:
        raise LogMalformed(path, "its tables have not the columns that they were made with")
