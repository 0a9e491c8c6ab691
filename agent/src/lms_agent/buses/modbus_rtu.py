"""Modbus RTU: frames on a serial line, parted by silence.

What the cable can do to a frame: end it early (a loose screw), put noise before it (a driver that switches too late),
mix two frames (two units with one number). None of these may become a value. After a failure the line is left silent
until a late reply can no longer come, and whatever does come is thrown away.

A two-wire adapter may hear itself: then the request comes back before the reply. That is taken off, and remembered,
for the confirmation of a single write looks exactly like its request. As long as it is not known whether the line
echoes, a write is preceded by a read, which shows it.

Source: Modbus over Serial Line V1.02, section 2.5.1: 3.5 characters of silence part two frames, above 19200 baud
1.75 ms. The 1.5 characters that no gap within a frame may exceed cannot be watched from here (USB adapters deliver
in lumps of up to 16 ms); length and check sum stand in for them.
"""

import asyncio
import contextlib
import random

from lms_agent.buses import wire_time
from lms_agent.buses.byte_stream import ByteStream
from lms_agent.buses.doubt import Doubt
from lms_agent.buses.modbus import ModbusMaster
from lms_agent.buses.modbus_frames import Request, WriteRequest, crc16, shape_of_reply
from lms_agent.errors import InstrumentBusy, InstrumentRefused, ReplyRefused, ReplyTimeout

_FRAME_OVERHEAD = 3  # unit, check sum
_EXCEPTION_LENGTH = 5
_REST_OF_FRAME_S = 0.02
_MOST_SILENCES = 8  # a line that never falls silent is not waited for any longer


class RtuMaster(ModbusMaster):
    """The master of one RTU line.

    Args:
        stream: the serial line.
        character_s: how long one character takes on it.
        timeout_s: how long a unit may take to begin and end its reply.
        silence_s: how long the line is left alone after a failure; also the longest lateness that is waited out.
        chance: for the back-off when the port cannot be opened.
    """

    def __init__(
        self, stream: ByteStream, *, character_s: float, timeout_s: float, silence_s: float, chance: random.Random
    ) -> None:
        super().__init__(stream, timeout_s=timeout_s, wire_time=wire_time.rtu(character_s), chance=chance)
        self._character_s = character_s
        self._frame_gap_s = wire_time.silence_s(character_s)
        self._silence_s = max(silence_s, self._frame_gap_s)
        self._free_at_s = 0.0
        self._asked_last: Request | None = None
        self._echoes: bool | None = None  # None: not known of this adapter

    async def _open(self) -> None:
        if not self._stream.is_open:
            self._echoes = None
        await super()._open()

    async def _prepare(self, request: Request) -> None:
        await super()._prepare(request)
        if self._echoes is None and isinstance(request, WriteRequest):
            await self._find_out_whether_it_echoes(request, self._doubts[request.unit])

    async def _find_out_whether_it_echoes(self, request: WriteRequest, doubt: Doubt) -> None:
        """Read something; an exception shows as well what comes before it."""
        with contextlib.suppress(InstrumentRefused, InstrumentBusy):
            await self._transact(doubt.probe_for(request), doubt)

    async def _exchange(self, request: Request) -> tuple[bytes, int]:
        loop = asyncio.get_running_loop()
        stream = self._stream
        await self._make_ready()
        stream.write(request.rtu_frame)
        self._asked_last = request
        sent_s = loop.time() + len(request.rtu_frame) * self._character_s
        deadline_s = sent_s + (_FRAME_OVERHEAD + request.reply_length) * self._character_s + self.timeout_s
        echoed = await self._take_off_echo(request, deadline_s)
        length = await self._wait_for_frame(request, deadline_s)
        arrived_ms = stream.arrived_ms
        frame = bytes(stream.received[:length])
        if not length:
            self._free_at_s = loop.time() + self._silence_s
            received = len(stream.received)
            whole = bytes(stream.received)
            self._take_note_of_late_frame()
            if _is_sound(whole):
                raise ReplyRefused(self.port, request.unit, _difference(whole, request), whole)
            raise ReplyTimeout(self.port, request.unit, self.timeout_s, received)
        is_doubled = stream.received[length : length + 2] == frame[:2]  # another reply follows: which is ours?
        if not _is_sound(frame) or frame[0] != request.unit or is_doubled:
            raise await self._refusal_of(request, deadline_s)
        del stream.received[:length]
        self._echoes = echoed
        self._free_at_s = loop.time() + self._frame_gap_s
        return frame[1:-2], arrived_ms

    async def _take_off_echo(self, request: Request, deadline_s: float) -> bool:
        """Take the request itself off the front of what comes; True if it was there.

        The confirmation of a single write is no echo, unless the line is known to echo.
        """
        received, sent = self._stream.received, request.rtu_frame
        if self._echoes is False and request.confirmed_by_itself:
            return False
        while len(received) < len(sent):
            if not sent.startswith(received) or not await self._stream.wait_for_bytes(deadline_s):
                return False
        if not received.startswith(sent):
            return False
        del received[: len(sent)]
        return True

    async def _wait_for_frame(self, request: Request, deadline_s: float) -> int:
        """Wait until a frame's worth of bytes has come; its length, or 0 if it has not by the deadline."""
        received = self._stream.received
        full_length = _FRAME_OVERHEAD + request.reply_length
        exception = request.function | 0x80
        while True:
            count = len(received)
            if count >= full_length:
                return full_length
            if count >= _EXCEPTION_LENGTH and received[1] == exception:
                return _EXCEPTION_LENGTH
            if not await self._stream.wait_for_bytes(deadline_s):
                return 0

    async def _refusal_of(self, request: Request, deadline_s: float) -> ReplyRefused:
        """Hear the rest of a bad reply out, and say what is wrong with it."""
        loop = asyncio.get_running_loop()
        while loop.time() < deadline_s and await self._stream.wait_for_bytes(loop.time() + _REST_OF_FRAME_S):
            pass
        frame = bytes(self._stream.received)
        self._take_note_of_late_frame()
        self._free_at_s = loop.time() + self._silence_s
        return ReplyRefused(self.port, request.unit, _difference(frame, request), frame)

    def _distrust(self) -> None:
        """A frame of the right unit with another function or count: it may be a late one, and more may follow."""
        self._free_at_s = asyncio.get_running_loop().time() + self._silence_s

    async def _make_ready(self) -> None:
        """Wait until the line may be used; after a failure, until nothing has come for `silence_s` (bounded)."""
        loop = asyncio.get_running_loop()
        stream = self._stream
        now_s = loop.time()
        give_up_s = now_s + _MOST_SILENCES * self._silence_s
        if stream.received:
            self._free_at_s = max(self._free_at_s, now_s + self._frame_gap_s)
        while now_s < self._free_at_s and now_s < give_up_s:
            if await stream.wait_for_bytes(min(self._free_at_s, give_up_s)):
                self._free_at_s = loop.time() + self._silence_s
            now_s = loop.time()
        if stream.received:
            self._heard_unasked()

    def _heard_unasked(self) -> None:
        """Bytes came that nobody waits for. The last reply may have been somebody else's: doubt its unit."""
        asked = self._asked_last
        if asked is not None and not self._take_note_of_late_frame():
            self._doubts[asked.unit].asked(asked, asyncio.get_running_loop().time())
        self._stream.received.clear()

    def _take_note_of_late_frame(self) -> bool:
        """Throw away what came; True if it was one sound frame that a unit still owed."""
        frame = bytes(self._stream.received)
        self._stream.received.clear()
        if not _is_sound(frame) or frame[1] & 0x80:
            return False
        doubt = self._doubts[frame[0]]
        was_in_doubt = bool(doubt)
        doubt.answered(shape_of_reply(frame[1:-2]))
        return was_in_doubt


def _is_sound(frame: bytes) -> bool:
    return len(frame) >= 4 and crc16(frame[:-2]) == frame[-2:]


def _difference(frame: bytes, request: Request) -> str:
    """What is wrong with the bytes that came instead of an answer."""
    full_length = _FRAME_OVERHEAD + request.reply_length
    if len(frame) > full_length and _is_sound(frame[:full_length]):
        return "more than one reply came: two units with one number, or an adapter that repeats"
    if not _is_sound(frame):
        return "its check sum is wrong: noise, a loose wire, or two units that answer at once"
    if frame[0] != request.unit:
        return f"it comes from unit {frame[0]}"
    if frame[1] & 0x7F != request.function:
        return f"it answers function {frame[1] & 0x7F}, not {request.function}"
    return f"it holds {len(frame) - _FRAME_OVERHEAD} bytes after the unit, not {request.reply_length}"
