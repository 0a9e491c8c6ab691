"""Clock, account and disk: what every agent needs of its computer."""

import grp
import os
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from lms_agent.accounts import account_name
from lms_agent.doctor.finding import Finding, bad, good, note, unknown
from lms_agent.log.limits.retention import Limits
from lms_agent.timekeeping.discipline import RELEASED_MS
from lms_agent.timekeeping.kernel import synchronised

SERIAL_GROUP = "dialout"
LEAST_FREE_BYTES = 100_000_000
MOUNTS = Path("/proc/self/mounts")
_IN_MEMORY = frozenset(("tmpfs", "ramfs"))


def account() -> Finding:
    """As whom the doctor looks: what this account may do, the agent's may not, and the other way round."""
    name = account_name()
    mine = {_group_name(number) for number in {*os.getgroups(), os.getegid()}}
    if os.geteuid() == 0 or SERIAL_GROUP in mine:
        return good("account", f"{name}, in the groups {', '.join(sorted(mine))}")
    remedy = f"`sudo usermod -aG {SERIAL_GROUP} {name}`, then log in again"
    try:
        listed = name in grp.getgrnam(SERIAL_GROUP).gr_mem
    except KeyError:
        return note("account", f"{name}; this computer has no group {SERIAL_GROUP}")
    if listed:
        remedy = "log out and in again: the group is new to this account"
    return note("account", f"{name} is not in the group {SERIAL_GROUP}, to which serial ports belong", remedy)


def _group_name(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def clock(now_ms: int | None = None, follows: bool | None = None) -> Finding:
    """Whether the computer's clock can be right.

    Args:
        now_ms, follows: what it says, and whether it follows a time server; by default as it is.
    """
    now_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    follows = synchronised() if follows is None else follows
    said = f"{datetime.fromtimestamp(now_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
    remedy = "check the network and the time server: `timedatectl timesync-status`, `timedatectl set-ntp true`"
    if now_ms < RELEASED_MS:
        return bad("clock", f"{said} is before this program was made: readings are kept, but not sent", remedy)
    if follows is None:
        return note("clock", f"{said}; nobody says whether it follows a time server", remedy)
    if not follows:
        return note("clock", f"{said}, not synchronised: times may be off", remedy)
    return good("clock", f"{said}, synchronised")


def disk(log: Path, limits: Limits) -> Iterator[Finding]:
    """Whether the log has room, may be written, and stays when the computer is switched off."""
    folder = log.parent
    if not folder.is_dir():
        command = f"`sudo mkdir -p {folder}`, and give it to the agent's account"
        yield bad("disk", f"the log's folder {folder} is not there", command)
        return
    try:
        free = shutil.disk_usage(folder).free
        size = log.stat().st_size if log.exists() else 0
    except OSError as error:
        yield unknown("disk", f"{folder}: {error.strerror}", "look as the agent's account: `sudo -u lms-agent …`")
        return
    yield _room(folder, free, size, limits)
    yield from _nature(folder)
    if not os.access(folder, os.W_OK):
        yield _not_writable(folder)


def _room(folder: Path, free: int, size: int, limits: Limits) -> Finding:
    said = f"{_megabytes(free)} free in {folder}"
    if free < LEAST_FREE_BYTES:
        return bad(
            "disk", said, f"make room (`sudo du -xh {_mount_of(folder)[0]} | sort -h | tail`), or use a larger disk"
        )
    if limits.max_bytes is not None and limits.max_bytes - size > free - LEAST_FREE_BYTES:
        allowed = max(1_000_000, (free + size - LEAST_FREE_BYTES) // 1_000_000 * 1_000_000)
        found = f"{said}, but the log may grow to {_megabytes(limits.max_bytes)}"
        return note("disk", found, f"make room, or set log_max_bytes = {allowed}")
    return good("disk", f"{said}; the log has {_megabytes(size)} of at most {_megabytes(limits.max_bytes or 0)}")


def _nature(folder: Path) -> Iterator[Finding]:
    where, kind, options = _mount_of(folder)
    if "ro" in options.split(","):
        yield bad(
            "disk",
            f"{where} is mounted read-only",
            f"look for errors of the disk in `dmesg`; then `sudo mount -o remount,rw {where}`",
        )
    if kind in _IN_MEMORY:
        yield bad("disk", f"{folder} is in memory ({kind}): the log is gone when the power goes", "put `log` on a disk")


def _mount_of(folder: Path) -> tuple[str, str, str]:
    """Mount point, kind and options of the file system that holds `folder`."""
    best = ("/", "", "")
    real = folder.resolve()
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return best
    for line in lines:
        words = line.split(" ")
        if len(words) < 4:
            continue
        point = words[1].encode().decode("unicode_escape", "replace")
        if real.is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, words[2], words[3])
    return best


def _not_writable(folder: Path) -> Finding:
    try:
        owner = folder.owner()
    except (KeyError, OSError):
        owner = "another account"
    found = f"{account_name()} may not write in {folder}; it belongs to {owner}"
    if owner == "root":
        return bad("disk", found, f"`sudo chown lms-agent: {folder}`, for the account that the agent runs as")
    return note("disk", found, f"look as that account: `sudo -u {owner} lms-agent doctor`")


def _megabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
