"""A Watson-Marlow 520 or 323 pump on a serial line, shared by up to 16 of the former.

9600 8N2, CR, at least 10 ms between two commands (which a pseudo-terminal cannot measure). `nSPxxx.x` speed, `nSI` and
`nSD` 1 rpm more or less, `nGO`/`nST`, `nRR`/`nRL`/`nRC` direction, `nTC` clears the tacho, `nDOp` doses p pulses; none
of these is answered. `nRS`, `nRT` (520 only) and `nZY` are. `#` commands all pumps, and answers nothing. A 520 says
`520Du 15.84 520R 9.6MM 220.0 CW P/N 1 123456789 1 !`, a 323 only `323Du 110 CW 1 !`. 10,982 tacho pulses are one
revolution.
Sources: Watson-Marlow 520DuN manual, section 24; 323Du manual p. 27. A speed beyond the pump's is taken as its largest,
and a reply ends with CR; the manuals do not say.
"""

import re
from collections.abc import Callable
from typing import Any

from lms_firmware_sim.errors import StateError
from lms_firmware_sim.wires.faults import FaultKind
from lms_firmware_sim.wires.text_wire import Reply, TextInstrument

PULSES_PER_REVOLUTION = 10_982
ALL = "#"


class Pump(TextInstrument):
    """One pump.

    Args:
        number: its address, 1 to 16.
        model: `520Du` or `323Du`, as it says itself.
        ml_per_revolution, head, tube: what the display was told of head and tube.
        max_rpm: its fastest.
        clock: seconds; the tacho counts with it.
    """

    def __init__(
        self,
        *,
        number: int = 1,
        model: str = "520Du",
        ml_per_revolution: float = 15.84,
        head: str = "520R",
        tube: str = "9.6MM",
        max_rpm: float = 220.0,
        clock: Callable[[], float],
    ) -> None:
        self.unit: int = number
        self.model = model
        self.ml_per_revolution = ml_per_revolution
        self.head = head
        self.tube = tube
        self.max_rpm = max_rpm
        self.speed_rpm = max_rpm / 2.0
        self.is_clockwise = True
        self._clock = clock
        self._is_running = False
        self._pulses = 0.0
        self._counted_at_s = clock()
        self._dose_end: float | None = None

    @property
    def is_running(self) -> bool:
        """Whether it turns now; a dose ends by itself."""
        self._count()
        return self._is_running

    @property
    def pulses(self) -> int:
        """The tacho's count."""
        self._count()
        return int(self._pulses)

    @property
    def flow_ml_min(self) -> float:
        """What it delivers now."""
        return self.speed_rpm * self.ml_per_revolution if self.is_running else 0.0

    def _count(self) -> None:
        """Bring the tacho up to now, and end a dose that is done."""
        now = self._clock()
        elapsed_s, self._counted_at_s = max(0.0, now - self._counted_at_s), now
        if not self._is_running:
            return
        self._pulses += elapsed_s / 60.0 * self.speed_rpm * PULSES_PER_REVOLUTION
        if self._dose_end is not None and self._pulses >= self._dose_end:
            self._pulses, self._dose_end, self._is_running = self._dose_end, None, False

    def hear(self, command: str) -> Reply | None:
        """Act on a command for our number, or for all."""
        found = re.fullmatch(r"(#|[0-9]{1,2})([A-Z]{2})([0-9.,]*)", command)
        if found is None or (found[1] != ALL and int(found[1]) != self.unit):
            return None
        self._count()
        answer = self._answer(found[2]) if found[3] == "" else None
        if answer is None:
            self._obey(found[2], found[3])
            return None
        return None if found[1] == ALL else Reply.of(answer)

    def _answer(self, command: str) -> str | None:
        match command:
            case "RS":
                return self.status()
            case "ZY":
                return str(int(self._is_running))
            case "RT" if self._is_big:
                return str(int(self._pulses))
            case _:
                return None

    def _obey(self, command: str, argument: str) -> None:
        match command:
            case "SP" if (speed := _number(argument)) is not None:
                self.speed_rpm = min(self.max_rpm, speed)
            case "SI" | "SD":
                self.speed_rpm = min(self.max_rpm, max(0.0, self.speed_rpm + (1.0 if command == "SI" else -1.0)))
            case "GO" | "ST":
                self._is_running, self._dose_end = command == "GO", None
            case "RR" | "RL":
                self.is_clockwise = command == "RR"
            case "RC":
                self.is_clockwise = not self.is_clockwise
            case "TC" if self._is_big:
                self._pulses = 0.0
            case "DO" if self._is_big and (pulses := _number(argument.partition(",")[0])) is not None:
                self._is_running, self._dose_end = True, self._pulses + pulses
            case _:
                pass  # display texts, and what the pump does not understand: it says nothing

    @property
    def _is_big(self) -> bool:
        """A 520 has a tacho, a number and doses; a 323 has none."""
        return not self.model.startswith("323")

    def status(self) -> str:
        """The answer to `RS`."""
        turning = "CW" if self.is_clockwise else "CCW"
        if not self._is_big:
            return f"{self.model} {self.speed_rpm:.0f} {turning} {int(self._is_running)} !"
        return (
            f"{self.model} {self.ml_per_revolution:.2f} {self.head} {self.tube} {self.speed_rpm:.1f} {turning}"
            f" P/N {self.unit} {int(self._pulses)} {int(self._is_running)} !"
        )

    def spoiled(self, kind: FaultKind, line: str) -> str:
        """An answer as an ill pump says it; the dialect has no word for busy."""
        fields = line.split()
        if fields[-1] != "!":
            return {
                FaultKind.OUT_OF_RANGE: "-7",
                FaultKind.NOT_A_NUMBER: "?",
                FaultKind.WRONG_FUNCTION: self.status(),
                FaultKind.WRONG_COUNT: f"{line} {line}",
            }.get(kind, line)
        speed = 4 if self._is_big else 1
        match kind:
            case FaultKind.WRONG_UNIT if self._is_big:
                fields[7] = str(self.unit % 16 + 1)
            case FaultKind.WRONG_UNIT:
                fields[0] = "520Du"
            case FaultKind.WRONG_FUNCTION:
                return str(int(self._is_running))
            case FaultKind.WRONG_COUNT:
                del fields[-2]
            case FaultKind.OUT_OF_RANGE:
                fields[speed] = "9999.9"
            case FaultKind.NOT_A_NUMBER:
                fields[speed] = "---.-"
            case _:
                return line
        return " ".join(fields)

    def to_json(self) -> dict[str, Any]:
        """What it keeps without power: all but whether it runs."""
        self._count()
        return {"speed_rpm": self.speed_rpm, "clockwise": self.is_clockwise, "pulses": self._pulses}

    def restore(self, saved: dict[str, Any]) -> None:
        """The inverse of `to_json`.

        Raises:
            StateError: it is not what that gives.
        """
        try:
            self.speed_rpm, self.is_clockwise = float(saved["speed_rpm"]), bool(saved["clockwise"])
            self._pulses = float(saved["pulses"])
        except (KeyError, TypeError, ValueError) as error:
            raise StateError(f"a pump: {error!r}") from error


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
