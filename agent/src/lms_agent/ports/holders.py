"""Which processes have a device file open, as far as this account may see: root sees all, others their own.

Source: proc(5), `/proc/PID/fd`.
"""

import os
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
_OTHER_ENDS = frozenset(("/dev/ptmx", "/dev/pts/ptmx"))


class Holder(NamedTuple):
    """A process that has a file open."""

    pid: int
    name: str

    def __str__(self) -> str:
        """For people."""
        return f"{self.name} (process {self.pid})"


def holders(path: Path, proc: Path = PROC) -> list[Holder]:
    """The processes that have `path` open; this one is left out."""
    try:
        wanted = _identity(path)
    except OSError:
        return []
    others = (folder for folder in proc.iterdir() if folder.name.isdigit() and int(folder.name) != os.getpid())
    return sorted(Holder(int(folder.name), _name(folder)) for folder in others if _has_open(folder, path, wanted))


def _has_open(process: Path, path: Path, wanted: int) -> bool:
    """Whether a process has it open; who holds the other end of a pseudo-terminal has not, though it keeps both."""
    real = os.path.realpath(path)
    has = False
    try:
        for descriptor in (process / "fd").iterdir():
            try:
                leads_to = str(descriptor.readlink())
                if leads_to in _OTHER_ENDS and real.startswith("/dev/pts/"):
                    return False
                has = has or (leads_to == real and _identity(descriptor) == wanted)
            except OSError:
                continue
    except OSError:  # ended meanwhile, or another account's
        return False
    return has


def _identity(path: Path) -> int:
    status = path.stat()
    return status.st_rdev or status.st_ino


def _name(process: Path) -> str:
    try:
        words = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return "a program"
    names = [Path(word.decode(errors="replace")).name for word in words if word]
    if len(names) > 1 and names[0].startswith("python"):
        return names[1]
    return names[0] if names else "a program"
