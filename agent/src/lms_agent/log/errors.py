"""What can go wrong with the log, as sentences a technician can act on.

    LmsError
    └── LogError                  anything about one log file; `path` says which
        ├── LogInUse              another process writes this log
        ├── LogUnavailable        the file cannot be opened, or is no log of ours
        ├── LogWriteFailed        the disk refused; nothing of what was handed over is in the log
        ├── LogDamaged            a record's bytes are not those that were written
        ├── LogMalformed          the file itself is damaged: more than one record cannot be reached
        └── LogClosed             the log was closed before

Neighbours: raised in `lms_agent.log`, caught by `lms_agent.log.keeping` and the command line.
"""

import errno
import sqlite3
from pathlib import Path

from lms_protocol.errors import LmsError

_REASONS = (
    ("SQLITE_FULL", "the disk is full", "free some space"),
    ("SQLITE_READONLY", "the file or its file system is read-only", "make it writable again"),
    ("SQLITE_IOERR", "the disk reports an input/output error", "check the SD card or disk, and its cable"),
    ("SQLITE_CORRUPT", "the file is damaged", "set it aside and start with a new log"),
    ("SQLITE_NOTADB", "it is not an SQLite file", "choose another path for the log"),
    ("SQLITE_CANTOPEN", "it cannot be opened", "check that its folder exists and that this user may write there"),
    ("SQLITE_PERM", "this user may not open it", "give this user the right to it"),
    ("SQLITE_BUSY", "another program holds it locked", "close the other program"),
)


_OS_REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EROFS: "make the file system writable again",
    errno.EIO: "check the SD card or disk, and its cable",
}
_NO_TEXT = "Could not decode to UTF-8"
"""What the library, not SQLite, says of a text that is none."""
ADVICE_ON_DAMAGE = (
    "Leave it where it is, and start the agent or let it run: it sets the file aside, begins a new log, "
    "and sends all that can be read."
)
"""What a technician does about a damaged file."""


SQLITE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What the library raises; of a damaged schema, SQLite's own message may be no text."""


def is_malformed(error: sqlite3.Error | UnicodeDecodeError) -> bool:
    """Whether SQLite says that the file is damaged. A failing device makes it say so, too: open again to believe it."""
    if isinstance(error, UnicodeDecodeError):
        return True
    name = getattr(error, "sqlite_errorname", None) or ""
    return name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")) or str(error).startswith(_NO_TEXT)


def damaged_row(of: str) -> sqlite3.DatabaseError:
    """What to raise, where SQLite's own errors are caught, for a row whose checksum does not fit."""
    error = sqlite3.DatabaseError(f"the checksum of the row of {of} does not fit")
    error.sqlite_errorname = "SQLITE_CORRUPT"
    return error


def explain(error: sqlite3.Error | UnicodeDecodeError) -> tuple[str, str]:
    """Return what an SQLite error means, and what to do about it."""
    if isinstance(error, UnicodeDecodeError):
        return "a name in its schema is no text", ADVICE_ON_DAMAGE
    name = getattr(error, "sqlite_errorname", None) or ""
    for prefix, reason, remedy in _REASONS:
        if name.startswith(prefix):
            return f"{reason} ({name})", remedy
    return f"SQLite says: {error}", "look at the program's journal"


def explain_os(error: OSError) -> tuple[str, str]:
    """Return what an error of the operating system means, and what to do about it."""
    remedy = _OS_REMEDIES.get(error.errno or 0, "check the disk, and that this user may write there")
    return str(error.strerror or error), remedy


class LogError(LmsError):
    """Anything about one log file.

    Attributes:
        path: the log file.
    """

    def __init__(self, path: Path, message: str) -> None:
        self.path = path
        super().__init__(message)


class LogInUse(LogError):
    """Another process writes this log.

    Attributes:
        pid: the other process, where it said so.
    """

    def __init__(self, path: Path, pid: int | None) -> None:
        self.pid = pid
        who = "another process" if pid is None else f"process {pid}"
        super().__init__(
            path, f"The log {path} is being written by {who}; stop that agent first, or give this one a log of its own."
        )


class LogUnavailable(LogError):
    """The file cannot be opened, or is no log of ours.

    Attributes:
        reason: what is in the way.
        remedy: what to do about it.
    """

    def __init__(self, path: Path, reason: str, remedy: str) -> None:
        self.reason = reason
        self.remedy = remedy
        super().__init__(path, f"The log {path} cannot be used: {reason}; {remedy}.")


class LogWriteFailed(LogError):
    """The disk refused. Nothing of what was handed over is in the log; it may be handed over again.

    Attributes:
        reason: why.
    """

    def __init__(self, path: Path, reason: str, remedy: str) -> None:
        self.reason = reason
        super().__init__(path, f"The log {path} cannot be written: {reason}; {remedy}.")


class LogDamaged(LogError):
    """A record's bytes are not those that were written.

    Attributes:
        number: the batch concerned.
        reason: what does not fit.
    """

    def __init__(self, path: Path, number: int, reason: str) -> None:
        self.number = number
        self.reason = reason
        super().__init__(path, f"Batch {number} of the log {path} is damaged: {reason}.")


class LogMalformed(LogError):
    """The file itself is damaged; the agent sets it aside and goes on with a new one.

    Attributes:
        reason: what does not fit.
    """

    def __init__(self, path: Path, reason: str) -> None:
        self.reason = reason
        super().__init__(path, f"The log {path} is damaged: {reason}.")


class LogClosed(LogError):
    """The log was closed before."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, f"The log {path} is closed.")
