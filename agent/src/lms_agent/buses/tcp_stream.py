"""A TCP connection to an instrument or a gateway."""

import asyncio
import os
import socket

from lms_agent.buses.byte_stream import ByteStream
from lms_agent.clock import Clock
from lms_agent.errors import PortLost, PortMissing, PortRefused


class TcpStream(ByteStream):
    """One connection, opened anew whenever it was lost.

    Args:
        host, port: where the instrument listens.
        timeout_s: how long connecting may take.
        clock: says when bytes arrived.
    """

    def __init__(self, host: str, port: int, *, timeout_s: float, clock: Clock) -> None:
        super().__init__(f"{host}:{port}", clock)
        self._host = host
        self._number = port
        self._timeout_s = timeout_s
        self._transport: asyncio.Transport | None = None

    async def open(self) -> None:
        """Connect.

        Raises:
            PortMissing: the host's name is unknown.
            PortRefused: nothing there takes the connection, or not in time.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout_s):
                await loop.create_connection(lambda: _Receiver(self), self._host, self._number)
        except TimeoutError as error:
            raise PortRefused(self.port, f"no answer within {self._timeout_s:g} s") from error
        except socket.gaierror as error:
            raise PortMissing(self.port, f"the host name is unknown ({error.strerror})") from error
        except UnicodeError as error:
            raise PortMissing(self.port, "this is no host name") from error
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise PortRefused(self.port, reason) from error

    def write(self, data: bytes) -> None:
        """Send bytes.

        Raises:
            PortLost: the connection is gone.
        """
        if self._transport is None or self._transport.is_closing():
            self._lose("the connection is closed")
            raise PortLost(self.port, "the connection is closed")
        self._transport.write(data)

    def connected(self, transport: asyncio.Transport) -> None:
        """The connection stands."""
        self._transport = transport
        self._opened()

    def arrived(self, transport: asyncio.Transport, data: bytes) -> None:
        """Bytes came; those of an older connection are nobody's."""
        if transport is self._transport:
            self._feed(data)

    def lost(self, transport: asyncio.Transport, reason: str) -> None:
        """A connection is gone; perhaps not the present one."""
        if transport is self._transport:
            self._lose(reason)

    def _release(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None


class _Receiver(asyncio.Protocol):
    """asyncio's end of one connection."""

    def __init__(self, stream: TcpStream) -> None:
        self._stream = stream
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport
            self._stream.connected(transport)

    def data_received(self, data: bytes) -> None:
        self._stream.arrived(self._transport, data)

    def connection_lost(self, exc: Exception | None) -> None:
        reason = "the other side closed the connection" if exc is None else str(exc)
        self._stream.lost(self._transport, reason)
