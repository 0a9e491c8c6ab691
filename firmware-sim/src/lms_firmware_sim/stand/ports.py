"""TCP ports on 127.0.0.1: a free one, whether one is free, and who has it."""

import contextlib
import itertools
import socket
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


def reserve_near(wanted: int) -> tuple[int, socket.socket]:
    """``wanted`` if nobody has it, else the next free port above it, reserved among the demos of this machine.

    A port is chosen seconds before its service listens on it; two demos that start side by side must not choose the
    same. The reservation is a Unix socket in the abstract namespace, which the kernel takes back when we end.

    Returns:
        The port, and the reservation: close it when the port is no longer needed.
    """
    candidates = itertools.chain(range(wanted, min(wanted + SPAN, LAST_PORT) + 1), iter(free_port, None))
    for port in candidates:
        if is_free(port) and (reservation := _reserve(port)) is not None:
            return port, reservation
    raise AssertionError("unreachable: free_port always finds another")


def _reserve(port: int) -> socket.socket | None:
    reservation = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        reservation.bind(f"\0lms-evo-port-{port}")
    except OSError:
        reservation.close()
        return None
    return reservation


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
