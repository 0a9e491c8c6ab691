"""The Atlas Scientific EZO DO circuit: dissolved oxygen in mg/L, in percent of saturation, or both.

`O,mg,1` and `O,%,1` choose; with both, mg/L comes first. `Cal` in air, `Cal,0` in a solution without oxygen. It
compensates mg/L for temperature, salinity and pressure as it is told; all three are forgotten when the power fails.
Source: Atlas Scientific, EZO-DO data sheet.
"""

from typing import Any

from lms_firmware_sim.errors import StateError
from lms_firmware_sim.instruments.ezo import EzoCircuit, EzoError
from lms_firmware_sim.instruments.oxygen_optode import OxygenCalibration, OxygenOptode, saturation_mg_l

_READING_S = 0.6
_SEA_LEVEL_KPA = 101.3


class EzoDo(EzoCircuit):
    """A circuit with its probe. Arguments as of `EzoCircuit`."""

    model = "DO"
    firmware = "2.15"

    def __init__(self, probe: OxygenOptode, *, reading_s: float = _READING_S, **others: float) -> None:
        super().__init__(probe.immersion, reading_s=reading_s, **others)
        self.probe = probe
        self.calibration = OxygenCalibration()
        self.shows = {"mg": True, "%": False}
        self.salinity_us = 0.0
        self.pressure_kpa = _SEA_LEVEL_KPA

    def reading(self) -> str:
        """What is switched on, mg/L before percent."""
        percent = self.calibration.percent(self.probe.signal)
        solubility = saturation_mg_l(self.temperature_c) * self.pressure_kpa / _SEA_LEVEL_KPA
        shown = []
        if self.shows["mg"]:
            shown.append(f"{percent / 100.0 * solubility:.2f}")
        if self.shows["%"]:
            shown.append(f"{percent:.1f}")
        return ",".join(shown) or "no output"

    def calibrate(self, arguments: list[str]) -> str | None:
        """`Cal`, `Cal,0`, `Cal,clear`, `Cal,?`."""
        known = self.calibration
        match arguments:
            case ["?"]:
                return f"?Cal,{known.points}"
            case ["clear"]:
                self.calibration = OxygenCalibration()
            case []:
                self.calibration = OxygenCalibration(self.probe.signal, known.zero_signal)
            case ["0"]:
                self.calibration = OxygenCalibration(known.air_signal, self.probe.signal)
            case _:
                raise EzoError
        return None

    def forget(self) -> None:
        """Salinity and pressure are lost with the temperature."""
        self.salinity_us = 0.0
        self.pressure_kpa = _SEA_LEVEL_KPA

    def own_command(self, name: str, arguments: list[str]) -> str | None:
        """`O,…` output, `S,…` salinity, `P,…` pressure."""
        match name, arguments:
            case "o", ["?"]:
                return ",".join(["?", "O", *(each for each in ("%", "mg") if self.shows[each])])
            case "o", ["mg" | "%" as shown, "0" | "1" as value]:
                self.shows[shown] = value == "1"
            case "s", ["?"]:
                return f"?S,{self.salinity_us:g},uS"
            case "s", [value]:
                self.salinity_us = self._number(value, 0.0, 100_000.0)
            case "p", ["?"]:
                return f"?,P,{self.pressure_kpa:g}"
            case "p", [value]:
                self.pressure_kpa = self._number(value, 10.0, 500.0)
            case _:
                raise EzoError
        return None

    def to_json(self) -> dict[str, Any]:
        """With calibration and output."""
        return super().to_json() | {"calibration": self.calibration.to_json(), "shows": dict(self.shows)}

    def restore(self, saved: dict[str, Any]) -> None:
        """The inverse of `to_json`."""
        super().restore(saved)
        self.calibration = OxygenCalibration.from_json(saved.get("calibration"))
        try:
            self.shows = {name: bool(saved["shows"][name]) for name in ("mg", "%")}
        except (KeyError, TypeError) as error:
            raise StateError(f"an EZO circuit: {error!r}") from error
