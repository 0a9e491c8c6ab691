"""Modbus TCP: frames in a stream, each with the number of the transaction it belongs to.

The number tells a late reply from the awaited one, so that a silent unit does not cost its neighbours the connection.
A peer whose numbers or lengths make no sense is not believed any further: the connection is closed and made anew.
Careless instruments number every reply 0. Where the configuration allows it, that is taken, but then every failure
ends the connection, so that a late reply has no way to come.

Source: Modbus Messaging on TCP/IP Implementation Guide V1.0b, section 3.1.3.
"""

import asyncio
import random
import struct

from lms_agent.buses import wire_time
from lms_agent.buses.byte_stream import ByteStream
from lms_agent.buses.modbus import ModbusMaster
from lms_agent.buses.modbus_frames import Request, shape_of_reply
from lms_agent.errors import ReplyRefused, ReplyTimeout

_HEADER = struct.Struct(">HHHB")
_SHORTEST_LENGTH, _LONGEST_LENGTH = 3, 254
_MOST_LATE = 16
_SILENT_BEFORE_RECONNECT = 3


class TcpMaster(ModbusMaster):
    """The master of one Modbus TCP endpoint.

    Args:
        stream: the connection.
        timeout_s: how long a unit may take to reply.
        chance: for the back-off when the connection cannot be made.
        zero_transactions: whether replies may have transaction 0 instead of their own.
    """

    def __init__(
        self, stream: ByteStream, *, timeout_s: float, chance: random.Random, zero_transactions: bool = False
    ) -> None:
        super().__init__(stream, timeout_s=timeout_s, wire_time=wire_time.TCP, chance=chance)
        self._zero_transactions = zero_transactions
        self._transaction = 0
        self._late: dict[int, Request] = {}  # transactions that timed out on this connection
        self._silent = 0

    async def _open(self) -> None:
        if not self._stream.is_open:
            self._late.clear()
            self._silent = 0
        await super()._open()

    async def _make_ready(self) -> None:
        """Empty the stream; if what was in it was no late reply, make a new connection."""
        if self._stream.received:
            self._throw_away_late_replies()
        await self._open()

    async def _exchange(self, request: Request) -> tuple[bytes, int]:
        await self._make_ready()
        self._transaction = self._transaction % 0xFFFF + 1
        header = _HEADER.pack(self._transaction, 0, len(request.pdu) + 1, request.unit)
        self._stream.write(header + request.pdu)
        deadline_s = asyncio.get_running_loop().time() + self.timeout_s
        while True:
            frame = self._take_frame(request)
            if frame is not None:
                transaction, unit, pdu = frame
                if transaction == self._transaction or (transaction == 0 and self._zero_transactions):
                    if unit != request.unit:
                        raise self._untrusted(request, f"it comes from unit {unit}", pdu)
                    self._silent = 0
                    return pdu, self._stream.arrived_ms
                if transaction not in self._late:
                    remedy = "; see zero_transactions" if transaction == 0 else ""
                    reason = f"it has transaction {transaction}, not {self._transaction}{remedy}"
                    raise self._untrusted(request, reason, pdu)
                self._forget_late(transaction, pdu)
            elif not await self._stream.wait_for_bytes(deadline_s):
                raise self._timeout(request)

    def _take_frame(self, request: Request | None) -> tuple[int, int, bytes] | None:
        """The next whole frame of the stream: transaction, unit, PDU; None while it is not whole."""
        received = self._stream.received
        if len(received) < _HEADER.size:
            return None
        transaction, protocol, length, unit = _HEADER.unpack_from(received)
        if protocol != 0 or not _SHORTEST_LENGTH <= length <= _LONGEST_LENGTH:
            raise self._untrusted(request, "it does not begin as a Modbus TCP frame", bytes(received))
        end = 6 + length
        if len(received) < end:
            return None
        pdu = bytes(received[_HEADER.size : end])
        del received[:end]
        return transaction, unit, pdu

    def _timeout(self, request: Request) -> ReplyTimeout:
        received = len(self._stream.received)
        self._silent += 1
        is_silent_for_long = self._silent >= _SILENT_BEFORE_RECONNECT or len(self._late) >= _MOST_LATE
        if received or is_silent_for_long or self._zero_transactions:
            self._stream.close()
        else:
            self._late[self._transaction] = request
        return ReplyTimeout(self.port, request.unit, self.timeout_s, received)

    def _untrusted(self, request: Request | None, reason: str, reply: bytes) -> ReplyRefused:
        self._stream.close()
        return ReplyRefused(self.port, None if request is None else request.unit, reason, reply)

    def _distrust(self) -> None:
        """Make a new connection for the next request."""
        self._stream.close()

    def _forget_late(self, transaction: int, pdu: bytes) -> None:
        request = self._late.pop(transaction)
        if pdu[0] & 0x80 == 0:
            self._doubts[request.unit].answered(shape_of_reply(pdu))

    def _throw_away_late_replies(self) -> None:
        """Take whole late replies off the stream; anything else ends the connection."""
        try:
            while (frame := self._take_frame(None)) is not None:
                transaction, _, pdu = frame
                if transaction not in self._late:
                    self._stream.close()
                    return
                self._forget_late(transaction, pdu)
        except ReplyRefused:
            return
        if self._stream.received:
            self._stream.close()
