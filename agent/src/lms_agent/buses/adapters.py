"""Which adapter a device file belongs to, and which programs have it open.

`/dev/ttyUSB0` is another adapter's tomorrow, and after a hub has lost power today already. The name in
`/dev/serial/by-id` holds maker, product and serial number, and stays. Used by `serial_line.py`.
"""

import contextlib
import os
from pathlib import Path
from typing import NamedTuple

BY_ID = Path("/dev/serial/by-id")
_PROCESSES = Path("/proc")


class Holder(NamedTuple):
    """A program that has a port open."""

    pid: int
    name: str

    def __str__(self) -> str:
        """For messages."""
        return f"{self.name} (process {self.pid})"


def id_of(port: str, by_id: Path | None = None) -> Path | None:
    """The lasting name of the adapter that has this device file now; None if there is none, or `port` is a link."""
    if Path(port).is_symlink():
        return None
    device = os.path.realpath(port)
    return next((link for link in sorted((by_id or BY_ID).glob("*")) if os.path.realpath(link) == device), None)


def holders(port: str) -> list[Holder]:
    """Other programs that have this port open, as far as this account may see them."""
    device = os.path.realpath(port)
    found = []
    for process in _PROCESSES.iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):  # ended, or another account's
            if any(str(descriptor.readlink()) == device for descriptor in (process / "fd").iterdir()):
                found.append(Holder(int(process.name), (process / "comm").read_text().strip()))
    return sorted(found)
