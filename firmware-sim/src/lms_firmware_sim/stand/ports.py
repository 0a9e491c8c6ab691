"""TCP ports on 127.0.0.1: a free one, whether one is free, and who has it."""

import contextlib
import socket
from collections.abc import Container
from pathlib import Path

from lms_firmware_sim.stand.errors import PortBusyError

LOOPBACK = "127.0.0.1"
LISTEN_STATE = "0A"
SPAN = 200
LAST_PORT = 65535


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int) -> bool:
    """Whether we could listen on ``port`` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def near(wanted: int, taken: Container[int] = ()) -> int:
    """``wanted`` if it is free and not in ``taken``, else the next such port above it, else any free one."""
    for port in range(wanted, min(wanted + SPAN, LAST_PORT) + 1):
        if port not in taken and is_free(port):
            return port
    return free_port()


def require_free(port: int, purpose: str) -> None:
    """Raise PortBusyError, naming the holder where we may see it, unless ``port`` is free."""
    if not is_free(port):
        raise PortBusyError(port, purpose, holder(port))


def holder(port: int) -> str | None:
    """The process that listens on ``port``, as "name (process 123)"; None when we may not see it.

    Source: proc(5), /proc/net/tcp: local address in hex, state 0A is LISTEN, the tenth field is the socket's inode.
    """
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == LISTEN_STATE and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(str(link.readlink()) in inodes for link in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (process {process.name})"
    return None
