"""Set a log file aside and begin a new one, with a new stream, so that a crash anywhere between is made good.

    1  the intention is written down (`<log>.setting-aside`)
    2  the log and its write-ahead log get another name: `<log>.damaged-20261124T235959Z`
    3  a new log is made beside, with all tags, open gaps and what the old one was, and gets the log's name
    4  the intention is taken away

A start that finds an intention does the rest of it. Nothing is ever removed: what was set aside stays for people to
look at, and what of it the cloud does not have is sent (see `lms_agent.log.renewal.predecessor`).

Neighbours: `lms_agent.log.sqlite_log` calls this at its opening and while it runs.
"""

import json
import logging
import os
import sqlite3
from collections.abc import Container, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lms_protocol.reading import TagDescription

from lms_agent.log import schema
from lms_agent.log.checksums import gap_checksum
from lms_agent.log.connecting import configure, set_meta
from lms_agent.log.damage.readable import sync, sync_and_rename, unlink_quietly
from lms_agent.log.damage.salvage import wal_path
from lms_agent.log.damage.spare import keep_spare
from lms_agent.log.errors import SQLITE_ERRORS
from lms_agent.log.renewal.predecessors import (
    INSERT_ORIGIN,
    INSERT_PREDECESSOR,
    READABLE,
    Kind,
    State,
    origin_row,
    predecessor_row,
)
from lms_agent.log.tags import from_row, tag_row, to_text
from lms_agent.owning import open_or_make

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Intention:
    """Everything needed to begin a new log in the place of one that is set aside.

    Attributes:
        aside: the old file's new name, in the same folder.
        kind, reason: why, in a word and in a sentence.
        stream, acked, head: of the old log; None and 0 where they are not known yet.
        new_stream: of the new log.
        tags, open_gaps: rows for the new log, so that numbers go on meaning the same.
        gap_id: the highest id given to a gap.
        bd_seq: of the last connection.
        predecessors, origins: rows of the old log about those that were set aside before it, without their checksums.
        latest: text of the newest readings, as `meta` keeps it.
        at_ms: when, ms UTC.
    """

    aside: str
    kind: Kind
    reason: str
    at_ms: int
    new_stream: str
    stream: str | None = None
    acked: int = 0
    head: int = 0
    tags: Sequence[Sequence[Any]] = ()
    open_gaps: Sequence[Sequence[Any]] = ()
    gap_id: int = 0
    bd_seq: int | None = None
    latest: str | None = None
    predecessors: Sequence[Sequence[Any]] = ()
    origins: Sequence[Sequence[Any]] = ()

    @property
    def readable_at_once(self) -> bool:
        """Whether the file that is set aside is sound, so that it can be sent as it is."""
        return self.kind is Kind.RESTORED


def intention_path(log_path: Path) -> Path:
    """Where the intention stands."""
    return log_path.with_name(log_path.name + ".setting-aside")


def aside_name(log_path: Path, kind: Kind, at_ms: int, taken: Container[str] = ()) -> str:
    """A name that neither a file nor what is `taken` has yet."""
    moment = datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    name = f"{log_path.name}.{kind}-{moment}"
    count = 1
    while name in taken or any((log_path.parent / (name + end)).exists() for end in ("", READABLE)):
        count += 1
        name = f"{log_path.name}.{kind}-{moment}-{count}"
    return name


def rows_of(tags: Sequence[TagDescription]) -> list[Sequence[Any]]:
    """Tags as an intention keeps them."""
    return [(tag.number, tag.device, tag.name, to_text(tag)) for tag in tags]


def tags_of(rows: Sequence[Sequence[Any]]) -> list[TagDescription]:
    """The tags of an intention."""
    return [from_row((int(row[0]), str(row[1]), str(row[2]), str(row[3]))) for row in rows]


def write_intention(log_path: Path, intention: Intention) -> None:
    """Write down what is to be done; `finish` does it.

    Raises:
        OSError: the disk refuses.
    """
    path = intention_path(log_path)
    part = path.with_name(path.name + ".part")
    with os.fdopen(open_or_make(part, os.O_WRONLY | os.O_TRUNC), "w") as file:
        json.dump(asdict(intention), file)
    sync_and_rename(part, path)


def finish(log_path: Path) -> Intention | None:
    """Carry out an intention, from wherever it got to; None if there is none.

    Raises:
        OSError, sqlite3.Error: the disk refuses.
    """
    path = intention_path(log_path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        intention = Intention(**(data | {"kind": Kind(data["kind"])}))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        LOGGER.error("%s cannot be read (%s) and is passed over", path, error)
        path.replace(path.with_name(path.name + ".unreadable"))
        return None
    if not _is_in_place(log_path, intention):
        _move_aside(log_path, log_path.parent / intention.aside)
        part = log_path.with_name(log_path.name + ".new")
        _make(part, intention)
        sync_and_rename(part, log_path)
    path.unlink()
    sync(path.parent)
    return intention


def _is_in_place(log_path: Path, intention: Intention) -> bool:
    """Whether the new log has its name already."""
    try:
        with closing(sqlite3.connect(f"file:{log_path}?mode=ro", uri=True)) as connection:
            row = connection.execute("SELECT value FROM meta WHERE key = 'stream'").fetchone()
    except SQLITE_ERRORS:
        return False
    return row is not None and row[0] == intention.new_stream


def _move_aside(log_path: Path, aside: Path) -> None:
    """The log's files under another name: a write-ahead log must never be found beside a file that is not its own."""
    if log_path.exists():
        log_path.rename(aside)
    if wal_path(log_path).exists():
        wal_path(log_path).rename(wal_path(aside))
    unlink_quietly(log_path.with_name(log_path.name + "-shm"))
    sync(log_path.parent)


def _make(part: Path, intention: Intention) -> None:
    for leftover in (part, wal_path(part), part.with_name(part.name + "-shm")):
        leftover.unlink(missing_ok=True)
    os.close(open_or_make(part))
    with closing(sqlite3.connect(part, isolation_level=None)) as connection:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        configure(connection)
        schema.migrate(connection, intention.new_stream)
        connection.execute("BEGIN IMMEDIATE")
        metas = {"gap_id": str(intention.gap_id)}
        metas |= {} if intention.bd_seq is None else {"bd_seq": str(intention.bd_seq)}
        metas |= {} if intention.latest is None else {"latest": intention.latest}
        set_meta(connection, metas)
        for tag in tags_of(intention.tags):
            connection.execute("INSERT OR REPLACE INTO tags VALUES (?, ?, ?, ?, ?)", tag_row(tag.number, tag))
        keep_spare(connection)
        # No batch of the new log has told of them; a number of the old one would be taken for one that was not written.
        cells = [(row[0], row[1], 0, *row[3:7]) for row in intention.open_gaps]
        gaps = [(*row, gap_checksum(row)) for row in cells]
        connection.executemany("INSERT OR REPLACE INTO gaps VALUES (?, ?, ?, ?, ?, ?, ?, ?)", gaps)
        state = State.READY if intention.readable_at_once else State.TO_READ
        mine = (
            intention.aside,
            intention.stream,
            intention.reason,
            state,
            None,
            intention.head,
            intention.acked,
            intention.at_ms,
            None,
        )
        connection.executemany(INSERT_PREDECESSOR, map(predecessor_row, [*intention.predecessors, mine]))
        connection.executemany(INSERT_ORIGIN, [origin_row(*row) for row in intention.origins])
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
