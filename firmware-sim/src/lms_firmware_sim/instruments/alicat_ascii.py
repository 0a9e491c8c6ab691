"""An Alicat mass-flow controller on a shared serial line, ASCII dialect.

19200 8N1, a unit letter, CR. A bare letter polls: unit, pressure (PSIA), temperature, volumetric flow, mass flow, set
point, gas, and words for what is out of order. `AS1.5` sets, `AV` tares, `AG8` selects nitrogen, `A??D*` describes the
frame, `A??M*` the controller. `$$` behind the letter may stand or not. What is not understood answers `?`.
Sources: Alicat, Serial primer (DOC-SERIAL-PRIMER) and M-series manual; PyPI alicat.
"""

import re

from lms_firmware_sim.errors import SetPointRefused
from lms_firmware_sim.instruments.flow_controller import GASES, FlowController
from lms_firmware_sim.wires.faults import FaultKind
from lms_firmware_sim.wires.text_faults import without_last_field
from lms_firmware_sim.wires.text_wire import Reply, TextInstrument

UNKNOWN = "?"
_MASS_FLOW_LOOP = 37
_MODEL, _SERIAL, _SOFTWARE = "MC-{:g}SLPM-D", "123456", "7v12.0-R22"

_FRAME = (
    ("700", "Unit ID", "string", "1", ""),
    ("002", "Pressure", "s decimal", "7/3", "010 02 PSIA"),
    ("003", "Flow Temp", "s decimal", "7/3", "002 02 `C"),
    ("004", "Volu Flow", "s decimal", "7/3", "012 02 LPM"),
    ("005", "Mass Flow", "s decimal", "7/3", "012 02 SLPM"),
    ("037", "Mass Flow Setpt", "s decimal", "7/3", "012 02 SLPM"),
    ("703", "Gas", "string", "7", ""),
)


class AlicatAscii(TextInstrument):
    """One controller with its unit letter.

    Args:
        controller: what it controls.
        unit: A to Z.
    """

    def __init__(self, controller: FlowController, *, unit: str = "A") -> None:
        self.controller = controller
        self.unit: str = unit

    def hear(self, command: str) -> Reply | None:
        """Act on a command that begins with our letter."""
        if not command.upper().startswith(self.unit):
            return None
        return Reply(tuple(self._carry_out(command[1:].removeprefix("$$").strip().upper())))

    def _carry_out(self, command: str) -> list[str]:
        if command == "":
            return [self.frame()]
        if command == "??D*":
            return self._describe_frame()
        if command == "??M*":
            return self._describe_model()
        if (found := re.fullmatch(r"(S|LS) ?([+-]?[0-9.]+)", command)) is not None:
            return [self._set(found[2], brief=found[1] == "LS")]
        if (found := re.fullmatch(r"(?:G ?|W46=)?([0-9]+)", command)) is not None:
            return [self.frame() if self.controller.select_gas(int(found[1])) else UNKNOWN]
        return [self._other(command)]

    def _set(self, text: str, *, brief: bool) -> str:
        try:
            self.controller.write_set_point(float(text))
        except (ValueError, SetPointRefused):
            return UNKNOWN
        return self._set_point() if brief else self.frame()

    def _other(self, command: str) -> str:
        match command:
            case "LS":
                return self._set_point()
            case "V":
                self.controller.tare()
            case "P" | "PC":
                pass  # the pressure is right as it is
            case "L" | "U":
                self.controller.is_locked = command == "L"
            case "H" | "HP" | "HC" | "C":
                self.controller.is_held = command != "C"
            case "R46":
                return f"{self.unit}   046 = {self.controller.gas}"
            case "R122" | "W122=37":
                return f"{self.unit}   122 = {_MASS_FLOW_LOOP}"
            case "VE":
                return f"{self.unit}   {_SOFTWARE} Jul 19 2022,15:12:26"
            case _:
                return UNKNOWN
        return self.frame()

    def frame(self) -> str:
        """The answer to a poll."""
        controller = self.controller
        numbers = (
            controller.pressure_psi,
            controller.temperature_c,
            controller.volumetric_flow_l_min,
            controller.mass_flow_l_min,
            controller.set_point_l_min,
        )
        words = [word for word, holds in self._states() if holds]
        return " ".join([self.unit, *map(_number, numbers), f"{GASES[controller.gas]:>7s}", *words])

    def _states(self) -> list[tuple[str, bool]]:
        controller = self.controller
        return [("MOV", controller.is_overflowing), ("HLD", controller.is_held), ("LCK", controller.is_locked)]

    def _set_point(self) -> str:
        value = _number(self.controller.set_point_l_min)
        return f"{self.unit} {value} {value} 7 SLPM"

    def _describe_frame(self) -> list[str]:
        head = f"{self.unit} D00 ID_ NAME...................... TYPE...... WIDTH NOTES..................."
        rows = [
            f"{self.unit} D{row:02d} {number} {name:26s} {kind:10s} {width:>5s} {notes}".rstrip()
            for row, (number, name, kind, width, notes) in enumerate(_FRAME, start=1)
        ]
        return [head, *rows]

    def _describe_model(self) -> list[str]:
        model = _MODEL.format(self.controller.full_scale_l_min)
        rows = (
            "Alicat Scientific",
            "www.AlicatScientific.com",
            "info@AlicatScientific.com",
            "Ph   520-290-6060",
            f"Model Number {model}",
            f"Serial Number {_SERIAL}",
            "Date Manufactured 07/19/2022",
            "Date Calibrated   07/19/2022",
            "Calibrated By     QA",
            f"Software Revision {_SOFTWARE}",
        )
        return [f"{self.unit} M{row:02d} {text}" for row, text in enumerate(rows)]

    def spoiled(self, kind: FaultKind, line: str) -> str:
        """A frame as an ill controller says it."""
        fields = line.split()
        match kind:
            case FaultKind.BUSY:
                return UNKNOWN
            case FaultKind.WRONG_UNIT:
                return chr((ord(self.unit) - ord("A") + 1) % 26 + ord("A")) + line[1:]
            case FaultKind.WRONG_FUNCTION:
                return self._set_point()
            case FaultKind.WRONG_COUNT:
                return without_last_field(line)
            case FaultKind.OUT_OF_RANGE if len(fields) >= 7:
                return " ".join([*fields[:3], *["+999.999"] * 2, *fields[5:], "MOV"])
            case FaultKind.NOT_A_NUMBER if len(fields) >= 7:
                return " ".join([*fields[:3], *["--------"] * 2, *fields[5:]])
            case _:
                return line


def _number(value: float) -> str:
    return f"{value:+08.3f}"
