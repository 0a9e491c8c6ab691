"""The list of logs that were set aside, as rows of the present log; and those in its folder that no row names.

A name like `log.sqlite3.damaged-20261124T235959Z` is given by nobody but us, and a file that has it is not written to
any more. So one that the list has lost may be sent all over again: the cloud knows by stream, number and content what
it has, and by the origin of a batch what was logged again elsewhere.

Neighbours: `lms_agent.log.renewal.renewing` makes the rows; `lms_agent.log.renewal.predecessor` is one of them, open
for sending.
"""

import logging
import re
from collections.abc import Container, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from lms_agent.log.checksums import origin_checksum, predecessor_checksum

LOGGER = logging.getLogger(__name__)

INSERT_PREDECESSOR = "INSERT OR REPLACE INTO predecessors VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_ORIGIN = "INSERT OR REPLACE INTO origins VALUES (?, ?, ?, ?)"
READABLE = ".readable"
"""Ends the name of what could be read of a log that was set aside."""


class Kind(StrEnum):
    """Why a log is set aside; also the word in the file's new name."""

    DAMAGED = "damaged"
    RESTORED = "restored"
    DELETED = "deleted"
    REPLACED = "replaced"


class State(StrEnum):
    """How far what was set aside has come."""

    TO_READ = "to read"
    READY = "ready"
    SENT = "sent"
    LOST = "lost"


_NAME = re.compile(rf"\.(?:{'|'.join(Kind)})-(\d{{8}}T\d{{6}}Z)(?:-\d+)?")


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of `predecessors`.

    Attributes:
        path: the file's name, in the log's folder.
        stream: None while it could not be read yet.
        reason: why it was set aside, as a sentence.
        acked, head: numbers of its stream.
        set_aside_at_ms, ended_at_ms: ms UTC.
    """

    path: str
    stream: str | None
    reason: str
    state: State
    first: int | None
    head: int
    acked: int
    set_aside_at_ms: int
    ended_at_ms: int | None

    @property
    def unacknowledged(self) -> int:
        """Batches that the cloud is not known to have."""
        return 0 if self.state in {State.SENT, State.LOST} else max(0, self.head - self.acked)

    @property
    def kind(self) -> Kind | None:
        """Why it was set aside, by its name."""
        word = self.path.rpartition(".")[2].partition("-")[0]
        return Kind(word) if word in Kind.__members__.values() else None

    @property
    def is_open(self) -> bool:
        """Whether something of it is still to be read or sent."""
        return self.state in {State.TO_READ, State.READY}


def predecessor_row(cells: Sequence[Any]) -> tuple[Any, ...]:
    """Cells as `INSERT_PREDECESSOR` takes them."""
    return (*cells, predecessor_checksum(cells))


def origin_row(stream: str, number: int, batch: int | str) -> tuple[Any, ...]:
    """Where a batch of another stream was logged again, as `INSERT_ORIGIN` takes it."""
    return (stream, number, batch, origin_checksum(stream, number))


def readable_path(log_path: Path, entry: Entry) -> Path:
    """The file that is sent: what was set aside, or, where that is not sound, what could be read of it."""
    aside, copy = log_path.with_name(entry.path), copy_path(log_path, entry)
    return aside if entry.kind is Kind.RESTORED and not copy.exists() else copy


def copy_path(log_path: Path, entry: Entry) -> Path:
    """Where that stands which could be read of a log that was set aside."""
    return log_path.with_name(entry.path + READABLE)


def entries_of(path: Path, rows: Iterable[Sequence[Any]]) -> list[Entry]:
    """The entries of whole rows of `predecessors`. One that is not as it was written is passed over: see `unlisted`."""
    entries: list[Entry] = []
    for row in rows:
        if predecessor_checksum(row[:-1]) == row[-1]:
            entries.append(entry_of(row[:-1]))
        else:
            LOGGER.warning("%s: the checksum of its entry for %r does not fit. It is passed over.", path, row[0])
    return entries


def entry_of(cells: Sequence[Any]) -> Entry:
    """The cells of a row, from `path` to `ended_at_ms`, as an entry."""
    path, stream, reason, state, first, head, acked, set_aside_at_ms, ended_at_ms = cells
    return Entry(path, stream, reason, State(state), first, head or 0, acked or 0, set_aside_at_ms, ended_at_ms)


def cells_of(entry: Entry) -> tuple[object, ...]:
    """The entry as the cells of its row."""
    return (
        entry.path,
        entry.stream,
        entry.reason,
        entry.state,
        entry.first,
        entry.head,
        entry.acked,
        entry.set_aside_at_ms,
        entry.ended_at_ms,
    )


def unlisted(log_path: Path, listed: Container[str]) -> list[Entry]:
    """Logs that lie in the folder as set aside and are not on the list, oldest first; none of them is looked into."""
    found: dict[str, Entry] = {}
    try:
        names = [file.name.removesuffix(READABLE) for file in log_path.parent.iterdir()]
    except OSError as error:
        LOGGER.warning("%s cannot be looked through for logs that were set aside: %s", log_path.parent, error.strerror)
        names = []
    for name in names:
        moment = _NAME.fullmatch(name.removeprefix(log_path.name)) if name.startswith(log_path.name) else None
        if moment is None or name in listed:
            continue
        with suppress(ValueError):  # digits, and yet no time
            at_ms = int(datetime.strptime(moment[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp() * 1000)
            reason = "it was found in the folder, and on no list of logs that were set aside"
            found[name] = Entry(name, None, reason, State.TO_READ, None, 0, 0, at_ms, None)
    for name in sorted(found):
        LOGGER.warning("%s was set aside, and is on no list. What of it the cloud lacks will be sent.", name)
    return sorted(found.values(), key=lambda entry: (entry.set_aside_at_ms, entry.path))
