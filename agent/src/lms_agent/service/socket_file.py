"""The socket beside the log, and a name for it that is short enough.

Neighbours: `lms_agent.service.door` listens on it, `lms_agent.service.client` connects.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOCKET_MODE = 0o660
"""The agent's user and its group, the technicians at the bench."""


def socket_path(log_path: Path) -> Path:
    """The socket of the agent that writes a log."""
    return log_path.with_name(log_path.name + ".socket")


@contextmanager
def short_name(file: Path) -> Iterator[str]:
    """A name for a socket's file that is short enough (108 bytes) however deep its folder lies.

    Raises:
        OSError: the folder is not there, or may not be entered.
    """
    folder = os.open(file.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{file.name}"
    finally:
        os.close(folder)
