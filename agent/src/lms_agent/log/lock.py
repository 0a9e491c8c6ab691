"""Who may write the log: one process, which holds `<log>.lock` for as long as it lives.

The kernel drops the lock with the process, also after kill -9, so that no stale lock can keep an agent from starting.
Neighbours: taken by `lms_agent.log.sqlite_log` before the file is touched.
"""

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from lms_agent.log.errors import LogInUse, LogUnavailable
from lms_agent.owning import open_or_make

_TRIES, _PAUSE_S = 5, 0.02
"""A command that looks who writes holds the lock, too, for a moment."""


class WriterLock:
    """An exclusive lock on a side file that names its holder."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor: int | None = descriptor

    @classmethod
    def take(cls, log_path: Path) -> Self:
        """Take the lock of `log_path`.

        Raises:
            LogInUse: another process has it.
            LogUnavailable: the side file cannot be made.
        """
        path = lock_path(log_path)
        try:
            descriptor = open_or_make(path)
        except OSError as error:
            reason = f"its lock file {path} cannot be made ({error.strerror})"
            raise LogUnavailable(log_path, reason, "check that its folder exists and is writable") from error
        for left in reversed(range(_TRIES)):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not left:
                    os.close(descriptor)
                    raise LogInUse(log_path, writer_pid(log_path)) from None
                time.sleep(_PAUSE_S)
        with suppress(OSError):  # a full disk: the lock holds without a name
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return cls(path, descriptor)

    def release(self) -> None:
        """Give the lock back, once. The side file stays: removing it would race with the next taker."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with suppress(OSError):  # a read-only disk: the lock is free without that, too
                os.ftruncate(descriptor, 0)
            os.close(descriptor)


def lock_path(log_path: Path) -> Path:
    """Return the side file that is locked for `log_path`."""
    return log_path.with_name(log_path.name + ".lock")


def writer_pid(log_path: Path) -> int | None:
    """Return the process that says it writes `log_path`; None if none says so."""
    try:
        return int(lock_path(log_path).read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        return None


def is_written(log_path: Path) -> bool:
    """Whether a process holds the writer's lock of `log_path` now."""
    try:
        descriptor = os.open(lock_path(log_path), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
