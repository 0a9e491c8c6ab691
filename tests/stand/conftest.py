"""Fixtures of the stand's own tests."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.patience import PATIENCE_S, line_of


class Helper:
    """A process of its own that uses the stand, prints a line of JSON, and then waits until it is killed."""

    def __init__(self, source: str, arguments: list[str]) -> None:
        waiting = "\nprint(json.dumps(told), flush=True)\nsys.stdin.read()\n"
        script = "import json, os, sys\nfrom pathlib import Path\n" + textwrap.dedent(source) + waiting
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        line = self.process.stdout.readline()
        assert line, "the helper ended before it was ready"
        self.told = json.loads(line)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.close()

    def close(self) -> None:
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


@pytest.fixture
def helper() -> Iterator[Callable[..., Helper]]:
    """`helper(source, *arguments)` runs Python source that fills the name `told`; then `.told`, `.kill()`."""
    started: list[Helper] = []

    def start(source: str, *arguments: object) -> Helper:
        started.append(Helper(source, [str(argument) for argument in arguments]))
        return started[-1]

    yield start
    for each in started:
        if each.process.returncode is None:
            each.close()


@pytest.fixture
def alive() -> Callable[[int], bool]:
    """Whether a process runs; one that has ended and was not yet waited for does not."""

    def look(pid: int) -> bool:
        try:
            os.kill(pid, 0)
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except (ProcessLookupError, FileNotFoundError):
            return False

    return look


@pytest.fixture
def wait_for() -> Callable[[Callable[[], bool]], None]:
    """Wait until a condition holds; it fails with the line in which that stands."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline_s, f"not within {PATIENCE_S:.0f} s: {line_of(condition)}"
            time.sleep(0.02)

    return wait
