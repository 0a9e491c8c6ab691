"""Bytes on their way out of a wire: in order, each at its time, if need be one by one."""

import asyncio
from collections.abc import Callable


class Outbox:
    """Writes bytes in the order given, none before its time.

    Everything is done with timers of the running loop, so that dropping it leaves nothing behind.

    Args:
        write: hands bytes to the socket or terminal; must not block.
    """

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._loop = asyncio.get_running_loop()
        self._free_at = 0.0
        self._timers: set[asyncio.TimerHandle] = set()

    def send(self, data: bytes, *, delay_s: float = 0.0, byte_interval_s: float = 0.0) -> None:
        """Send bytes after a delay, with a pause after each byte if one is given."""
        if not data:
            return
        now = self._loop.time()
        begin = max(now + delay_s, self._free_at)
        if byte_interval_s > 0.0:
            for position in range(len(data)):
                self._at(begin + position * byte_interval_s, data[position : position + 1])
            self._free_at = begin + len(data) * byte_interval_s
        elif begin <= now and not self._timers:
            self._write(data)
        else:
            self._at(begin, data)
            self._free_at = begin

    def drop(self) -> None:
        """Forget what has not gone out."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._free_at = 0.0

    def _at(self, when: float, data: bytes) -> None:
        def go() -> None:
            self._timers.discard(timer)
            self._write(data)

        timer = self._loop.call_at(when, go)
        self._timers.add(timer)
