"""A small ext4 disk on a loop device, to cut the power of, to fill, and to break.

Cutting the power: the ext4 shutdown ioctl stops the file system without writing anything more, as when the power
goes; what a journal and a disk had by then is all that is there after the next mount.
"""

import fcntl
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from pathlib import Path

import pytest

BLOCK_BYTES = "4096"
"""As on every disk of some size: of smaller blocks than its pages, SQLite would map holes, and die of a full disk."""
EXT4_IOC_SHUTDOWN = 0x8004587D


class Shutdown(IntEnum):
    """How much the file system still does. Source: Linux, fs/ext4/ext4.h."""

    WITH_EVERYTHING = 0
    """Freeze first: writes all that is in memory."""
    WITH_LOG = 1
    """Writes its own journal, and no data that nobody has asked to be written."""
    WITHOUT_LOG = 2
    """Writes nothing more: a power cut."""


class LoopDisk:
    """An ext4 file system in an image file, mounted at `path`."""

    def __init__(self, folder: Path, size_mib: int, options: str) -> None:
        self.image = folder / "disk.img"
        self.path = folder / "disk"
        self._options = options
        self.path.mkdir()
        with self.image.open("wb") as file:
            file.truncate(size_mib << 20)
        _run("mkfs.ext4", "-q", "-F", "-b", BLOCK_BYTES, "-E", "lazy_itable_init=0,lazy_journal_init=0", self.image)

    def mount(self) -> None:
        _run("mount", "-o", f"loop,{self._options}", self.image, self.path)

    def unmount(self) -> None:
        """Give it back; whoever still has files open on it keeps an orphaned file system."""
        _run("umount", self.path)

    @property
    def device(self) -> str:
        """Name of its block device, such as `loop3`."""
        for line in Path("/proc/self/mounts").read_text().splitlines():
            device, place, *_ = line.split()
            if place == str(self.path):
                return Path(device).name
        raise FileNotFoundError(self.path)

    def cut_power(self, how: Shutdown = Shutdown.WITHOUT_LOG) -> int:
        """From now on every access fails with EIO. Gives when it began (CLOCK_MONOTONIC, ns)."""
        opened = os.open(self.path, os.O_RDONLY)
        began_ns = time.monotonic_ns()
        try:
            fcntl.ioctl(opened, EXT4_IOC_SHUTDOWN, struct.pack("I", how))
        finally:
            os.close(opened)
        return began_ns

    def report_error(self) -> None:
        """Have the file system find itself damaged; mounted with `errors=remount-ro`, it becomes read-only."""
        Path(f"/sys/fs/ext4/{self.device}/trigger_fs_error").write_text("a test")

    def check(self) -> None:
        """Repair it, as a boot does."""
        answer = subprocess.run(["fsck.ext4", "-y", str(self.image)], capture_output=True, text=True, check=False)
        assert answer.returncode in (0, 1), answer.stdout + answer.stderr


@contextmanager
def loop_disk(folder: Path, *, size_mib: int = 64, options: str = "noatime") -> Iterator[LoopDisk]:
    """A mounted disk; the test is skipped where none can be had, and says what it lacks."""
    for name in ("mkfs.ext4", "fsck.ext4", "mount"):
        if shutil.which(name) is None:
            pytest.skip(f"needs {name}")
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a disk")
    disk = LoopDisk(folder, size_mib, options)
    try:
        disk.mount()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"needs loop mounts of ext4: {error.stderr.strip()}")
    try:
        yield disk
    finally:
        with suppress(subprocess.CalledProcessError):
            disk.unmount()


@contextmanager
def small_tmpfs(folder: Path, *, size_mib: int) -> Iterator[Path]:
    """A file system in memory that is soon full; the test is skipped where none can be had."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small file system")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _run("mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "tmpfs", folder)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"needs tmpfs mounts: {error.stderr.strip()}")
    try:
        yield folder
    finally:
        with suppress(subprocess.CalledProcessError):
            _run("umount", "-l", folder)


def _run(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
