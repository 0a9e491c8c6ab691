"""What must be known of commands over restarts: a small SQLite file beside the log.

    commands   by id: the command and what has become of it, for as long as it might come again
    locks      which bioreactors are locked at the bench
    untold     events that are not in the log yet, in order

A file of its own, because a log may be set aside for another (damage, a restored image) and the new one must not
forget which commands were carried out, nor who locked what. A damaged one is set aside; then all bioreactors count as
locked, until somebody has looked.

Neighbours: `lms_agent.commands.commanding` writes before it acts; `lms-agent lock` writes when no agent runs.
"""

import json
import os
import sqlite3
import threading
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, Self

from lms_protocol.command_book import Record
from lms_protocol.commands import Lock, SetPoint, Source, State
from lms_protocol.errors import LmsError

from lms_agent.log.reader import denied, is_hidden
from lms_agent.owning import open_or_make

APPLICATION_ID = 0x4C4D5343
"""`LMSC` in the file's header."""
VERSION = 1
_TABLES = (
    "CREATE TABLE commands (id TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE locks (device TEXT PRIMARY KEY, by TEXT NOT NULL, why TEXT NOT NULL, since_ms INTEGER NOT NULL)",
    "CREATE TABLE untold (number INTEGER PRIMARY KEY AUTOINCREMENT, device TEXT NOT NULL, text TEXT NOT NULL)",
)


class StoreUnavailable(LmsError):
    """What is known of commands cannot be read or written.

    Attributes:
        path: the file.
        reason: why.
    """

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path}, where commands and locks are kept, cannot be used: {reason}")


class Untold(NamedTuple):
    """An event on its way into the log; `number` is its place in the queue."""

    number: int
    device: str
    text: str


def store_path(log_path: Path) -> Path:
    """The file beside a log."""
    return log_path.with_name(log_path.name + ".commands")


class CommandStore:
    """The file, open. Its methods block; they may be called from any thread.

    Attributes:
        records: commands as they were when it was opened.
        lasts: whether it is kept on the disk.
        damaged: what a damaged file was renamed to when it was opened; None if it was well.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, damaged: Path | None = None) -> None:
        self.path = path
        self.damaged = damaged
        self.lasts = True
        self._connection = connection
        self._one_at_a_time = threading.Lock()
        self.records = [_record(text) for (text,) in connection.execute("SELECT record FROM commands")]
        self.locks()

    @classmethod
    def open(cls, log_path: Path, devices: Iterable[str] = (), now_ms: int = 0) -> Self:
        """Open it, or make it.

        Args:
            devices: the bioreactors, which are locked if the file that there was is damaged.

        Raises:
            StoreUnavailable: it cannot be opened, or was written by a later release.
        """
        path = store_path(log_path)
        try:
            return cls(path, _connect(path))
        except (sqlite3.DatabaseError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, sqlite3.OperationalError):  # no damage: the disk, or rights
                raise StoreUnavailable(path, str(error)) from error
        try:
            aside = _set_aside(path)
            store = cls(path, _connect(path), aside)
            why = f"{path.name} was damaged (now {aside.name}): who had locked what is not known; unlock after a look"
            store.save(locks={device: Lock("lms-agent", why, now_ms) for device in devices})
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailable(path, str(error)) from error
        return store

    @classmethod
    def in_memory(cls, log_path: Path, devices: Iterable[str], why: StoreUnavailable, now_ms: int) -> Self:
        """What an agent does with that cannot open the file, for it has to read instruments all the same.

        Nobody knows who had locked what: all is locked.
        """
        connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        _migrate(store_path(log_path), connection)
        store = cls(store_path(log_path), connection)
        store.lasts = False
        store.save(locks={device: Lock("lms-agent", str(why), now_ms) for device in devices})
        return store

    def save(
        self,
        record: Record | None = None,
        events: Iterable[tuple[str, str]] = (),
        locks: dict[str, Lock | None] | None = None,
    ) -> None:
        """Write down what has happened, and what is to be told of it: all on the disk when this returns, or nothing.

        Args:
            events: (bioreactor, text) to be told.
            locks: by bioreactor; None takes the lock away.

        Raises:
            StoreUnavailable: the disk refuses.
        """
        statements: list[tuple[str, tuple[Any, ...]]] = []
        if record is not None:
            statements.append(("INSERT OR REPLACE INTO commands VALUES (?, ?)", (record.command.id, _text(record))))
        for device, lock in (locks or {}).items():
            statements.append(("DELETE FROM locks WHERE device = ?", (device,)))
            if lock is not None:
                statements.append(("INSERT INTO locks VALUES (?, ?, ?, ?)", (device, *lock)))
        statements += [("INSERT INTO untold (device, text) VALUES (?, ?)", tuple(event)) for event in events]
        self._write(statements)

    def forget(self, ids: Iterable[str]) -> None:
        """These commands can come no more.

        Raises:
            StoreUnavailable: the disk refuses.
        """
        self._write([("DELETE FROM commands WHERE id = ?", (id_,)) for id_ in ids])

    def told(self, numbers: Iterable[int]) -> None:
        """These events are in the log.

        Raises:
            StoreUnavailable: the disk refuses.
        """
        self._write([("DELETE FROM untold WHERE number = ?", (number,)) for number in numbers])

    def untold(self) -> list[Untold]:
        """Events that are not in the log yet, in order.

        Raises:
            StoreUnavailable: the disk refuses.
        """
        return [Untold(*row) for row in self._read("SELECT number, device, text FROM untold ORDER BY number")]

    def locks(self) -> dict[str, Lock]:
        """Which bioreactors are locked.

        Raises:
            StoreUnavailable: the disk refuses.
        """
        return {row[0]: Lock(*row[1:]) for row in self._read("SELECT device, by, why, since_ms FROM locks")}

    def close(self) -> None:
        """Give the file back, when nobody is at it any more; whoever comes later is refused."""
        with self._one_at_a_time:
            self._connection.close()

    def _read(self, sql: str) -> list[tuple[Any, ...]]:
        try:
            with self._one_at_a_time:
                return self._connection.execute(sql).fetchall()
        except sqlite3.Error as error:
            raise StoreUnavailable(self.path, str(error)) from error

    def _write(self, statements: Iterable[tuple[str, tuple[Any, ...]]]) -> None:
        try:
            with self._one_at_a_time:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    for sql, values in statements:
                        self._connection.execute(sql, values)
                    self._connection.execute("COMMIT")
                except BaseException:
                    with suppress(sqlite3.Error):
                        self._connection.execute("ROLLBACK")
                    raise
        except sqlite3.Error as error:
            raise StoreUnavailable(self.path, str(error)) from error


def _connect(path: Path) -> sqlite3.Connection:
    try:
        os.close(open_or_make(path, follow=False))
    except OSError as error:
        raise StoreUnavailable(path, error.strerror or str(error)) from error
    connection = sqlite3.connect(path, isolation_level=None, timeout=10, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = DELETE").fetchall()
        connection.execute("PRAGMA synchronous = EXTRA")
        _migrate(path, connection)
        _check(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection) -> None:
    ((verdict,),) = connection.execute("PRAGMA quick_check(1)").fetchall()
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)


def _migrate(path: Path, connection: sqlite3.Connection) -> None:
    ((version,),) = connection.execute("PRAGMA user_version").fetchall()
    if version > VERSION:
        raise StoreUnavailable(path, f"it is of a later release (form {version}); install that")
    connection.execute("BEGIN IMMEDIATE")  # two programs may be about to make it
    try:
        if connection.execute("PRAGMA user_version").fetchall() == [(0,)]:
            for table in _TABLES:
                connection.execute(table)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _set_aside(path: Path) -> Path:
    count = 1
    while (aside := path.with_name(f"{path.name}.damaged-{count}")).exists():
        count += 1
    path.rename(aside)
    path.with_name(path.name + "-journal").unlink(missing_ok=True)
    return aside


def _text(record: Record) -> str:
    return json.dumps(asdict(record), ensure_ascii=False)  # NaN and infinities as Python writes and reads them


def _record(text: str) -> Record:
    data = json.loads(text)
    command = data.pop("command")
    return Record(
        command=SetPoint(**(command | {"source": Source(command["source"])})),
        **(data | {"state": State(data["state"])}),
    )


def locks_of(log_path: Path) -> dict[str, Lock]:
    """The locks beside a log, also for who may only look; none if there is no file.

    Raises:
        StoreUnavailable: it cannot be read.
    """
    path = store_path(log_path)
    if is_hidden(path):
        raise StoreUnavailable(path, "; ".join(denied(path)))
    if not path.exists():
        return {}
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=10)) as connection:
            return {row[0]: Lock(*row[1:]) for row in connection.execute("SELECT device, by, why, since_ms FROM locks")}
    except sqlite3.Error as error:
        raise StoreUnavailable(path, str(error)) from error
