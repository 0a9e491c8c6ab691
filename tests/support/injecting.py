"""Faults of the computer itself: system calls that fail or wait (strace), memory that runs out (cgroups).

Where the computer does not allow it, the test is skipped and says what is lacking.
"""

import asyncio
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

CGROUPS = Path("/sys/fs/cgroup")


class Injections:
    """What strace has injected so far.

    Attributes:
        count: system calls that failed, or had to wait.
    """

    def __init__(self, told: Path) -> None:
        self._told = told

    @property
    def count(self) -> int:
        said = self._told.read_text(errors="replace")
        return said.count("(INJECTED)") + said.count("(DELAYED)")


@asynccontextmanager
async def injected(pid: int, *injections: str) -> AsyncIterator[Injections]:
    """System calls of a running process fail or wait, by strace, while this is entered.

    Args:
        injections: as strace takes them, such as `fsync:error=EIO`.
    """
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    with tempfile.NamedTemporaryFile(prefix="strace-") as told:
        process = await asyncio.create_subprocess_exec(
            *("strace", "-f", "-q", "-p", str(pid), "-o", told.name),
            *("-e", f"trace={','.join(each.partition(':')[0] for each in injections)}"),
            *(part for each in injections for part in ("-e", f"inject={each}")),
            stderr=asyncio.subprocess.PIPE,
        )
        while process.returncode is None and not _all_are_traced(pid):
            await asyncio.sleep(0.05)
        if process.returncode is not None:
            assert process.stderr is not None
            pytest.skip(f"needs a kernel that lets strace attach: {(await process.stderr.read()).decode().strip()}")
        try:
            yield Injections(Path(told.name))
        finally:
            process.send_signal(signal.SIGINT)
            await asyncio.wait_for(process.wait(), 30)


def _all_are_traced(pid: int) -> bool:
    """Whether every thread of a process has a tracer."""
    return all("TracerPid:\t0\n" not in path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status"))


class MemoryGroup:
    """A cgroup with a limit on memory."""

    def __init__(self, folder: Path, limit: str, peak: str) -> None:
        self.folder = folder
        self._limit, self._peak = folder / limit, folder / peak

    def limit(self, size: int) -> None:
        """Allow so many bytes, and no swap."""
        self._limit.write_text(str(size))
        for name in ("memory.swap.max", "memory.swappiness"):
            with suppress(OSError):
                (self.folder / name).write_text("0")

    def inside(self, argv: Sequence[str | Path]) -> list[str | Path]:
        """The command line that runs `argv` in this group."""
        return ["/bin/sh", "-c", f'echo $$ > {self.folder}/cgroup.procs; exec "$@"', "sh", *argv]

    @property
    def most_mib(self) -> float:
        """The most that was used at a time, in MiB, the page cache included."""
        return int(self._peak.read_text()) / (1 << 20)


@asynccontextmanager
async def memory_group(size: int) -> AsyncIterator[MemoryGroup]:
    """A group for processes that may use `size` bytes together; whoever is in it at the end is killed."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to limit memory by a cgroup")
    name = f"lms-test-{secrets.token_hex(4)}"
    if (CGROUPS / "memory").is_dir():
        group = MemoryGroup(CGROUPS / "memory" / name, "memory.limit_in_bytes", "memory.max_usage_in_bytes")
    else:
        group = MemoryGroup(CGROUPS / name, "memory.max", "memory.peak")
    try:
        group.folder.mkdir()
        group.limit(size)
    except OSError as error:
        with suppress(OSError):
            group.folder.rmdir()
        pytest.skip(f"needs a cgroup that limits memory: {error}")
    try:
        yield group
    finally:
        for _ in range(100):
            for pid in (group.folder / "cgroup.procs").read_text().split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            with suppress(OSError):
                group.folder.rmdir()
                break
            await asyncio.sleep(0.1)
