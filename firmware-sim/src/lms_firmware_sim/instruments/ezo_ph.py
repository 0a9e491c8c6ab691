"""The Atlas Scientific EZO pH circuit: one to three calibration points, and a slope that tells the electrode's age.

`Cal,mid,7` first, which forgets the others; then `Cal,low,4` and `Cal,high,10`. `Slope,?` answers the slopes on the
acid and the base side in percent, and the voltage at pH 7.
Source: Atlas Scientific, EZO-pH data sheet.
"""

from typing import Any

from lms_firmware_sim.instruments.ezo import EzoCircuit, EzoError
from lms_firmware_sim.instruments.ph_electrode import (
    PhCalibration,
    PhElectrode,
    PhPoint,
    points_from_json,
    points_to_json,
)

_READING_S = 0.9


class EzoPh(EzoCircuit):
    """A circuit with its electrode. Arguments as of `EzoCircuit`."""

    model = "pH"
    firmware = "2.16"

    def __init__(self, electrode: PhElectrode, *, reading_s: float = _READING_S, **others: float) -> None:
        super().__init__(electrode.immersion, reading_s=reading_s, **others)
        self.electrode = electrode
        self.points: dict[str, PhPoint] = {}

    @property
    def calibration(self) -> PhCalibration:
        """What the circuit believes of its electrode."""
        return PhCalibration.through(list(self.points.values()))

    def reading(self) -> str:
        """The pH with three digits; the circuit shows nothing beyond 0 and 14."""
        ph = self.calibration.ph(self.electrode.potential_mv, self.temperature_c)
        return f"{min(14.0, max(0.0, ph)):.3f}"

    def calibrate(self, arguments: list[str]) -> str | None:
        """`Cal,mid|low|high,n`, `Cal,clear`, `Cal,?`."""
        match arguments:
            case ["?"]:
                return f"?Cal,{len(self.points)}"
            case ["clear"]:
                self.points.clear()
            case ["mid" | "low" | "high" as name, value]:
                ph = self._number(value, 0.0, 14.0)
                if name == "mid":
                    self.points.clear()
                self.points[name] = PhPoint(ph, self.electrode.potential_mv, self.temperature_c)
            case _:
                raise EzoError
        return None

    def forget(self) -> None:
        """Nothing but the temperature is lost."""

    def own_command(self, name: str, arguments: list[str]) -> str | None:
        """`Slope,?`."""
        if (name, arguments) != ("slope", ["?"]):
            raise EzoError
        found = self.calibration
        return f"?Slope,{found.acid_percent:.1f},{found.base_percent:.1f},{found.offset_mv:.2f}"

    def to_json(self) -> dict[str, Any]:
        """With the calibration."""
        return super().to_json() | {"points": points_to_json(self.points)}

    def restore(self, saved: dict[str, Any]) -> None:
        """The inverse of `to_json`."""
        super().restore(saved)
        self.points = points_from_json(saved.get("points"))
