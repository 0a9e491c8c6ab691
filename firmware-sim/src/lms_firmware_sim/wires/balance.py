"""A balance that speaks MT-SICS on a serial line (a pseudo-terminal).

Commands are upper case and end with CR LF: `S` stable weight, `SI` weight at once, `SIR` weight at once again and
again until the next `S`, `SI` or `@`; `Z` zero, `T` tare, `TA` tare value, `I4` serial number, `@` reset. `ES`
answers what is not understood, `EL` a wrong parameter.
Source: Mettler-Toledo, MT-SICS Interface Command reference, levels 0 and 1.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from lms_firmware_sim.wires.balance_replies import balance_faults, weight_line
from lms_firmware_sim.wires.faults import FaultKind
from lms_firmware_sim.wires.serial_wire import SerialWire
from lms_firmware_sim.wires.wire import Request

_LONGEST_LINE = 80


class BalanceWire(SerialWire):
    """One balance on one serial line.

    Args:
        weight_g: what lies on the pan: a number, or a function that gives the present one.
        is_stable: whether `S` may answer: a flag, or a function.
        capacity_g: beyond it the balance answers overload, below -1 % of it underload.
        decimals: digits after the point.
        stable_within_s: how long `S` waits for a stable weight before it answers `S I`.
        repeat_s: time between two answers of `SIR`.
    """

    def __init__(
        self,
        weight_g: float | Callable[[], float] = 100.0,
        *,
        is_stable: bool | Callable[[], bool] = True,
        capacity_g: float = 32_000.0,
        decimals: int = 2,
        serial_number: str = "B123456789",
        stable_within_s: float = 3.0,
        repeat_s: float = 0.1,
        link: Path | str | None = None,
        baud: int = 9600,
        pace: bool = False,
        name: str = "mt-sics",
        seed: int = 0,
    ) -> None:
        super().__init__(name, link=link, baud=baud, pace=pace, seed=seed)
        self.weight_g = weight_g
        self.is_stable = is_stable
        self.capacity_g = capacity_g
        self.decimals = decimals
        self.serial_number = serial_number
        self.stable_within_s = stable_within_s
        self.repeat_s = repeat_s
        self.zero_g = 0.0
        self.tare_g = 0.0
        self._line = bytearray()
        self._frozen: dict[str, bytes] = {}
        self._owed = b""
        self._repeating: asyncio.TimerHandle | None = None
        self._waiting: asyncio.TimerHandle | None = None
        self._commands: dict[str, Callable[[str, bytes], None]] = {
            "S": self._stable_weight,
            "SI": self._weight_at_once,
            "SIR": self._repeat,
            "Z": self._zero,
            "T": self._tare,
            "TA": self._tare_value,
            "I4": self._serial,
            "@": self._reset,
        }

    @property
    def gross_g(self) -> float:
        """What lies on the pan, before zero and tare."""
        return self.weight_g() if callable(self.weight_g) else self.weight_g

    @property
    def stable(self) -> bool:
        """Whether the weight is at rest."""
        return self.is_stable() if callable(self.is_stable) else self.is_stable

    def _fault_changed(self) -> None:
        self._frozen.clear()
        self._owed = b""

    def _hung_up(self) -> None:
        self._line.clear()
        self._cancel()

    def _cancel(self) -> None:
        for timer in (self._repeating, self._waiting):
            if timer is not None:
                timer.cancel()
        self._repeating = self._waiting = None

    def _received(self, data: bytes) -> None:
        self._line += data
        while (end := self._line.find(b"\n")) >= 0:
            line = bytes(self._line[: end + 1])
            del self._line[: end + 1]
            self._command(line)
        if len(self._line) > _LONGEST_LINE:
            self._line.clear()

    def _command(self, line: bytes) -> None:
        text = line.decode("ascii", "replace").strip("\r\n")
        command, _, parameter = text.partition(" ")
        self.requests.append(Request(0, command, 0, 0))
        if command in ("S", "SI", "SIR", "@"):
            self._cancel()
        if parameter:
            self._reply(command, line, "EL" if command in self._commands else "ES")
            return
        carry_out = self._commands.get(command)
        if carry_out is None:
            self._reply(command, line, "ES")
        else:
            carry_out(command, line)

    def _stable_weight(self, command: str, line: bytes) -> None:
        deadline = asyncio.get_running_loop().time() + self.stable_within_s

        def look() -> None:
            self._waiting = None
            loop = asyncio.get_running_loop()
            if self.stable:
                self._reply(command, line, self._weight(stable=True))
            elif loop.time() >= deadline:
                self._reply(command, line, "S I")
            else:
                self._waiting = loop.call_later(0.05, look)

        look()

    def _weight_at_once(self, command: str, line: bytes) -> None:
        self._reply(command, line, self._weight(stable=self.stable))

    def _repeat(self, command: str, line: bytes) -> None:
        self._reply(command, line, self._weight(stable=self.stable))
        loop = asyncio.get_running_loop()
        self._repeating = loop.call_later(self.repeat_s, self._repeat, command, b"")

    def _zero(self, command: str, line: bytes) -> None:
        if not self.stable:
            self._reply(command, line, f"{command} I")
            return
        self.zero_g = self.gross_g
        self.tare_g = 0.0
        self._reply(command, line, f"{command} A")

    def _tare(self, command: str, line: bytes) -> None:
        if not self.stable:
            self._reply(command, line, f"{command} I")
            return
        self.tare_g = self.gross_g - self.zero_g
        self._reply(command, line, weight_line("T S", self.tare_g, self.decimals))

    def _tare_value(self, command: str, line: bytes) -> None:
        self._reply(command, line, weight_line("TA A", self.tare_g, self.decimals))

    def _serial(self, command: str, line: bytes) -> None:
        self._reply(command, line, f'I4 A "{self.serial_number}"')

    def _reset(self, command: str, line: bytes) -> None:
        self.tare_g = 0.0
        self._reply(command, line, f'I4 A "{self.serial_number}"')

    def _weight(self, *, stable: bool) -> str:
        gross = self.gross_g - self.zero_g
        if gross > self.capacity_g:
            return "S +"
        if gross < -0.01 * self.capacity_g:
            return "S -"
        return weight_line("S S" if stable else "S D", gross - self.tare_g, self.decimals)

    def _reply(self, command: str, heard: bytes, text: str) -> None:
        """Send one line as whole or as ill as the present fault wants it."""
        fault = self._fault_for(None)
        line = text.encode("ascii") + b"\r\n"
        if fault is not None:
            if fault.kind is FaultKind.STUCK:
                line = self._frozen.setdefault(command, line)
            line = balance_faults(fault, heard, line, self.random)
            if fault.kind is FaultKind.SHIFTED:
                line, self._owed = self._owed, line
        self._transmit(fault, line, bytes_heard=len(heard))
