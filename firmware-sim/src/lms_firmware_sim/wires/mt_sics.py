"""What a Mettler-Toledo balance understands and says: MT-SICS, levels 0 and 1.

Commands are upper case and end with CR LF. `S` stable weight, `SI` weight at once, `SIR` at once again and again, `SR`
stable now and after every change; `Z`/`ZI` zero, `T`/`TI` tare, `TA`/`TAC` tare value; `D`/`DW` display, `K` keys;
`I0` to `I5` who it is; `@` reset. Answers: `S S` stable, `S D` dynamic, `… I` not now, `… +` and `… -` over and under
range, `… A` done, `… L` wrong parameter, `ES` not understood, `EL` cannot be done.
Source: Mettler-Toledo, MT-SICS Interface Command reference, levels 0 and 1: the weight is right-aligned in ten
characters.
"""

import asyncio
import re
from collections.abc import Callable

from lms_firmware_sim.wires.faults import FaultKind
from lms_firmware_sim.wires.text_faults import without_last_field
from lms_firmware_sim.wires.text_wire import Reply, TextInstrument

GRAMS_PER: dict[str, float] = {"g": 1.0, "kg": 1000.0, "lb": 453.59237}
"""Weighing units, in grams."""

_ZERO_SHARE = 0.02
_UNDER_SHARE = 0.01
_LOOK_AGAIN_S = 0.05
_MODEL, _SOFTWARE, _SOFTWARE_ID = "XSR32001L", "2.10 10.28.0.493.142", "11781156B"


class Balance(TextInstrument):
    """One balance.

    Args:
        weight_g: what lies on the pan: a number, or a function that gives the present one.
        is_stable: whether the weight is at rest: a flag, or a function.
        capacity_g: beyond it the balance answers overload, below -1 % of it underload; within 2 % it can be zeroed.
        decimals: digits after the point, in the unit.
        unit_shown: g, kg or lb.
        stable_within_s: how long `S`, `T` and `Z` wait for a stable weight before they answer `I`.
        repeat_s: time between two answers of `SIR`.
    """

    end = b"\r\n"

    def __init__(
        self,
        weight_g: float | Callable[[], float],
        *,
        is_stable: bool | Callable[[], bool],
        capacity_g: float,
        decimals: int,
        serial_number: str,
        stable_within_s: float,
        repeat_s: float,
        unit_shown: str = "g",
    ) -> None:
        self.weight_g = weight_g
        self.is_stable = is_stable
        self.capacity_g = capacity_g
        self.decimals = decimals
        self.serial_number = serial_number
        self.stable_within_s = stable_within_s
        self.repeat_s = repeat_s
        self.unit_shown = unit_shown
        self.zero_g = 0.0
        self.tare_g = 0.0
        self.display = ""
        self._timer: asyncio.TimerHandle | None = None
        self._commands: dict[str, Callable[[str], str | None]] = {
            "S": lambda _: self._when_stable("S", self._stable_weight),
            "SI": lambda _: self._weight("S"),
            "SIR": lambda _: self._repeat(),
            "SR": self._on_change,
            "Z": lambda _: self._when_stable("Z", self._zero),
            "ZI": lambda _: self._zero_at_once(),
            "T": lambda _: self._when_stable("T", self._tare),
            "TI": lambda _: self._tare_at_once(),
            "TA": self._tare_value,
            "TAC": lambda _: self._clear_tare(),
            "D": self._show,
            "DW": lambda _: self._show_weight(),
            "K": lambda mode: "K A" if mode in {"1", "2", "3", "4"} else "K L",
            "@": lambda _: self._reset(),
            "I1": lambda _: 'I1 A "01" "2.30" "2.22" "" ""',
            "I2": lambda _: f'I2 A "{_MODEL} {self.capacity_g / 1000.0:g} kg"',
            "I3": lambda _: f'I3 A "{_SOFTWARE}"',
            "I4": lambda _: f'I4 A "{self.serial_number}"',
            "I5": lambda _: f'I5 A "{_SOFTWARE_ID}"',
        }

    @property
    def gross_g(self) -> float:
        """What lies on the pan, before zero and tare."""
        return self.weight_g() if callable(self.weight_g) else self.weight_g

    @property
    def stable(self) -> bool:
        """Whether the weight is at rest."""
        return self.is_stable() if callable(self.is_stable) else self.is_stable

    @property
    def _net_g(self) -> float:
        return self.gross_g - self.zero_g

    def unplugged(self) -> None:
        """Nothing is repeated for a client that is gone."""
        super().unplugged()
        self._cancel()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def hear(self, command: str) -> Reply | None:
        """Carry out a command; whatever it is, it ends one that still waits or repeats, as on a real balance."""
        name, _, parameter = command.partition(" ")
        if name in ("S", "SI", "SIR", "SR", "@"):
            self._cancel()
        if command == "I0":
            return self._list_commands()
        carry_out = self._commands.get(name)
        if carry_out is None:
            return Reply.of("ES")
        if parameter and name not in ("SR", "TA", "D", "K"):
            return Reply.of("EL")
        answer = carry_out(parameter)
        return None if answer is None else Reply.of(answer)

    def _list_commands(self) -> Reply:
        names = ["I0", *self._commands]
        lines = [f'I0 B {int(name not in _LEVEL_0)} "{name}"' for name in names]
        lines[-1] = lines[-1].replace("I0 B", "I0 A")
        return Reply(tuple(lines))

    def _when_stable(self, head: str, carry_out: Callable[[], str]) -> str | None:
        """Carry out as soon as the weight is at rest, or answer `… I` when it is not for long."""
        if self.stable:
            return carry_out()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.stable_within_s

        def look() -> None:
            self._timer = None
            if self.stable:
                self._say(carry_out())
            elif loop.time() >= deadline:
                self._say(f"{head} I")
            else:
                self._timer = loop.call_later(_LOOK_AGAIN_S, look)

        self._timer = loop.call_later(_LOOK_AGAIN_S, look)
        return None

    def _say(self, line: str) -> None:
        if self.say is not None:
            self.say(Reply.of(line))

    def _stable_weight(self) -> str:
        return self._weight("S")

    def _weight(self, head: str) -> str:
        """`S S     100.00 g`, or `S D …`, `S +`, `S -`."""
        beyond = self._beyond()
        if beyond:
            return f"{head} {beyond}"
        return self._line(f"{head} S" if self.stable else f"{head} D", self._net_g - self.tare_g)

    def _beyond(self) -> str:
        if self._net_g > self.capacity_g:
            return "+"
        return "-" if self._net_g < -_UNDER_SHARE * self.capacity_g else ""

    def _line(self, head: str, weight_g: float) -> str:
        value = weight_g / GRAMS_PER[self.unit_shown]
        return f"{head} {value + 0.0:10.{self.decimals}f} {self.unit_shown}"

    def _repeat(self) -> str:
        self._timer = asyncio.get_running_loop().call_later(self.repeat_s, self._say_again)
        return self._weight("S")

    def _say_again(self) -> None:
        self._say(self._repeat())

    def _on_change(self, parameter: str) -> str | None:
        """Stable weight now, then dynamic and stable after every change by more than a preset (default 1 g)."""
        preset = self._weight_in(parameter) if parameter else 1.0
        if preset is None:
            return "S L"
        loop = asyncio.get_running_loop()
        said_g: float | None = None

        def look() -> None:
            nonlocal said_g
            self._timer = loop.call_later(_LOOK_AGAIN_S, look)
            now_g = self._net_g
            if self.stable and (said_g is None or abs(now_g - said_g) > preset):
                said_g = now_g
                self._say(self._weight("S"))

        self._timer = loop.call_later(0.0, look)
        return None

    def _zero(self) -> str:
        beyond = self._cannot_be_zero()
        if beyond:
            return f"Z {beyond}"
        self.zero_g, self.tare_g = self.gross_g, 0.0
        return "Z A"

    def _zero_at_once(self) -> str:
        beyond = self._cannot_be_zero()
        if beyond:
            return f"ZI {beyond}"
        self.zero_g, self.tare_g = self.gross_g, 0.0
        return "ZI S" if self.stable else "ZI D"

    def _cannot_be_zero(self) -> str:
        """`+` or `-` where what lies there is more than the zero range, counted from when it was switched on."""
        if self.gross_g > _ZERO_SHARE * self.capacity_g:
            return "+"
        return "-" if self.gross_g < -_ZERO_SHARE * self.capacity_g else ""

    def _tare(self) -> str:
        beyond = self._beyond()
        if beyond:
            return f"T {beyond}"
        self.tare_g = self._net_g
        return self._line("T S", self.tare_g)

    def _tare_at_once(self) -> str:
        beyond = self._beyond()
        if beyond:
            return f"TI {beyond}"
        self.tare_g = self._net_g
        return self._line("TI S" if self.stable else "TI D", self.tare_g)

    def _tare_value(self, parameter: str) -> str:
        if parameter:
            preset = self._weight_in(parameter)
            if preset is None or not 0.0 <= preset <= self.capacity_g:
                return "TA L"
            self.tare_g = preset
        return self._line("TA A", self.tare_g)

    def _weight_in(self, parameter: str) -> float | None:
        """A weight in grams that a command gives, such as `12.5 g`; None where it is none."""
        found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) (\S+)", parameter)
        if found is None or found[2] not in GRAMS_PER:
            return None
        return float(found[1]) * GRAMS_PER[found[2]]

    def _clear_tare(self) -> str:
        self.tare_g = 0.0
        return "TAC A"

    def _show(self, parameter: str) -> str:
        found = re.fullmatch(r'"([^"]*)"', parameter)
        if found is None:
            return "D L"
        self.display = found[1]
        return "D A"

    def _show_weight(self) -> str:
        self.display = ""
        return "DW A"

    def _reset(self) -> str:
        self.tare_g, self.display = 0.0, ""
        return f'I4 A "{self.serial_number}"'

    def spoiled(self, kind: FaultKind, line: str) -> str:
        """A line as an ill balance says it."""
        match kind:
            case FaultKind.BUSY:
                return line.split(" ", 1)[0] + " I"
            case FaultKind.OUT_OF_RANGE:
                return "S +"
            case FaultKind.NOT_A_NUMBER:
                return f"S S ---------- {self.unit_shown}"
            case FaultKind.WRONG_UNIT if line.endswith(f" {self.unit_shown}"):
                return line.removesuffix(self.unit_shown) + ("lb" if self.unit_shown != "lb" else "g")
            case FaultKind.WRONG_FUNCTION:
                return "Z A"
            case FaultKind.WRONG_COUNT:
                return without_last_field(line)
            case _:
                return line


_LEVEL_0 = frozenset({"I0", "I1", "I2", "I3", "I4", "I5", "S", "SI", "SIR", "Z", "ZI", "@"})
