"""What the wires on pseudo-terminals have in common: the terminal, the outbox, the speed."""

from abc import abstractmethod
from pathlib import Path

from lms_firmware_sim.wires.faults import Fault, FaultKind
from lms_firmware_sim.wires.outbox import Outbox
from lms_firmware_sim.wires.terminal import Terminal
from lms_firmware_sim.wires.wire import Wire

_BITS_PER_BYTE = 10


class SerialWire(Wire):
    """A wire on a pseudo-terminal.

    Args:
        link: a symbolic link to the terminal.
        baud: the line's speed.
        pace: replies take the time that they would on a line of that speed; else they come at once.
    """

    def __init__(self, name: str, *, link: Path | str | None, baud: int, pace: bool, seed: int) -> None:
        super().__init__(name, seed)
        self.baud = baud
        self.pace = pace
        self._terminal = Terminal(name, None if link is None else Path(link), self._received)
        self._outbox: Outbox | None = None

    @property
    def address(self) -> str:
        """The path that a client opens: the link, where there is one; else the terminal's own."""
        return self._terminal.address

    @property
    def terminal_path(self) -> str:
        """The terminal's own path; another one after the wire was unplugged."""
        return self._terminal.path

    @abstractmethod
    def _received(self, data: bytes) -> None:
        """Bytes came from the client, perhaps not a whole request."""

    @abstractmethod
    def _hung_up(self) -> None:
        """For dialects that hold half a request."""

    def _plug_in(self) -> None:
        self._terminal.open()
        self._outbox = Outbox(self._terminal.write)

    def _unplug(self) -> None:
        if self._outbox is not None:
            self._outbox.drop()
        self._terminal.close()
        self._hung_up()

    async def _settle(self) -> None:
        """Timers are cancelled when the plug is pulled: nothing is left to wait for."""

    def _transmit(self, fault: Fault | None, data: bytes, *, bytes_heard: int, answer_s: float = 0.0) -> None:
        """Send a reply, as late and as slowly as fault and pace want it.

        Args:
            fault: what is wrong; None: nothing.
            data: the reply, as damaged as it shall come.
            bytes_heard: length of the request, which takes its time on a paced line.
            answer_s: time that the instrument needs to answer.
        """
        if self._outbox is None:
            return
        delay_s = (bytes_heard + len(data)) * _BITS_PER_BYTE / self.baud if self.pace else 0.0
        delay_s += answer_s
        byte_interval_s = 0.0
        if fault is not None and fault.kind is FaultKind.LATE:
            delay_s += fault.delay_s
        elif fault is not None and fault.kind is FaultKind.SLOW_BYTES:
            byte_interval_s = fault.delay_s
        self._outbox.send(data, delay_s=delay_s, byte_interval_s=byte_interval_s)
