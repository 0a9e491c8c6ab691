"""The whole system in a folder of its own, started as `make demo` starts it; its own keeper restarts what dies."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
UP = "Ctrl-C stops it"


class RunningDemo:
    """A demo that is up, and everything that it started.

    Args:
        folder: its folder.
        history_h: hours of history that it begins with.
        arguments: more of its command line.
    """

    def __init__(self, folder: Path, *, history_h: float = 0.1, arguments: tuple[str, ...] = ()) -> None:
        self.folder = folder
        command = [sys.executable, "-m", "lms_firmware_sim.stand", "demo", "--history-h", str(history_h), *arguments]
        command += ["--folder", str(folder), "--tools", str(ROOT / ".tools"), "--with-parent"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self.process.stdout is not None
        self.said: list[str] = []
        for line in self.process.stdout:
            self.said.append(line)
            if UP in line:
                break
        else:
            pytest.fail("the demo ended: " + "".join(self.said))

    @property
    def told(self) -> dict[str, Any]:
        """What `demo.json` says now."""
        told: dict[str, Any] = json.loads((self.folder / "demo.json").read_text())
        return told

    @property
    def url(self) -> str:
        """The dashboard's address."""
        return str(self.told["url"])

    @property
    def pids(self) -> dict[str, int]:
        """Its processes by name."""
        return dict(self.told["pids"])

    @property
    def login(self) -> tuple[str, str]:
        """E-mail and password of its user."""
        told = self.told
        return told["email"], told["password"]

    @property
    def logs(self) -> list[Path]:
        """The agents' logs."""
        return [self.folder / "agents" / f"{agent}.sqlite3" for agent in ("agent-1", "agent-2")]

    def kill(self, name: str) -> None:
        """SIGKILL one of its processes; one that is just being started again is left alone."""
        pid = self.pids.get(name)
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def family(self) -> list[psutil.Process]:
        """Every process below it."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it, see that nothing is left of it, give its exit code. Ending twice is allowed."""
        if self.process.returncode is None:
            family = self.family()
            self.process.send_signal(number)
            self.process.communicate(timeout=90)
            _, alive = psutil.wait_procs(family, timeout=20)
            assert alive == []
        return self.process.returncode
