"""What all Atlas Scientific EZO circuits have in common on their serial line.

9600 8N1, commands and answers end with CR, capitals or not. After power-up the circuit says `*RS` and `*RE` and then a
reading every second until `C,0`; a reading that was asked for takes 600 to 900 ms, other commands 300 ms. An answer is
followed by `*OK` unless response codes were switched off; `*ER` answers what is not understood; `*SL` and `*WA` mark
sleep and waking. Temperature, and whatever else compensates, is forgotten when the power fails; calibration is not.
Source: Atlas Scientific, EZO-pH and EZO-DO data sheets, chapter UART.
"""

import asyncio
from abc import abstractmethod
from typing import Any

from lms_firmware_sim.errors import StateError
from lms_firmware_sim.instruments.immersion import Immersion
from lms_firmware_sim.wires.faults import FaultKind
from lms_firmware_sim.wires.text_wire import Reply, Say, TextInstrument

DEFAULT_TEMPERATURE_C = 25.0
SETTING_S = 0.3


class EzoError(Exception):
    """The circuit answers `*ER`."""


class EzoCircuit(TextInstrument):
    """One circuit.

    Args:
        immersion: where its probe is.
        reading_s: time that a reading takes.
        setting_s: time that any other command takes.
        streaming_s: time between two readings that nobody asked for; 0 does not stream.

    Attributes:
        temperature_c: for which it compensates; nobody measures it here, a client must tell.
    """

    model = ""
    firmware = ""

    def __init__(
        self, immersion: Immersion, *, reading_s: float, setting_s: float = SETTING_S, streaming_s: float = 1.0
    ) -> None:
        self.immersion = immersion
        self.reading_s = reading_s
        self.setting_s = setting_s
        self.streaming_s = streaming_s
        self.temperature_c = DEFAULT_TEMPERATURE_C
        self.says_codes = True
        self.is_asleep = False
        self.is_lit = True
        self.name = ""
        self._next: asyncio.TimerHandle | None = None

    @abstractmethod
    def reading(self) -> str:
        """The present reading as the circuit says it."""

    @abstractmethod
    def calibrate(self, arguments: list[str]) -> str | None:
        """Carry out `Cal,…`: an answer before `*OK`, or None.

        Raises:
            EzoError: it is not understood.
        """

    @abstractmethod
    def forget(self) -> None:
        """Lose what a circuit loses when its power fails."""

    @abstractmethod
    def own_command(self, name: str, arguments: list[str]) -> str | None:
        """Carry out a command that only this circuit has: an answer before `*OK`, or None.

        Raises:
            EzoError: it is not understood.
        """

    def plugged_in(self, say: Say) -> None:
        """Power comes: restarted, ready, and streaming if it did before."""
        super().plugged_in(say)
        self._power_up("*RS", "*RE")

    def unplugged(self) -> None:
        """Power fails."""
        super().unplugged()
        self._stop_streaming()

    def _power_up(self, *lines: str) -> None:
        self.temperature_c = DEFAULT_TEMPERATURE_C
        self.is_asleep = False
        self.forget()
        if self.say is not None and self.says_codes:
            self.say(Reply.of(*lines))
        self._stream()

    def _stream(self) -> None:
        self._stop_streaming()
        if self.streaming_s > 0.0 and self.say is not None and not self.is_asleep:
            self._next = asyncio.get_running_loop().call_later(self.streaming_s, self._say_reading)

    def _stop_streaming(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _say_reading(self) -> None:
        if self.say is not None:
            self.say(Reply.of(self.reading()))
        self._stream()

    def hear(self, command: str) -> Reply | None:
        """Carry out a command; while asleep, any one only wakes the circuit."""
        if self.is_asleep:
            self.is_asleep = False
            self._stream()
            return Reply.of("*WA")
        name, *arguments = (word.strip() for word in command.split(","))
        try:
            answer, delay_s = self._carry_out(name.lower(), arguments)
        except EzoError:
            return Reply.of("*ER") if self.says_codes else None
        if answer == "*SL":
            return Reply.of(answer, delay_s=delay_s)
        lines = [answer] if answer is not None else []
        if self.says_codes:
            lines.append("*OK")
        return Reply.of(*lines, delay_s=delay_s) if lines else None

    def _carry_out(self, name: str, arguments: list[str]) -> tuple[str | None, float]:
        match name, arguments:
            case "r", []:
                return self.reading(), self.reading_s
            case "rt", [value]:
                self.temperature_c = self._number(value, -126.0, 1254.0)
                return self.reading(), self.reading_s
            case "sleep", []:
                self.is_asleep = True
                self._stop_streaming()
                return "*SL", self.setting_s
            case "cal", _:
                return self.calibrate([argument.lower() for argument in arguments]), self.setting_s
            case "factory", []:
                self.calibrate(["clear"])
                self.streaming_s, self.says_codes, self.name = 1.0, True, ""
                asyncio.get_running_loop().call_soon(self._power_up, "*RS", "*RE")
                return None, 0.0
            case _:
                return self._setting(name, arguments), self.setting_s

    def _setting(self, name: str, arguments: list[str]) -> str | None:
        match name, arguments:
            case "c", ["?"]:
                return f"?C,{self.streaming_s:g}"
            case "c", [value]:
                self.streaming_s = float(round(self._number(value, 0.0, 99.0)))
                self._stream()
            case "t", ["?"]:
                return f"?T,{self.temperature_c:g}"
            case "t", [value]:
                self.temperature_c = self._number(value, -126.0, 1254.0)
            case "i", []:
                return f"?i,{self.model},{self.firmware}"
            case "status", []:
                return "?Status,P,5.038"
            case "l", ["?"]:
                return f"?L,{int(self.is_lit)}"
            case "l", ["0" | "1" as value]:
                self.is_lit = value == "1"
            case "name", ["?"]:
                return f"?Name,{self.name}"
            case "name", [value] if len(value) <= 16:
                self.name = value
            case "*ok", ["?"]:
                return f"?*OK,{int(self.says_codes)}"
            case "*ok", ["0" | "1" as value]:
                self.says_codes = value == "1"
            case "baud", ["?"]:
                return "?Baud,9600"
            case "plock", ["?"]:
                return "?Plock,0"
            case "find", []:
                pass
            case _:
                return self.own_command(name, arguments)
        return None

    @staticmethod
    def _number(text: str, low: float, high: float) -> float:
        try:
            value = float(text)
        except ValueError as error:
            raise EzoError from error
        if not low <= value <= high:
            raise EzoError
        return value

    def spoiled(self, kind: FaultKind, line: str) -> str:
        """A reading as an ill circuit says it; codes and answers to settings stay as they are."""
        if line.startswith(("*", "?")):
            return "*ER" if kind is FaultKind.BUSY else line
        return {
            FaultKind.BUSY: "*ER",
            FaultKind.OUT_OF_RANGE: "9999.99",
            FaultKind.NOT_A_NUMBER: "nan",
            FaultKind.WRONG_UNIT: "?EC,uS",
            FaultKind.WRONG_FUNCTION: f"?T,{self.temperature_c:g}",
            FaultKind.WRONG_COUNT: f"{line},{line}",
        }.get(kind, line)

    def to_json(self) -> dict[str, Any]:
        """What the circuit keeps without power, as JSON would hold it."""
        return {
            "streaming_s": self.streaming_s,
            "codes": self.says_codes,
            "name": self.name,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """The inverse of `to_json`.

        Raises:
            StateError: it is not what that gives.
        """
        try:
            self.streaming_s, self.says_codes = float(saved["streaming_s"]), bool(saved["codes"])
            self.name = str(saved["name"])
        except (KeyError, TypeError, ValueError) as error:
            raise StateError(f"an EZO circuit: {error!r}") from error
