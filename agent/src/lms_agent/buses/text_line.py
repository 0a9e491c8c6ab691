"""A serial line with one instrument that answers each line of text with one line of text.

Such replies carry no check sum and no address, so they are believed only if they have the exact form that the command
demands (the driver's pattern), and if no older reply can still be under way: after a failure the line is left silent,
and the next command is another one, whose reply looks different.
"""

import asyncio
import random
import re
from collections.abc import Callable
from typing import NamedTuple

from lms_agent.buses.backoff import Backoff
from lms_agent.buses.byte_stream import ByteStream
from lms_agent.buses.modbus import FIRST_REOPEN_S, MOST_REOPEN_S
from lms_agent.buses.turns import Turns
from lms_agent.errors import PortError, ReplyOutOfStep, ReplyRefused, ReplyTimeout

_MOST_SILENCES = 8  # a line that never falls silent is not waited for any longer
_LONGEST_LINE = 256


class Command(NamedTuple):
    """What is sent, and what its reply looks like.

    Attributes:
        text: without the line end.
        reply: the whole reply must match it; a reply to another command must not.
    """

    text: bytes
    reply: re.Pattern[bytes]


class TextLine:
    """The one owner of such a line.

    Args:
        stream: the serial line.
        timeout_s: how long the reply may take.
        silence_s: how long the line is left alone after a failure.
        chance: for the back-off when the port cannot be opened.
        end: ends each command and each reply.
    """

    def __init__(
        self,
        stream: ByteStream,
        *,
        timeout_s: float,
        silence_s: float,
        chance: random.Random,
        end: bytes = b"\r\n",
    ) -> None:
        self.port = stream.port
        self.timeout_s = timeout_s
        self._stream = stream
        self._silence_s = silence_s
        self._end = end
        self._turns = Turns()
        self._reopening = Backoff(FIRST_REOPEN_S, MOST_REOPEN_S, chance)
        self._closed_for: tuple[float, PortError] | None = None
        self._free_at_s = 0.0
        self._open_command: bytes | None = None
        self._asked_last: bytes | None = None

    async def ask(
        self, command: Command, probe: Command, *, urgent: bool = False, go: Callable[[], None] | None = None
    ) -> tuple[re.Match[bytes], int]:
        """Send a command; its reply, matched, and when it came (ms UTC).

        Args:
            probe: a harmless command with another reply, sent first if a reply to `command` may be under way.
            urgent: go before those that wait for the line and are not.
            go: asked when nothing stands between the command and the wire any more; if it raises, nothing is sent.

        Raises:
            PortError, ReplyTimeout, ReplyRefused: no believable reply.
        """
        async with self._turns.take(urgent=urgent):
            await self._open()
            await self._make_ready()
            if self._open_command == command.text:
                try:
                    await self._exchange(probe)
                except ReplyRefused as error:
                    reason = f"after a missed reply the next one does not fit its command ({error.reason})"
                    raise ReplyOutOfStep(self.port, None, reason, error.reply) from error
            if go is not None:
                go()
            return await self._exchange(command)

    async def close(self) -> None:
        """Give the port back."""
        async with self._turns.take(urgent=True):
            self._stream.close()

    async def _open(self) -> None:
        if self._stream.is_open:
            return
        loop = asyncio.get_running_loop()
        if self._closed_for is not None and loop.time() < self._closed_for[0]:
            raise self._closed_for[1].with_traceback(None)
        try:
            await self._stream.open()
        except PortError as error:
            self._closed_for = (loop.time() + self._reopening.failed(), error)
            raise
        self._closed_for = None

    async def _exchange(self, command: Command) -> tuple[re.Match[bytes], int]:
        loop = asyncio.get_running_loop()
        stream = self._stream
        await self._make_ready()
        self._asked_last = self._open_command = command.text  # open until it is answered, also if the wait is cancelled
        stream.write(command.text + self._end)
        deadline_s = loop.time() + self.timeout_s
        while (end := stream.received.find(self._end)) < 0 and len(stream.received) <= _LONGEST_LINE:
            if not await stream.wait_for_bytes(deadline_s):
                self._free_at_s = loop.time() + self._silence_s
                raise ReplyTimeout(self.port, None, self.timeout_s, len(stream.received))
        line = bytes(stream.received[: max(end, 0)])
        match = command.reply.fullmatch(line)
        rest = bytes(stream.received[end + len(self._end) :])
        if end < 0 or match is None or rest:
            self._free_at_s = loop.time() + self._silence_s
            raise ReplyRefused(self.port, None, _difference(line, rest, command), bytes(stream.received))
        stream.received.clear()
        self._open_command = None
        self._reopening.succeeded()
        return match, stream.arrived_ms

    async def _make_ready(self) -> None:
        """Throw away what nobody asked for; after a failure, until nothing has come for `silence_s` (bounded)."""
        loop = asyncio.get_running_loop()
        stream = self._stream
        now_s = loop.time()
        give_up_s = now_s + _MOST_SILENCES * self._silence_s
        while now_s < self._free_at_s and now_s < give_up_s:
            if await stream.wait_for_bytes(min(self._free_at_s, give_up_s)):
                self._free_at_s = loop.time() + self._silence_s
            now_s = loop.time()
        if stream.received:
            self._open_command = self._open_command or self._asked_last  # the last line may have been another's
            stream.received.clear()


def _difference(line: bytes, rest: bytes, command: Command) -> str:
    if line.strip() == command.text:
        return "it is the command itself: the line echoes; switch the adapter's echo off"
    if rest and command.reply.fullmatch(line):
        return "more came than one reply; which is ours cannot be told"
    return f"{line[:60]!r} is no reply to {command.text.decode()}"
