"""Open the log's file, or begin a new one where the old one cannot be gone on with.

    no file                        a new log
    an older version's             brought up to date
    damaged                        opened a second time; then set aside, a new log begun
    older than the agent knows     a copy was brought back: set aside, a new log begun
    anything else                  left alone, and refused: no log, or one of a newer version

Neighbours: `lms_agent.log.sqlite_log`; what is set aside is read and sent by `lms_agent.log.care` and after it.
"""

import json
import logging
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote
from uuid import uuid4

from lms_agent.log import schema
from lms_agent.log.connecting import configure
from lms_agent.log.damage import schema_checks
from lms_agent.log.damage.salvage import (
    FRAME_HEADER_BYTES,
    HEADER_BYTES,
    MAGIC,
    WAL_HEADER_BYTES,
    DamagedFile,
    wal_path,
    wal_salt,
)
from lms_agent.log.errors import SQLITE_ERRORS, LogMalformed, LogUnavailable, explain, explain_os, is_malformed
from lms_agent.log.reader import LogReader
from lms_agent.log.renewal.carrying import carried, last_gap_id, salvaged_from
from lms_agent.log.renewal.predecessors import Kind
from lms_agent.log.renewal.renewing import Intention, aside_name, finish, rows_of, write_intention
from lms_agent.owning import open_or_make

LOGGER = logging.getLogger(__name__)


_INDEX_HEADER_BYTES = 48
"""Of the index to a write-ahead log; how many frames SQLite takes stands at 16 (sqlite.org/walformat.html)."""


def open_or_renew(path: Path) -> LogReader:
    """Open the log for reading, ready to be written.

    Raises:
        LogUnavailable: it cannot be opened, is no log, or was written by a newer program.
    """
    try:
        finish(path)
    except (OSError, sqlite3.Error) as error:
        raise _unavailable(path, error) from error
    try:
        return _open(path)
    except LogMalformed as error:
        LOGGER.warning("%s It is opened once more.", error)  # a device that fails makes SQLite say so
    try:
        return _open(path)
    except LogMalformed as error:
        _set_damaged_aside(path, error)
    return _open(path)


@contextmanager
def _own_words(path: Path) -> Iterator[None]:
    """Our statements fit the tables that we made: where SQLite does not understand them, its schema is damaged."""
    try:
        yield
    except LogUnavailable as error:
        if getattr(error.__cause__, "sqlite_errorname", "") == "SQLITE_ERROR":
            raise LogMalformed(path, f"its schema is damaged: {error.__cause__}") from error
        raise


def _open(path: Path) -> LogReader:
    with _own_words(path):
        return _open_sound(path)


def _open_sound(path: Path) -> LogReader:
    witness = _witness(path)
    if path.exists():
        _check_wal(path)
    elif witness is not None:
        LOGGER.error(
            "ALARM: the log %s is gone. It was stream %s, with %d batches. A new one is begun.", path, *witness
        )
    prepare(path)
    reader = LogReader.open(path)
    try:
        tags, head = reader.tags(), reader.head()[0]
        (
            reader.latest(),
            reader.open_gaps(),
            reader.predecessors(),
            reader.dropped(),
            reader.remember(uuid4()),  # of a boot that nobody knows: all that it ever looks at
        )  # for whoever opens the log
        reader.check_small_tables()
        if witness is None or witness[0] != str(reader.stream) or witness[1] <= head:
            return reader
        taken_over = carried(reader)
        known = {
            "stream": str(reader.stream),
            "acked": max(0, reader.first() - 1),  # see SqliteLog.renew
            "head": head,
            "tags": rows_of(tags),
            "bd_seq": reader.bd_seq,
            "gap_id": reader.last_gap_id(),
            "latest": reader.latest().to_text(0),
            **taken_over._asdict(),
        }
    except BaseException:
        reader.close()
        raise
    reader.close()
    reason = f"it ends with batch {head}, but had {witness[1]}: an older copy of it was brought back"
    _set_aside(path, Kind.RESTORED, reason, known)
    return LogReader.open(path)


def prepare(path: Path) -> None:
    """Make the file if it is not there, and bring its tables up to date.

    Raises:
        LogUnavailable: it cannot be opened, is no log, or was written by a newer program.
        LogMalformed: it is damaged.
    """
    try:
        os.close(open_or_make(path))
    except OSError as error:
        remedy = "check that its folder exists and that this user may write there"
        raise LogUnavailable(path, str(error.strerror), remedy) from error
    _check_header(path)
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            schema_checks.check_ours(path, connection)  # before anything is changed: `configure` would
            schema_checks.check_list(path, connection)
            if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # so that room can be given back bit by bit
                connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")  # ours, should a crash come next
            configure(connection)
            if not schema_checks.is_current(connection):
                schema.migrate(connection)
            schema_checks.check_known(path, connection)
            schema_checks.check_shape(path, connection)
    except SQLITE_ERRORS as error:
        if is_malformed(error):
            raise LogMalformed(path, explain(error)[0]) from error
        raise _unavailable(path, error) from error


def _check_header(path: Path) -> None:
    """Look at the versions in the header: SQLite takes a file with a later one for one that it may not write.

    Raises:
        LogMalformed: they are not those that SQLite has ever had.
        LogUnavailable: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            header = file.read(HEADER_BYTES)
    except OSError as error:
        raise _unavailable(path, error) from error
    if header[: len(MAGIC)] == MAGIC and max(header[18:20]) > 2:
        raise LogMalformed(path, "its header is not as it was written")


def _check_wal(path: Path) -> None:
    """Look whether the write-ahead log goes on behind the place where SQLite stops.

    Raises:
        LogMalformed: it does, with transactions that were on the disk.
    """
    wal = wal_path(path)
    if not wal.exists() or wal.stat().st_size <= WAL_HEADER_BYTES:
        return
    try:
        # Read-only: else closing the last connection would fold the log in and remove it, with what is behind.
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as connection:
            page_bytes = connection.execute("PRAGMA page_size").fetchone()[0]
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            index = path.with_name(path.name + "-shm").read_bytes()[:_INDEX_HEADER_BYTES]
    except (sqlite3.Error, OSError):
        return  # whatever it is, opening it for writing says so
    if len(index) == _INDEX_HEADER_BYTES:
        behind = _transactions_behind(wal, int.from_bytes(index[16:20], sys.byteorder), page_bytes)
        if behind > 1:
            raise LogMalformed(path, f"its write-ahead log is damaged before {behind} transactions")


def _transactions_behind(wal: Path, frames: int, page_bytes: int) -> int:
    """Transactions that stand in the write-ahead log behind the frames that SQLite takes.

    One there may be what a power cut left half written; nobody was told that it was kept. A second one is not begun
    before the first is safe.
    """
    with wal.open("rb") as file:
        salt = wal_salt(file.read(WAL_HEADER_BYTES), file.read(FRAME_HEADER_BYTES))
        behind = 0
        at = WAL_HEADER_BYTES + frames * (FRAME_HEADER_BYTES + page_bytes)
        while len(data := _frame_header(file, at)) == FRAME_HEADER_BYTES:
            behind += data[8:16] == salt and any(data[4:8])
            at += FRAME_HEADER_BYTES + page_bytes
    return behind


def _frame_header(file: BinaryIO, at: int) -> bytes:
    file.seek(at)
    return file.read(FRAME_HEADER_BYTES)


def _set_damaged_aside(path: Path, error: LogMalformed) -> None:
    """Begin a new log in the place of a damaged one, if it was a log."""
    try:
        with DamagedFile(path) as file:
            basics = file.basics()
            if not basics.ours and not file.is_ours():
                raise LogUnavailable(path, "it is not an SQLite file", "choose another path for the log") from error
    except OSError as unreadable:
        raise _unavailable(path, unreadable) from unreadable
    bd_seq = basics.metas.get("bd_seq", "null")
    known = {
        "stream": basics.stream,
        "acked": basics.acked,
        "tags": rows_of(list(basics.tags.values())),
        "latest": basics.metas.get("latest"),
        "gap_id": last_gap_id(basics),
        **salvaged_from(basics)._asdict(),
        "bd_seq": int(bd_seq) if bd_seq.isdigit() else None,
    }
    _set_aside(path, Kind.DAMAGED, error.reason, known)


def _set_aside(path: Path, kind: Kind, reason: str, known: dict[str, Any]) -> None:
    now_ms = time.time_ns() // 1_000_000
    aside = aside_name(path, kind, now_ms)
    LOGGER.error("ALARM: the log %s: %s. It is set aside as %s; a new one is begun.", path, reason, aside)
    try:
        write_intention(path, Intention(aside, kind, reason, now_ms, str(uuid4()), **known))
        finish(path)
    except (OSError, sqlite3.Error) as error:
        raise _unavailable(path, error) from error


def _witness(path: Path) -> tuple[str, int] | None:
    """Stream and number that the agent last told of itself; None if it told nothing."""
    try:
        told = json.loads(path.with_name(path.name + ".status.json").read_text(encoding="utf-8"))["log"]
        return str(told["stream"]), int(told["head"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _unavailable(path: Path, error: OSError | sqlite3.Error | UnicodeDecodeError) -> LogUnavailable:
    if not isinstance(error, OSError):
        return LogUnavailable(path, *explain(error))
    return LogUnavailable(path, *explain_os(error))
