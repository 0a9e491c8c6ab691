"""A serial line on which instruments speak text: one alone, or several that each listen for their own address.

The wire parts commands at their line end, lets every instrument hear them, and sends what one answers, as late as the
instrument needs and as ill as the present fault wants it. Neighbours: `lms_firmware_sim.instruments` has the dialects.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lms_firmware_sim.wires.faults import Fault, FaultKind
from lms_firmware_sim.wires.serial_wire import SerialWire
from lms_firmware_sim.wires.text_faults import damage_text
from lms_firmware_sim.wires.wire import Request

_LONGEST_COMMAND = 120


@dataclass(frozen=True, slots=True)
class Reply:
    """What an instrument says.

    Attributes:
        lines: without their line ends; faults of the instrument show in the first.
        delay_s: time that the instrument needs before it speaks.
    """

    lines: tuple[str, ...]
    delay_s: float = 0.0

    @classmethod
    def of(cls, *lines: str, delay_s: float = 0.0) -> "Reply":
        """A reply of some lines."""
        return cls(lines, delay_s)


Say = Callable[[Reply], None]


class TextInstrument(ABC):
    """One instrument on a text line.

    Attributes:
        unit: how it is addressed and how a fault names it; None: it is alone on its line.
        end: the line end of what it says.
        say: says something unasked; None while the line is down.
    """

    unit: int | str | None = None
    end: bytes = b"\r"
    say: Say | None = None

    @abstractmethod
    def hear(self, command: str) -> Reply | None:
        """Act on a command (without its line end); None where it is not for this instrument, or has no answer."""

    @abstractmethod
    def spoiled(self, kind: FaultKind, line: str) -> str:
        """The line as the instrument says it when it is ill: another unit, no number, another command's reply."""

    def plugged_in(self, say: Say) -> None:
        """The line is up: from now on the instrument may speak unasked."""
        self.say = say

    def unplugged(self) -> None:
        """The line hangs up: whoever speaks unasked must end its timers."""
        self.say = None


class TextWire(SerialWire):
    """A serial line with text instruments.

    Args:
        instruments: who listens; each command is heard by all.
        command_end: the last byte of a command.
        echo: send back every byte that comes, as some pumps and two-wire adapters do.
    """

    def __init__(
        self,
        instruments: Sequence[TextInstrument],
        *,
        command_end: bytes = b"\r",
        echo: bool = False,
        link: Path | str | None = None,
        baud: int = 9600,
        pace: bool = False,
        name: str = "text",
        seed: int = 0,
    ) -> None:
        super().__init__(name, link=link, baud=baud, pace=pace, seed=seed)
        self.instruments = tuple(instruments)
        self.command_end = command_end
        self.echo = echo
        self._half = bytearray()
        self._frozen: dict[tuple[int | str | None, str], Reply] = {}
        self._owed: dict[int | str | None, bytes] = {}

    def _fault_changed(self) -> None:
        self._frozen.clear()
        self._owed.clear()

    def _plug_in(self) -> None:
        super()._plug_in()
        for instrument in self.instruments:
            instrument.plugged_in(self._speaker(instrument))

    def _hung_up(self) -> None:
        self._half.clear()
        for instrument in self.instruments:
            instrument.unplugged()

    def _received(self, data: bytes) -> None:
        if self.echo and self._outbox is not None:
            self._outbox.send(data)
        self._half += data
        while (end := self._half.find(self.command_end)) >= 0:
            heard = bytes(self._half[: end + 1])
            del self._half[: end + 1]
            self._command(heard)
        if len(self._half) > _LONGEST_COMMAND:
            self._half.clear()

    def _command(self, heard: bytes) -> None:
        # A line feed before the command is the end of the one before, from a client that sends CR LF.
        command = heard.decode("ascii", "replace").strip("\r\n")
        if not command:
            return
        self.requests.append(Request(0, command, 0, 0))
        for instrument in self.instruments:
            reply = instrument.hear(command)
            if reply is not None:
                self._answer(instrument, command, heard, reply)

    def _speaker(self, instrument: TextInstrument) -> Say:
        def say(reply: Reply) -> None:
            self._answer(instrument, "", b"", reply)

        return say

    def _answer(self, instrument: TextInstrument, command: str, heard: bytes, reply: Reply) -> None:
        """Send a reply as whole or as ill as the present fault wants it."""
        if self._is_unplugged:
            return
        fault = self._fault_for(instrument.unit)
        if fault is not None:
            reply = self._ill(fault, instrument, command, reply)
        sent = b"".join(line.encode("ascii", "replace") + instrument.end for line in reply.lines)
        sent = damage_text(fault, heard, sent, self.random)
        if fault is not None and fault.kind is FaultKind.SHIFTED:
            sent, self._owed[fault.unit] = self._owed.get(fault.unit, b""), sent
        self._transmit(fault, sent, bytes_heard=len(heard), answer_s=reply.delay_s)

    def _ill(self, fault: Fault, instrument: TextInstrument, command: str, reply: Reply) -> Reply:
        if fault.kind is FaultKind.STUCK:
            return self._frozen.setdefault((instrument.unit, command), reply)
        first = instrument.spoiled(fault.kind, reply.lines[0])
        return reply if first == reply.lines[0] else Reply((first, *reply.lines[1:]), reply.delay_s)
