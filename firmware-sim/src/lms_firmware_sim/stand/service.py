"""What the servers of the stand have in common: a process on a port of 127.0.0.1 that starts, is killed, starts again.

Neighbours: ``broker`` and ``postgres``, which say what is run and when it is ready; ``spawning`` (how it starts).
"""

import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from lms_firmware_sim.stand import ports, quarters
from lms_firmware_sim.stand.errors import ServiceFailedError
from lms_firmware_sim.stand.spawning import stop

PORT_TRIES = 3


class Service(ABC):
    """One server.

    Args:
        wanted: the folder it lives in; it may end up elsewhere when started as root (see ``quarters``).
        log_path: where its words go.
        port: a given port, or None for a free one, kept over restarts.
    """

    name: str
    """As people call it."""
    stopping: Sequence[tuple[signal.Signals, float]]
    """Signals that ask it to end, each with the seconds that it has."""
    taken: Sequence[str]
    """What its last words hold where somebody else has the port."""
    host = ports.LOOPBACK

    def __init__(self, wanted: Path, *, log_path: Path, port: int | None) -> None:
        self.log_path = log_path
        self.user = quarters.service_user()
        self.home = quarters.prepare(wanted, self.user)
        self._given_port = port
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """The port that it listens on; chosen at the first start."""
        if self._port is None:
            self._port = ports.free_port()
        return self._port

    @property
    def pid(self) -> int | None:
        """Its process while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def stop(self) -> None:
        """Ask it to end, at last by force."""
        if self._process is not None:
            stop(self._process, self.stopping)
            self._process = None

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def poll(self) -> int | None:
        """Its exit code once it has ended; None while it runs."""
        return None if self._process is None else self._process.poll()

    @abstractmethod
    def _launch(self) -> None:
        """Start it on `port` and wait until it is ready.

        Raises:
            ServiceFailedError: it ended, or did not answer in time.
        """

    def _require_port(self) -> None:
        """See that nobody has the given port.

        Raises:
            PortBusyError: somebody has.
        """
        self.poll()  # where it was killed from outside: take note of its end
        if self._given_port is not None:
            ports.require_free(self._given_port, self.name)

    def _start(self) -> None:
        """Launch it, on another port where a free one was taken meanwhile."""
        for attempt in range(1, PORT_TRIES + 1):
            try:
                self._launch()
            except ServiceFailedError as failure:
                is_taken = any(words in failure.last_words for words in self.taken)
                if self._given_port is not None or not is_taken or attempt == PORT_TRIES:
                    raise
                self._port = ports.free_port()
            else:
                return
