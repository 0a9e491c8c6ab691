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
_OTHER_ENDS = frozenset(("/dev/ptmx", "/dev/pts/ptmx"))


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
    """Other programs that have this port open, as far as this account may see them: root all, others their own."""
    device = os.path.realpath(port)
    others = (path for path in _PROCESSES.iterdir() if path.name.isdigit() and int(path.name) != os.getpid())
    return sorted(Holder(int(process.name), _name(process)) for process in others if _has_open(process, device))


def _has_open(process: Path, device: str) -> bool:
    """Whether a process has it open; whoever made a pseudo-terminal keeps its near end open, which does not count."""
    times, made = 0, False
    with contextlib.suppress(OSError):  # ended, or another account's
        for descriptor in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                leads_to = str(descriptor.readlink())
                times += leads_to == device
                made = made or (leads_to in _OTHER_ENDS and device.startswith("/dev/pts/"))
    return times > made


def _name(process: Path) -> str:
    """The program's name; a script's own, not that of its interpreter."""
    words = []
    with contextlib.suppress(OSError):
        words = [word.decode(errors="replace") for word in (process / "cmdline").read_bytes().split(b"\0") if word]
    names = [Path(word).name for word in words]
    if len(names) > 1 and names[0].startswith("python"):
        if words[1] == "-m" and len(names) > 2:
            return names[2]
        return names[0] if words[1].startswith("-") else names[1]
    return names[0] if names else "a program"
