"""Keep services running: start again what dies, with growing patience, and stop all in order.

One loop in one thread, the main one: the kernel ends the services when the thread that started them ends.
"""

import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lms_firmware_sim.stand.errors import StandError
from lms_firmware_sim.stand.spawning import spawn, stop

LOOK_EVERY_S = 0.2
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
STEADY_AFTER_S = 60.0
"""A service that ran this long has recovered: its next failure is a new one, with the first pause."""

Say = Callable[[str], None]


class Service(Protocol):
    """What the keeper needs of a service; PostgresServer, Broker and Program are such."""

    @property
    def pid(self) -> int | None:
        """Its process while it runs."""

    def start(self) -> None:
        """Start it; return when it can be used."""

    def stop(self) -> None:
        """Stop it; return when it has ended."""

    def poll(self) -> int | None:
        """Its exit code once it has ended by itself; None while it runs."""


class Program:
    """One of LMS evo's own programs as a service.

    Args:
        argv: the command line; never a secret in it, as everyone on the machine can read it.
        env: its whole environment.
        log_path: where its words go.
        cwd: its working folder.
        patience_s: how long it has to end after SIGTERM.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str],
        log_path: Path,
        cwd: Path,
        patience_s: float = 10.0,
    ) -> None:
        self._argv = list(argv)
        self._env = dict(env)
        self._log_path = log_path
        self._cwd = cwd
        self._patience_s = patience_s
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its process while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start it."""
        self._process = spawn(self._argv, log_path=self._log_path, env=self._env, cwd=self._cwd)

    def stop(self) -> None:
        """Ask it to end, at last by force."""
        if self._process is not None:
            stop(self._process, ((signal.SIGTERM, self._patience_s),))
            self._process = None

    def poll(self) -> int | None:
        """Its exit code once it has ended by itself; None while it runs."""
        return None if self._process is None else self._process.poll()


@dataclass
class _Kept:
    name: str
    service: Service
    started_at_s: float
    pause_s: float = FIRST_PAUSE_S
    due_at_s: float | None = None


class Keeper:
    """Keeps services running until it is told to stop.

    Args:
        say: told in a sentence what died and when it starts again.
        changed: called whenever a process number has changed.
    """

    def __init__(self, say: Say, changed: Callable[[], None]) -> None:
        self._say = say
        self._changed = changed
        self._kept: list[_Kept] = []

    def start(self, name: str, service: Service) -> None:
        """Start a service and keep it running from now on.

        Raises:
            StandError: it did not start; it is not kept then.
        """
        service.start()
        self._kept.append(_Kept(name, service, time.monotonic()))

    def pids(self) -> dict[str, int]:
        """The process of each service that runs now."""
        return {kept.name: kept.service.pid for kept in self._kept if kept.service.pid is not None}

    def run(self, stopping: Callable[[], bool]) -> None:
        """Watch over the services until ``stopping()`` is true."""
        while not stopping():
            self.look()
            time.sleep(LOOK_EVERY_S)

    def look(self) -> None:
        """Start again what has died and whose pause is over."""
        now_s = time.monotonic()
        for kept in self._kept:
            if kept.due_at_s is None:
                code = kept.service.poll()
                if code is not None:
                    self._died(kept, code, now_s)
            elif now_s >= kept.due_at_s:
                self._start_again(kept, now_s)

    def stop(self) -> None:
        """Stop all, the last started first."""
        for kept in reversed(self._kept):
            kept.service.stop()
        self._kept.clear()

    def _died(self, kept: _Kept, code: int, now_s: float) -> None:
        if now_s - kept.started_at_s >= STEADY_AFTER_S:
            kept.pause_s = FIRST_PAUSE_S
        self._say(f"{kept.name} ended ({_cause(code)}); starting it again in {kept.pause_s:g} s")
        kept.due_at_s = now_s + kept.pause_s
        kept.pause_s = min(kept.pause_s * 2, LONGEST_PAUSE_S)
        self._changed()

    def _start_again(self, kept: _Kept, now_s: float) -> None:
        try:
            kept.service.start()
        except StandError as error:
            self._say(f"{kept.name} did not start: {error} Trying again in {kept.pause_s:g} s")
            kept.due_at_s = now_s + kept.pause_s
            kept.pause_s = min(kept.pause_s * 2, LONGEST_PAUSE_S)
            return
        kept.due_at_s = None
        kept.started_at_s = now_s
        self._say(f"{kept.name} runs again (process {kept.service.pid})")
        self._changed()


def _cause(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"code {code}"
