"""Give back to the disk what the log's file has in room that nothing uses.

    the agent runs    it is asked by a side file, and does it between two appends, bit by bit
    it does not       it is done here
    an older file     cannot be done bit by bit: it is written anew, which needs room for a second one

Neighbours: `lms-agent log compact` asks; `lms_agent.log.care` sees the side file; `lms_agent.log.limits.upkeep` does
it.
"""

import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from lms_agent.log.connecting import connect
from lms_agent.log.errors import LogError, LogUnavailable, explain
from lms_agent.log.lock import WriterLock, is_written
from lms_agent.log.opening import prepare

ANSWER_WITHIN_S = 30.0
_POLL_S = 0.1


class NotCompacted(LogError):
    """No room could be given back; the log is as it was."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, f"The log {path} cannot be compacted now: {reason}.")


class Compacted(NamedTuple):
    """What it came to: bytes of the file before and after."""

    before_bytes: int
    after_bytes: int


def request_path(log_path: Path) -> Path:
    """The side file by which a running agent is asked."""
    return log_path.with_name(log_path.name + ".compact")


def compact(path: Path, monotonic_s: Callable[[], float] = time.monotonic) -> Compacted:
    """Give unused room back.

    Raises:
        NotCompacted: it cannot be done, and why.
        LogUnavailable: the file cannot be opened.
    """
    before = path.stat().st_size
    if is_written(path):
        _ask_agent(path, monotonic_s)
    else:
        lock = WriterLock.take(path)
        try:
            prepare(path)
            _compact_here(path)
        except sqlite3.Error as error:
            raise LogUnavailable(path, *explain(error)) from error
        finally:
            lock.release()
    return Compacted(before, path.stat().st_size)


def _compact_here(path: Path) -> None:
    with closing(connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        if _in_bits(connection):
            connection.executescript("PRAGMA incremental_vacuum")  # `execute` would end it after one page
        else:
            need = path.stat().st_size
            room = shutil.disk_usage(path.parent).free
            if room < need * 11 // 10:
                reason = f"it was made by an older version and must be written anew, which needs {need / 1e6:.0f} MB"
                raise NotCompacted(path, f"{reason} of room on the disk; there are {room / 1e6:.0f} MB")
            connection.execute("PRAGMA journal_mode = DELETE").fetchall()
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("VACUUM")
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _in_bits(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("PRAGMA auto_vacuum").fetchone()[0] == 2)


def _ask_agent(path: Path, monotonic_s: Callable[[], float]) -> None:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        if not _in_bits(connection):
            raise NotCompacted(path, "it was made by an older version; stop the agent first, then it can be done")
        request = request_path(path)
        try:
            request.touch(0o660)
        except OSError as error:
            raise NotCompacted(
                path, f"the agent cannot be asked ({error.strerror}); run this as the agent's user"
            ) from error
        free, since_s = None, monotonic_s()
        while request.exists():
            now = connection.execute("PRAGMA freelist_count").fetchone()[0]
            if now != free:
                free, since_s = now, monotonic_s()
            if monotonic_s() - since_s > ANSWER_WITHIN_S or not is_written(path):
                request.unlink(missing_ok=True)
                raise NotCompacted(path, "the agent did not answer; look at its journal")
            time.sleep(_POLL_S)
