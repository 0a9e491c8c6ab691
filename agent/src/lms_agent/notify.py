"""Tell systemd how the agent does: ready, alive, stopping. Without systemd nothing is told.

Neighbours: `lms_agent.health` speaks through it; `systemd/lms-agent.service` listens (`Type=notify`, `WatchdogSec`).

Source: sd_notify(3), sd_watchdog_enabled(3).
"""

import logging
import os
import socket
from collections.abc import Mapping
from typing import Self

LOGGER = logging.getLogger(__name__)

PATIENCE_S = 1.0
"""How long systemd may take to make room for a word; reading goes on after that, told or not."""


class Notifier:
    """The line to systemd.

    Args:
        address: `NOTIFY_SOCKET`; None for nobody.
        watchdog_s: how often systemd wants a sign of life; None for never.
    """

    def __init__(self, address: str | None = None, watchdog_s: float | None = None) -> None:
        self.watchdog_s = watchdog_s
        self._address = address
        self._status = ""
        self._told_failure = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read what systemd says to the processes that it starts."""
        address = environment.get("NOTIFY_SOCKET")
        if address is not None and address.startswith("@"):
            address = "\0" + address[1:]
        usec = environment.get("WATCHDOG_USEC", "")
        ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        return cls(address, int(usec) / 1_000_000 if usec.isdigit() and ours else None)

    def ready(self) -> None:
        """Everything runs."""
        self._send("READY=1")

    def alive(self, status: str) -> None:
        """A sign of life, and a line for `systemctl status`."""
        self._send("WATCHDOG=1" if status == self._status else f"WATCHDOG=1\nSTATUS={status}")
        self._status = status

    def stopping(self) -> None:
        """The agent ends in good order."""
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
                line.settimeout(PATIENCE_S)
                line.sendto(text.encode(), self._address)
        except OSError as error:
            if not self._told_failure:
                LOGGER.warning("systemd cannot be told how the agent does: %s. Reading and sending go on.", error)
            self._told_failure = True
