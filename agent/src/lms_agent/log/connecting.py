"""Connections that write, and the one way in which rows of `meta` are written.

Neighbours: `lms_agent.log.writer` holds the one that lasts; `lms_agent.log.opening`, `lms_agent.log.renewal.renewing`
and `lms_agent.log.damage.readable` make files with theirs.
"""

import sqlite3
from pathlib import Path

from lms_agent.log.checksums import meta_checksum

JOURNAL_LIMIT_BYTES = 16 * 1024 * 1024


def set_meta(connection: sqlite3.Connection, values: dict[str, str]) -> None:
    """Write rows of `meta`."""
    for key, value in values.items():
        connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?, ?)", (key, value, meta_checksum(key, value)))


def connect(path: Path) -> sqlite3.Connection:
    """Open the writing connection."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=10, check_same_thread=False)
    try:
        configure(connection)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def configure(connection: sqlite3.Connection) -> None:
    """WAL, and every COMMIT on the disk before it returns."""
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA journal_size_limit = {JOURNAL_LIMIT_BYTES}").fetchall()
    connection.execute("PRAGMA cache_size = -1024")
