"""A pseudo-terminal as one end of a serial line: the wire holds the master, a client opens the slave by its path.

The wire keeps the slave open too, so that the line stays up while no client has it. Closing both is what pulling
the plug looks like: a client's next read fails, and the path is gone. Plugged in again, it may be another path;
the link, if one was asked for, always leads to the present one (as /dev/serial/by-id does).
"""

import asyncio
import contextlib
import os
import tty
from collections.abc import Callable
from pathlib import Path

from lms_firmware_sim.errors import WireStartError

_READ_SIZE = 4096


class Terminal:
    """One raw pseudo-terminal, read by the running event loop.

    Args:
        name: the wire's id, for messages.
        link: a symbolic link to make to the terminal; an older link there is replaced, a file is not.
        received: called with bytes as they come.
    """

    def __init__(self, name: str, link: Path | None, received: Callable[[bytes], None]) -> None:
        self.name = name
        self.link = link
        self.path = ""
        self._received = received
        self._master: int | None = None
        self._slave: int | None = None

    @property
    def address(self) -> str:
        """The path that a client opens: the link, where there is one."""
        return self.path if self.link is None else str(self.link)

    def open(self) -> None:
        """Make the terminal and its link.

        Raises:
            WireStartError: there is no terminal to be had, or something stands where the link should be.
        """
        try:
            master, slave = os.openpty()
        except OSError as error:
            raise WireStartError(self.name, "a pseudo-terminal", error.strerror or str(error)) from error
        tty.setraw(master)
        tty.setraw(slave)
        os.set_blocking(master, False)
        self._master, self._slave = master, slave
        self.path = os.ttyname(slave)
        try:
            self._make_link()
        except WireStartError:
            self.close()
            raise
        asyncio.get_running_loop().add_reader(master, self._read)

    def close(self) -> None:
        """Hang up, and remove the link."""
        if self._master is None or self._slave is None:
            return
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)
        os.close(self._slave)
        self._master = self._slave = None
        if self.link is not None and self.link.is_symlink() and str(self.link.readlink()) == self.path:
            self.link.unlink()

    def write(self, data: bytes) -> None:
        """Send bytes; what a client leaves unread for long is lost, as on a real line."""
        if self._master is not None:
            with contextlib.suppress(BlockingIOError):
                os.write(self._master, data)

    def _make_link(self) -> None:
        if self.link is None:
            return
        if self.link.exists() and not self.link.is_symlink():
            raise WireStartError(self.name, str(self.link), "there is a file that is no link")
        try:
            self.link.parent.mkdir(parents=True, exist_ok=True)
            fresh = self.link.with_name(f".{self.link.name}.{os.getpid()}")
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(self.path)
            fresh.replace(self.link)
        except OSError as error:
            raise WireStartError(self.name, str(self.link), error.strerror or str(error)) from error

    def _read(self) -> None:
        if self._master is None:
            return
        try:
            data = os.read(self._master, _READ_SIZE)
        except (BlockingIOError, OSError):
            return
        if data:
            self._received(data)
