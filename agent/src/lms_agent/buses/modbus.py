"""A Modbus master: the one owner of its port, one transaction at a time, and no reply believed that could be another's.

Between the drivers (`drivers/modbus_registers.py`), which read blocks and write set points, and the framing of
`modbus_rtu.py` and `modbus_tcp.py`. What is the same on both lines is here: turns, opening with back-off, the doubt
after a failure, exceptions, a second try for a busy unit.

A write is sent once. What becomes of it, if no sound answer comes, nobody knows but the instrument:

    answer                                        means
    its confirmation                              carried out
    nothing, nonsense, the port is lost           perhaps carried out: not confirmed, reading back says what holds
    exception 4 (failed), 5 (takes long), 11      perhaps carried out, likewise
    exception 6 (busy), twice                     not carried out: InstrumentBusy
    any other exception                           not carried out: InstrumentRefused
    (the port could not even be opened)           not sent: PortError
"""

import asyncio
import random
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple

from lms_agent.buses.backoff import Backoff
from lms_agent.buses.byte_stream import ByteStream
from lms_agent.buses.doubt import Doubt
from lms_agent.buses.modbus_frames import (
    ACKNOWLEDGE,
    BUSY,
    FAILED,
    GATEWAY_TARGET_SILENT,
    ExceptionReply,
    ReadRequest,
    Request,
    Unsound,
    WriteRequest,
    reply_data,
    shape_of_reply,
)
from lms_agent.buses.turns import Turns
from lms_agent.buses.wire_time import WireTime
from lms_agent.errors import (
    InstrumentBusy,
    InstrumentError,
    InstrumentRefused,
    PortError,
    ReplyOutOfStep,
    ReplyRefused,
)

FIRST_REOPEN_S, MOST_REOPEN_S = 0.2, 3.0
BUSY_PAUSE_S = 0.1
MOST_PROBES = 4
_PERHAPS_CARRIED_OUT = frozenset((FAILED, ACKNOWLEDGE, GATEWAY_TARGET_SILENT))


class Reply(NamedTuple):
    """A sound reply.

    Attributes:
        data: the data bytes.
        arrived_ms: when the last of them came, ms UTC.
    """

    data: bytes
    arrived_ms: int


def _always() -> None:
    """A write that nothing makes void."""


class Confirmation(NamedTuple):
    """What is known after a write that was sent.

    Attributes:
        doubt: why it is not known whether the unit carried it out; None: it has confirmed that.
        read_back: the reply to the read that followed; None if there was none, or none that can be believed.
    """

    doubt: InstrumentError | None
    read_back: Reply | None

    @property
    def confirmed(self) -> bool:
        """Whether the unit itself has said that it carried the write out."""
        return self.doubt is None


class ModbusMaster(ABC):
    """A master on one port.

    Args:
        stream: the port.
        timeout_s: how long a unit may take to reply.
        wire_time: how long transactions take on the line.
        chance: for the back-off when the port cannot be opened.

    Attributes:
        openings: how often the port was opened: each time another instrument may have been plugged in.
    """

    def __init__(self, stream: ByteStream, *, timeout_s: float, wire_time: WireTime, chance: random.Random) -> None:
        self.port = stream.port
        self.wire_time = wire_time
        self.timeout_s = timeout_s
        self.openings = 0
        self._stream = stream
        self._turns = Turns()
        self._doubts: defaultdict[int, Doubt] = defaultdict(Doubt)
        self._reopening = Backoff(FIRST_REOPEN_S, MOST_REOPEN_S, chance)
        self._closed_for: tuple[float, PortError] | None = None

    async def read(self, request: ReadRequest, *, urgent: bool = False) -> Reply:
        """Ask for registers or bits.

        Args:
            urgent: go before those that wait for the line and are not.

        Raises:
            PortError: the line cannot be used now.
            ReplyTimeout: no complete reply in time.
            ReplyRefused: a reply came that is no sound answer; ReplyOutOfStep if replies lag behind requests.
            InstrumentBusy, InstrumentRefused: the unit answers with an exception.
        """
        async with self._turns.take(urgent=urgent):
            return await self._ask(request)

    async def write(
        self,
        request: WriteRequest,
        *,
        read_back: ReadRequest | None = None,
        urgent: bool = True,
        go: Callable[[], None] | None = None,
    ) -> Confirmation:
        """Write registers or coils, once; then, in the same turn, read what holds now.

        Args:
            read_back: what to read afterwards; also when no answer to the write came. An instrument that is slow to
                take a value over may still show the old one.
            urgent: go before those that wait for the line and are not.
            go: asked each time when nothing stands between the write and the wire any more; if it raises, nothing is
                sent.

        Raises:
            PortError: the line cannot be used now. Nothing was sent.
            ReplyTimeout, ReplyRefused: before writing it had to be found out whether replies are in step with requests,
                and they are not. Nothing was written.
            InstrumentBusy, InstrumentRefused: the unit says that it did not carry it out.
        """
        async with self._turns.take(urgent=urgent):
            await self._prepare(request)
            doubt = await self._write(request, go or _always)
            if read_back is None:
                return Confirmation(doubt, None)
            try:
                return Confirmation(doubt, await self._ask(read_back))
            except InstrumentError:
                return Confirmation(doubt, None)

    async def close(self) -> None:
        """Give the port back."""
        async with self._turns.take(urgent=True):
            self._stream.close()

    async def _ask(self, request: ReadRequest) -> Reply:
        await self._prepare(request)
        doubt = self._doubts[request.unit]
        try:
            return await self._transact(request, doubt)
        except InstrumentBusy:
            await asyncio.sleep(BUSY_PAUSE_S)
            await self._prepare(request)
            return await self._transact(request, doubt)

    async def _prepare(self, request: Request) -> None:
        """Make sure that the line is open and quiet, and that no older reply can be taken for the one to `request`."""
        await self._open()
        await self._make_ready()
        doubt = self._doubts[request.unit]
        for _ in range(MOST_PROBES):
            if not doubt.could_be_answered_by_an_older_reply(request):
                return
            await self._prove(request, doubt)
        raise ReplyOutOfStep(self.port, request.unit, "no probe could show that replies are in step again")

    async def _write(self, request: WriteRequest, go: Callable[[], None]) -> InstrumentError | None:
        """Send a write; why it is not known what became of it, or None if the unit has confirmed it.

        A unit that is busy has done nothing, and is asked once more, if the write is still wanted then.
        """
        try:
            go()
            return await self._send_write(request)
        except InstrumentBusy:
            await asyncio.sleep(BUSY_PAUSE_S)
            await self._prepare(request)
            go()
            return await self._send_write(request)

    async def _send_write(self, request: WriteRequest) -> InstrumentError | None:
        try:
            await self._transact(request, self._doubts[request.unit])
        except InstrumentBusy:
            raise
        except InstrumentRefused as error:
            if error.code in _PERHAPS_CARRIED_OUT:
                return error
            raise
        except InstrumentError as error:
            return error
        return None

    @abstractmethod
    async def _exchange(self, request: Request) -> tuple[bytes, int]:
        """Send one request and wait for the frame that answers it: its PDU, and when it came (ms UTC).

        Raises:
            PortError, ReplyTimeout, ReplyRefused: as `read`.
        """

    async def _open(self) -> None:
        if self._stream.is_open:
            return
        now_s = asyncio.get_running_loop().time()
        if self._closed_for is not None and now_s < self._closed_for[0]:
            raise self._closed_for[1].with_traceback(None)
        try:
            await self._stream.open()
        except PortError as error:
            self._closed_for = (asyncio.get_running_loop().time() + self._reopening.failed(), error)
            raise
        self._closed_for = None
        self.openings += 1

    async def _prove(self, request: Request, doubt: Doubt) -> None:
        """Read something of another shape, to find out whether replies are in step with requests.

        What comes may prove little, if a request like the probe is open as well; then another one is next.
        """
        probe = doubt.probe_for(request)
        try:
            await self._transact(probe, doubt)
        except (InstrumentRefused, InstrumentBusy):
            return
        except ReplyRefused as error:
            reason = f"after a missed reply the next one does not fit its request ({error.reason})"
            raise ReplyOutOfStep(self.port, request.unit, reason, error.reply) from error

    async def _transact(self, request: Request, doubt: Doubt) -> Reply:
        doubt.asked(request, asyncio.get_running_loop().time())  # open until it is answered, also if nobody waits
        try:
            pdu, arrived_ms = await self._exchange(request)
            data = self._data(pdu, request, doubt)
        except ExceptionReply as reply:
            raise self._refusal(request, doubt, reply) from None
        doubt.answered(request.shape)
        self._reopening.succeeded()
        return Reply(data, arrived_ms)

    def _data(self, pdu: bytes, request: Request, doubt: Doubt) -> bytes:
        try:
            return reply_data(pdu, request)
        except Unsound as unsound:
            doubt.answered(shape_of_reply(pdu))
            self._distrust()
            raise ReplyRefused(self.port, request.unit, str(unsound), pdu) from unsound

    @abstractmethod
    async def _make_ready(self) -> None:
        """Throw away what nobody waits for, and note whose late reply it may have been."""

    @abstractmethod
    def _distrust(self) -> None:
        """A whole frame of the right unit came that does not answer the request: more may be wrong on the line."""

    def _refusal(self, request: Request, doubt: Doubt, reply: ExceptionReply) -> InstrumentBusy | InstrumentRefused:
        if reply.code != GATEWAY_TARGET_SILENT:  # else the unit may yet answer, and the gateway pass it on
            doubt.refused(request.function)
        if reply.code == BUSY or (reply.code == ACKNOWLEDGE and isinstance(request, ReadRequest)):
            return InstrumentBusy(self.port, request.unit)
        return InstrumentRefused(self.port, request.unit, reply.code, reply.meaning)
