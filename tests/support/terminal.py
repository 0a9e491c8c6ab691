"""A command in a terminal of 80 × 24, as a technician sees it: what it shows, and what is typed when it waits."""

import asyncio
import fcntl
import os
import pty
import re
import struct
import termios
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from support.patience import awaiting

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[()][A-Z0-9]|\x07")


class Shown(NamedTuple):
    """What came of it.

    Attributes:
        text: everything that was shown, without colours; `\\r` begins a line anew, as on a screen.
        code: the exit code.
    """

    text: str
    code: int

    @property
    def lines(self) -> list[str]:
        """The lines, as they stand in the end."""
        return [line.rsplit("\r", 1)[-1].rstrip() for line in self.text.replace("\r\n", "\n").split("\n")]


async def in_terminal(
    command: Sequence[object],
    typed: Sequence[tuple[str, str]] = (),
    *,
    columns: int = 80,
    rows: int = 24,
    **environment: str,
) -> Shown:
    """Run a command.

    Args:
        typed: what to wait for on the screen, and what to type then; in this order.
    """
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm-256color", **environment},
    )
    os.close(slave)
    os.set_blocking(master, False)
    shown, seen_to = bytearray(), 0
    left = list(typed)
    try:
        async with awaiting(lambda: f"{left[:1]} after {bytes(shown[-600:])!r}"):
            while True:
                ended = process.returncode is not None
                with suppress(BlockingIOError, OSError):
                    while data := os.read(master, 65_536):
                        shown += data
                if left:
                    at = bytes(shown).find(left[0][0].encode(), seen_to)
                    if at >= 0:
                        seen_to = len(shown)
                        os.write(master, left.pop(0)[1].encode())
                if ended:
                    break
                await asyncio.sleep(0.01)
    finally:
        os.close(master)
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Shown(_CONTROL.sub("", shown.decode(errors="replace")), process.returncode)
