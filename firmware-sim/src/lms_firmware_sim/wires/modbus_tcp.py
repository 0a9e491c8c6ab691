"""A Modbus TCP server, byte by byte.

Frame: transaction u16, protocol u16 (0), length u16 (of what follows), unit u8, function code, data.
Source: Modbus Messaging on TCP/IP Implementation Guide V1.0b, section 3.1.3.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Mapping

from lms_firmware_sim.errors import WireStartError
from lms_firmware_sim.wires.faults import Fault, FaultKind
from lms_firmware_sim.wires.modbus_faults import Memory, Reply, carry_out, damage, damage_frame
from lms_firmware_sim.wires.modbus_requests import address_and_count
from lms_firmware_sim.wires.outbox import Outbox
from lms_firmware_sim.wires.registers import RegisterMap
from lms_firmware_sim.wires.wire import Request, Wire

_LARGEST_LENGTH = 254
_HEADER = struct.Struct(">HHHB")


class ModbusTcpWire(Wire):
    """A Modbus TCP server with any number of units and clients.

    Args:
        units: unit → its tables. Unknown units get no reply, as from a gateway without them.
        host, port: where to listen; port 0 takes a free one, which stays the same while unplugged.
        zero_transactions: answer every request with transaction 0, as careless devices do.
    """

    def __init__(
        self,
        units: Mapping[int, RegisterMap],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        name: str = "modbus-tcp",
        zero_transactions: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(name, seed)
        self.units = dict(units)
        self.host = host
        self.port = port
        self.zero_transactions = zero_transactions
        self.memory = Memory()
        self._listening: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._connections: set[_Connection] = set()

    @property
    def address(self) -> str:
        """`host:port`; the port is known once the wire has started."""
        return f"{self.host}:{self.port}"

    def _fault_changed(self) -> None:
        self.memory.forget()

    def take_fault(self, unit: int) -> Fault | None:
        """The fault of the reply that is about to be given, counted."""
        return self._fault_for(unit)

    def _plug_in(self) -> None:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setblocking(False)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((self.host, self.port))
            listening.listen(16)
        except OSError as error:
            listening.close()
            raise WireStartError(self.name, self.address, error.strerror or str(error)) from error
        self.port = listening.getsockname()[1]
        self._listening = listening
        self._accepting = asyncio.create_task(self._accept(listening), name=f"accept {self.name}")
        # Not in the task itself: one that is cancelled before it ran would leave the socket open.
        self._accepting.add_done_callback(lambda _: listening.close())

    def _unplug(self) -> None:
        if self._accepting is not None:
            self._accepting.cancel()
        if self._listening is not None:
            # The kernel answers no new connection from here on; the task lets go of the socket afterwards.
            with contextlib.suppress(OSError):
                self._listening.shutdown(socket.SHUT_RDWR)
            self._listening = None
        for connection in list(self._connections):
            connection.abort()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            accepted, _ = await loop.sock_accept(listening)
            await loop.connect_accepted_socket(lambda: _Connection(self), accepted)

    async def _settle(self) -> None:
        if self._accepting is not None:
            await asyncio.wait([self._accepting])
            self._accepting = None
        while self._connections:
            await asyncio.wait([connection.closed for connection in self._connections])

    def joined(self, connection: "_Connection") -> None:
        """A client has come."""
        self._connections.add(connection)

    def left(self, connection: "_Connection") -> None:
        """A client has gone."""
        self._connections.discard(connection)


class _Connection(asyncio.Protocol):
    """One client of a wire."""

    def __init__(self, wire: ModbusTcpWire) -> None:
        self.wire = wire
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._buffer = bytearray()
        self._outbox = Outbox(self._write)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the connection stands."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - tells the type checker what TCP gives
        self._transport = transport
        self.wire.joined(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the connection is gone."""
        self._outbox.drop()
        self.wire.left(self)
        if not self.closed.done():
            self.closed.set_result(None)

    def abort(self) -> None:
        """Cut the connection."""
        self._outbox.drop()
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes of one or more requests, perhaps not whole."""
        self._buffer += data
        while len(self._buffer) >= _HEADER.size:
            transaction, protocol, length, unit = _HEADER.unpack_from(self._buffer)
            if protocol != 0 or not 2 <= length <= _LARGEST_LENGTH:
                self.abort()
                return
            if len(self._buffer) < 6 + length:
                return
            frame = bytes(self._buffer[: 6 + length])
            del self._buffer[: 6 + length]
            self._request(transaction, unit, frame)

    def _request(self, transaction: int, unit: int, frame: bytes) -> None:
        wire = self.wire
        request = frame[_HEADER.size :]
        address, count = address_and_count(request)
        wire.requests.append(Request(unit, request[0], address, count))
        registers = wire.units.get(unit)
        if registers is None:
            return
        fault = wire.take_fault(unit)
        reply = damage(fault, request, Reply(unit, carry_out(fault, request, registers)), wire.memory)
        protocol = 1 if fault is not None and fault.kind is FaultKind.BAD_CRC else 0
        if wire.zero_transactions:
            transaction = 0
        header = _HEADER.pack(transaction, protocol, len(reply.data) + 1, reply.unit)
        self._send(fault, frame, header + reply.data)

    def _send(self, fault: Fault | None, request_frame: bytes, frame: bytes) -> None:
        frame = damage_frame(fault, request_frame, frame, self.wire.random)
        delay_s = byte_interval_s = 0.0
        if fault is not None:
            if fault.kind is FaultKind.SHIFTED:
                frame = self.wire.memory.exchange(fault.unit, frame)
            elif fault.kind is FaultKind.LATE:
                delay_s = fault.delay_s
            elif fault.kind is FaultKind.SLOW_BYTES:
                byte_interval_s = fault.delay_s
        self._outbox.send(frame, delay_s=delay_s, byte_interval_s=byte_interval_s)

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
