"""A serial line with instruments that answer lines of text with lines of text, in any dialect.

Such replies carry no check sum, and often no address, so they are believed only if they have the exact form that the
command demands (the driver's pattern), and if no older reply can still be under way: after a failure the line is left
silent, and the next command is another one, whose reply looks different (`text_commands.TextDoubt`).

A line that a unit says late is known by its look and passed over when another unit is asked meanwhile. The echo of a
command, as some pumps and two-wire adapters send it, is taken off.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Sequence

from lms_agent.buses.backoff import Backoff
from lms_agent.buses.byte_stream import ByteStream
from lms_agent.buses.modbus import FIRST_REOPEN_S, MOST_REOPEN_S
from lms_agent.buses.text_commands import Answer, Command, TextConfirmation, TextDoubt, Unit
from lms_agent.buses.turns import Turns
from lms_agent.errors import InstrumentError, PortError, ReplyOutOfStep, ReplyRefused, ReplyTimeout

_MOST_SILENCES = 8  # a line that never falls silent is not waited for any longer
_LONGEST_LINE = 256
_MOST_LINES = 64
_MOST_PROBES = 4
_PATIENCE = 1.5
_LINE_ENDS = b"\r\n"


class TextLine:
    """The one owner of such a line.

    Args:
        stream: the serial line.
        timeout_s: how long a reply may take; half as long again as its command is known to need, if that is longer.
        silence_s: how long the line is left alone after a failure.
        chance: for the back-off when the port cannot be opened.
        character_s: time that a character takes on the wire.

    Attributes:
        openings: how often the port was opened: each time another instrument may have been plugged in.
        unasked: how often something came that nobody had asked for: an instrument that has just been switched on, or a
            reply that came late.
    """

    def __init__(
        self,
        stream: ByteStream,
        *,
        timeout_s: float,
        silence_s: float,
        chance: random.Random,
        character_s: float = 0.0,
    ) -> None:
        self.port = stream.port
        self.timeout_s = timeout_s
        self._stream = stream
        self._silence_s = silence_s
        self._character_s = character_s
        self._turns = Turns()
        self._reopening = Backoff(FIRST_REOPEN_S, MOST_REOPEN_S, chance)
        self._closed_for: tuple[float, PortError] | None = None
        self._quiet_until_s = 0.0
        self._speak_at_s = 0.0
        self._doubts: defaultdict[Unit, TextDoubt] = defaultdict(TextDoubt)
        self._asked_last: Command | None = None
        self.openings = 0
        self.unasked = 0
        self._may_echo: list[bytes] = []  # what was said since the last reply

    async def ask(
        self,
        command: Command,
        probes: Sequence[Command] = (),
        *,
        urgent: bool = False,
        go: Callable[[], None] | None = None,
    ) -> Answer:
        """Send a command; its reply, matched, and when it came.

        Args:
            probes: harmless commands of the same unit with other replies, one of which is sent first if a reply to
                `command` may be under way. None: the reply proves itself, it is believed whatever went before.
            urgent: go before those that wait for the line and are not.
            go: asked when nothing stands between the command and the wire any more; if it raises, nothing is sent.

        Raises:
            PortError, ReplyTimeout, ReplyRefused: no believable reply.
        """
        async with self._turns.take(urgent=urgent):
            await self._prepare(command, probes)
            if go is not None:
                go()
            return await self._exchange(command)

    async def write(
        self,
        command: Command,
        probes: Sequence[Command] = (),
        *,
        read_back: Command | None = None,
        urgent: bool = True,
        go: Callable[[], None] | None = None,
    ) -> TextConfirmation:
        """Send a command that changes the instrument, once; then, in the same turn, ask what holds now.

        Args:
            probes, urgent, go: as for `ask`.
            read_back: what to ask afterwards, also when there was no sound answer.

        Raises:
            PortError: the line cannot be used now. Nothing was sent.
            ReplyTimeout, ReplyRefused: before writing it had to be found out whether replies are in step with commands,
                and they are not. Nothing was sent.
        """
        async with self._turns.take(urgent=urgent):
            await self._prepare(command, probes)
            if go is not None:
                go()
            doubt: InstrumentError | None = None
            answer = held = None
            try:
                if command.reply is None:
                    self._say(command)
                else:
                    answer = await self._exchange(command)
            except InstrumentError as error:
                doubt = error
            if read_back is not None:
                try:
                    await self._prepare(read_back, probes)
                    held = await self._exchange(read_back)
                except InstrumentError as error:
                    doubt = doubt or error
            return TextConfirmation(doubt, answer, held)

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
        self.openings += 1

    async def _prepare(self, command: Command, probes: Sequence[Command]) -> None:
        """Make sure that the line is open and quiet, and that no older reply can be taken for the one to `command`."""
        await self._open()
        await self._make_ready()
        doubt = self._doubts[command.unit]
        for _ in range(_MOST_PROBES):
            probe = doubt.probe_for(command, probes) if doubt.concerns(command) else None
            if probe is None:
                return
            try:
                await self._exchange(probe)
            except ReplyRefused as error:
                reason = f"after a missed reply the next one does not fit its command ({error.reason})"
                raise ReplyOutOfStep(self.port, command.unit, reason, error.reply) from error
            await self._make_ready()
        raise ReplyOutOfStep(self.port, command.unit, "something comes again and again that nobody asked for")

    def _say(self, command: Command) -> None:
        self._asked_last = command
        self._may_echo = [*self._may_echo[-3:], command.text]
        self._stream.write(command.text + command.end)
        self._pause_after(command, bytes_sent=len(command.text) + len(command.end))

    def _pause_after(self, command: Command, bytes_sent: int = 0) -> None:
        if command.pause_s:
            now_s = asyncio.get_running_loop().time()
            self._speak_at_s = now_s + bytes_sent * self._character_s + command.pause_s

    async def _exchange(self, command: Command) -> Answer:
        doubt = self._doubts[command.unit]
        doubt.asked(
            command, asyncio.get_running_loop().time()
        )  # open until it is answered; also if the wait is cancelled
        self._say(command)
        try:
            lines, rest = await self._listen(command)
        except (ReplyTimeout, ReplyRefused):
            self._quiet_until_s = asyncio.get_running_loop().time() + self._silence_s
            raise
        match = command.reply.fullmatch(b"\n".join(lines)) if command.reply is not None else None
        if match is None or rest:
            self._quiet_until_s = asyncio.get_running_loop().time() + self._silence_s
            raise ReplyRefused(self.port, command.unit, _difference(lines, rest, command), b"\n".join([*lines, rest]))
        doubt.answered(command)
        self._may_echo.clear()
        self._reopening.succeeded()
        self._pause_after(command)
        return Answer(match, self._stream.arrived_ms)

    async def _listen(self, command: Command) -> tuple[list[bytes], bytes]:
        """The lines that come until the reply has ended, and what has come behind it."""
        loop = asyncio.get_running_loop()
        received = self._stream.received
        patience_s = max(self.timeout_s, _PATIENCE * command.takes_s)
        deadline_s = loop.time() + patience_s
        lines: list[bytes] = []
        echoes = 0
        while True:
            line = self._next_line(command)
            if line is not None:
                if not lines and line in self._may_echo and not command.says(line):
                    self._may_echo.remove(line)
                    echoes += 1
                elif not self._is_late(line, command):
                    lines.append(line)
                    if _is_last(line, command) or len(lines) >= _MOST_LINES:
                        rest = bytes(received).strip(_LINE_ENDS)
                        received.clear()
                        return lines, rest
                continue
            if len(received) > _LONGEST_LINE:
                raise ReplyRefused(self.port, command.unit, "it has no line end", bytes(received))
            may_end = bool(lines) and command.quiet_s > 0.0 and not received
            is_whole = not lines and command.is_whole(received)
            until_s = deadline_s
            if is_whole:
                until_s = loop.time() + command.unended_s
            elif lines and command.quiet_s:
                until_s = loop.time() + command.quiet_s
            if await self._stream.wait_for_bytes(until_s):
                continue
            if is_whole:
                lines.append(bytes(received))
                received.clear()
            if may_end or is_whole:
                return lines, b""
            if echoes and not lines and not received:
                reason = "only the command itself came back: the line echoes, and the instrument is silent"
                raise ReplyRefused(self.port, command.unit, reason, command.text)
            raise ReplyTimeout(self.port, command.unit, patience_s, len(received) + sum(map(len, lines)))

    def _next_line(self, command: Command) -> bytes | None:
        received = self._stream.received
        end = received.find(command.end)
        if end < 0:
            return None
        line = bytes(received[:end])
        del received[: end + len(command.end)]
        return line.strip(_LINE_ENDS)

    def _is_late(self, line: bytes, command: Command) -> bool:
        """Whether another unit says it, which was asked before and was not heard in time."""
        if command.says(line):
            return False
        return any(doubt.explains(line) for unit, doubt in self._doubts.items() if unit != command.unit)

    async def _make_ready(self) -> None:
        """Keep the pause between commands; throw away what nobody asked for; after a failure, until nothing has come
        for `silence_s` (bounded).
        """
        loop = asyncio.get_running_loop()
        stream = self._stream
        now_s = loop.time()
        give_up_s = now_s + _MOST_SILENCES * self._silence_s
        while now_s < self._quiet_until_s and now_s < give_up_s:
            if await stream.wait_for_bytes(min(self._quiet_until_s, give_up_s)):
                self._quiet_until_s = loop.time() + self._silence_s
            now_s = loop.time()
        while loop.time() < self._speak_at_s:
            await stream.wait_for_bytes(self._speak_at_s)
        heard = {line for line in bytes(stream.received).replace(b"\n", b"\r").split(b"\r") if line}
        if heard - set(self._may_echo):
            self.unasked += 1
            if self._asked_last is not None:  # the last line may have been another's
                self._doubts[self._asked_last.unit].asked(self._asked_last, loop.time())
        self._may_echo = [said for said in self._may_echo if said not in heard]
        stream.received.clear()


def _is_last(line: bytes, command: Command) -> bool:
    if command.last is not None:
        return command.last.fullmatch(line) is not None
    return not command.quiet_s


def _difference(lines: Sequence[bytes], rest: bytes, command: Command) -> str:
    said = b"\n".join(lines)
    if rest and command.reply is not None and command.reply.fullmatch(said):
        return "more came than one reply; which is ours cannot be told"
    return f"{said[:60]!r} is no reply to {command}"
