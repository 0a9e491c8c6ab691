"""How the command line asks a running agent; and finds out whether one runs.

    Service.of(log)      →  None: nobody listens there, so the ports are free to be opened
    service.read([…])    →  the agent reads on its own bus, between two of its transactions

Neighbours: `lms_agent.service.door` is the other side; `lms_agent.cli` asks.
"""

import errno
import grp
import json
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from lms_agent.accounts import account_name
from lms_agent.bench import Visit
from lms_agent.calibration.making import Wish
from lms_agent.calibration.record import Calibration
from lms_agent.calibration.store import Calibrations
from lms_agent.service.errors import BROKEN, ServiceBroken, ServiceDenied, ServiceError, ServiceRefused, ServiceSilent
from lms_agent.service.socket_file import short_name, socket_path

_Answer = TypeVar("_Answer")

WITHIN_S = 60.0
"""How long an answer may take: every instrument of a line may be silent."""
_NOBODY = frozenset({errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR})


class Service:
    """A running agent, through its door. Use it as a context manager, or call `close`."""

    def __init__(self, path: Path, talking: socket.socket) -> None:
        self.path = path
        self._talking = talking
        self._lines = talking.makefile("rb")

    @classmethod
    def of(cls, log_path: Path, within_s: float = WITHIN_S) -> Self | None:
        """The agent that writes `log_path`; None if none has its door open there.

        Args:
            within_s: how long each answer may take.

        Raises:
            ServiceDenied: one runs, or may run, but this account may not ask it.
            ServiceError: the socket cannot be used.
        """
        path = socket_path(log_path)
        talking = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            talking.settimeout(within_s)
            with short_name(path) as name:
                talking.connect(name)
        except OSError as error:
            talking.close()
            if error.errno in _NOBODY:
                return None
            if error.errno in (errno.EACCES, errno.EPERM):
                raise ServiceDenied(path, account_name(), _group_of(path)) from error
            raise ServiceError(f"the agent at {path} cannot be asked: {error.strerror or error}") from error
        return cls(path, talking)

    def ask(self, what: str, **more: Any) -> dict[str, Any]:
        """Ask, and wait for the answer.

        Raises:
            ServiceRefused: the agent will not, or cannot.
            ServiceSilent: no whole answer came in time.
        """
        try:
            self._talking.sendall(json.dumps({"ask": what, **more}, ensure_ascii=False).encode() + b"\n")
            line = self._lines.readline()
            answer = json.loads(line) if line.endswith(b"\n") else None
        except (OSError, ValueError) as error:
            raise ServiceSilent(self.path, str(error)) from error
        if not isinstance(answer, dict):
            raise ServiceSilent(self.path, "it ended the connection")
        if "error" in answer:
            kind = str(answer.get("kind"))
            raise (ServiceBroken if kind == BROKEN else ServiceRefused)(kind, str(answer["error"]))
        return answer

    def status(self) -> dict[str, Any]:
        """What the agent says of itself this moment, as in its status file."""
        status: dict[str, Any] = self.ask("status")["status"]
        return status

    def read(self, instruments: Sequence[str] | None = None) -> list[Visit]:
        """Have instruments read now; all of them, if none are named.

        Raises:
            ServiceError: as `ask`.
        """
        more = {} if instruments is None else {"instruments": list(instruments)}
        return self._understood(lambda: [Visit.from_json(each) for each in self.ask("read", **more)["visits"]])

    def slope_percent(self, bioreactor: str, tag: str) -> float | None:
        """How good a probe is, as its instrument says; None if it does not.

        Raises:
            ServiceError: as `ask`.
        """
        told = self.ask("slope", bioreactor=bioreactor, tag=tag).get("slope_percent")
        return float(told) if isinstance(told, int | float) else None

    def calibrate(self, wish: Wish) -> Calibration:
        """Have a calibration kept; it holds from the next scan on.

        Raises:
            ServiceRefused: it is none that can be kept, or nobody has accepted its figures, or the disk refuses.
            ServiceError: as `ask`.
        """
        return self._understood(lambda: Calibration.from_json(self.ask("calibrate", **wish.to_json())["calibration"]))

    def calibrations(self) -> Calibrations:
        """All calibrations that there ever were.

        Raises:
            ServiceError: as `ask`.
        """
        return self._understood(lambda: Calibrations.from_json(self.ask("calibrations")))

    def _understood(self, answer: Callable[[], _Answer]) -> _Answer:
        try:
            return answer()
        except (KeyError, TypeError, ValueError) as error:
            raise ServiceSilent(self.path, f"its answer is of another release: {error!r}") from error

    def tell(self, bioreactor: str, tag: str, part: str, reference: float | None = None) -> None:
        """Have an instrument told a part of a calibration that it keeps itself; see `Bench.tell`.

        Raises:
            ServiceError: as `ask`; a `ServiceRefused` of kind `NotObeyed` means that nobody knows whether it took it.
        """
        self.ask("tell", bioreactor=bioreactor, tag=tag, part=part, reference=reference)

    def close(self) -> None:
        """End the conversation."""
        self._lines.close()
        self._talking.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _group_of(path: Path) -> str:
    for place in (path, path.parent):
        try:
            return grp.getgrgid(place.stat().st_gid).gr_name
        except (OSError, KeyError):
            continue
    return "lms-agent"
