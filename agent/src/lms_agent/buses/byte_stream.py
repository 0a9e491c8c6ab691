"""Bytes out, bytes in, and when they came: what a serial port and a TCP connection have in common.

Below the masters (`modbus.py`, `text_line.py`), above the operating system. Bytes that arrive are kept until their
owner takes them; an owner waits for more with `wait_for_bytes`, up to a moment of the event loop's clock.
"""

import asyncio
from abc import ABC, abstractmethod

from lms_agent.clock import Clock
from lms_agent.errors import PortLost

_MOST_KEPT = 8192
"""Bytes kept of an instrument that talks unasked; no reply is longer."""


class ByteStream(ABC):
    """One port.

    Attributes:
        port: its name for people: the device file or `host:port`.
        received: what has come and has not been taken.
        arrived_ms: when the last of it came, ms UTC.
    """

    def __init__(self, port: str, clock: Clock) -> None:
        self.port = port
        self.received = bytearray()
        self.arrived_ms = 0
        self._clock = clock
        self._waiter: asyncio.Future[bool] | None = None
        self._loss: str | None = "it is not open"

    @property
    def is_open(self) -> bool:
        """Whether bytes can be sent now, as far as is known."""
        return self._loss is None

    @abstractmethod
    async def open(self) -> None:
        """Open the port.

        Raises:
            PortError: it cannot be opened; which kind says why.
        """

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Send bytes without waiting.

        Raises:
            PortLost: the port is gone.
        """

    @abstractmethod
    def _release(self) -> None:
        """Give the port back to the operating system."""

    def close(self) -> None:
        """Give the port back; harmless if it is closed already."""
        self._lose("it was closed")

    async def wait_for_bytes(self, until_s: float) -> bool:
        """Wait for more bytes. True: some came; False: the loop's clock has reached `until_s` first.

        Raises:
            PortLost: the port was lost while waiting, or before.
        """
        if self._loss is not None:
            raise PortLost(self.port, self._loss)
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        timer = loop.call_at(until_s, _expire, waiter)
        try:
            came: bool = await waiter
        finally:
            timer.cancel()
            self._waiter = None
        if self._loss is not None:
            raise PortLost(self.port, self._loss)
        return came

    def _opened(self) -> None:
        self.received.clear()
        self._loss = None

    def _feed(self, data: bytes) -> None:
        self.arrived_ms = self._clock.wall_ms()
        self.received += data
        if len(self.received) > _MOST_KEPT:
            del self.received[:-_MOST_KEPT]
        self._wake()

    def _lose(self, reason: str) -> None:
        if self._loss is None:
            self._loss = reason
            self._release()
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(True)


def _expire(waiter: "asyncio.Future[bool]") -> None:
    if not waiter.done():
        waiter.set_result(False)
