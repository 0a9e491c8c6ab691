"""A Hamilton VisiFerm DO sensor: oxygen and temperature, in the same layout as the pH sensors.

PMC1 is oxygen in percent of saturation or in mg/L, as its unit register says. `CP1` is air (100 %), `CP2` a solution
without oxygen (0 %); each is calibrated by writing its value to 5162 or 5194.
Source: Hamilton, VisiFerm DO Modbus RTU Programmer's Manual (ODOUM043, ODOUM102), as two open-source drivers use it
(reported); bits of the verdict as in the pH sensors.
"""

import math
from collections.abc import Sequence
from typing import Any

from lms_firmware_sim.instruments.hamilton import (
    LOWEST_QUALITY_PERCENT,
    SENSOR_FAILURE,
    HamiltonSensor,
    UnitCode,
)
from lms_firmware_sim.instruments.hamilton_blocks import NOT_USER, Readable, Words, Writable, float_in, floats, longs
from lms_firmware_sim.instruments.hamilton_ph import CP1, CP2, STABILITY, Verdict
from lms_firmware_sim.instruments.oxygen_optode import OxygenCalibration, OxygenOptode, saturation_mg_l
from lms_firmware_sim.wires.registers import IllegalValue

_LIMITS, _STATUS, _VALUE = {CP1: 5152, CP2: 5184}, {CP1: 5158, CP2: 5190}, {CP1: 5162, CP2: 5194}
_NOMINAL = {CP1: 100.0, CP2: 0.0}
_ALLOWED = {CP1: (50.0, 150.0), CP2: (-5.0, 5.0)}
"""Signals that can be what is said, percent of saturation."""

_LARGEST_DRIFT_PER_MIN = (1.0, 0.5)
_CP2_SHIFT = 8


class HamiltonDo(HamiltonSensor):
    """One oxygen sensor with its probe.

    Args:
        probe: what it measures with.
        device: its Modbus unit.
    """

    firmware = "ODOUM102"
    firmware_date = "2022-08-10"
    part_number = "242450/01"
    name = "VisiFerm DO"
    main_units = (UnitCode.PERCENT_SATURATION, UnitCode.MG_L)
    main_range = (0.0, 300.0)

    def __init__(self, probe: OxygenOptode, *, device: int = 1) -> None:
        super().__init__(device=device)
        self.probe = probe
        self.calibration = OxygenCalibration()
        self.readable[STABILITY] = Readable(4, lambda: floats(*_LARGEST_DRIFT_PER_MIN))
        for point in (CP1, CP2):
            self._lay_calibration_point(point)

    def _lay_calibration_point(self, point: str) -> None:
        low, high = _ALLOWED[point]
        self.readable |= {
            _LIMITS[point]: Readable(6, lambda: longs(UnitCode.PERCENT_SATURATION) + floats(max(0.0, low), high)),
            _STATUS[point]: Readable(6, lambda: self._point_status(point)),
        }
        self.writable[_VALUE[point]] = Writable(2, lambda words: self._calibrate(point, words), NOT_USER)

    @property
    def temperature_c(self) -> float:
        """In the probe."""
        return self.probe.temperature_c

    @property
    def quality_percent(self) -> float:
        """Falls with the signal in air as calibrated."""
        if self.probe.broken:
            return 0.0
        air = self.calibration.air_signal
        return 100.0 if air is None else max(0.0, min(100.0, air))

    @property
    def errors(self) -> tuple[int, int]:
        """Without its cap it has no quality; which error bit of the measurement that sets is not known."""
        return 0, SENSOR_FAILURE if self.quality_percent < LOWEST_QUALITY_PERCENT else 0

    def main_value(self, unit: UnitCode) -> float:
        """Percent of saturation, or mg/L at the probe's temperature."""
        percent = self.calibration.percent(self.probe.signal)
        if unit is UnitCode.MG_L:
            return percent / 100.0 * saturation_mg_l(self.temperature_c)
        return percent

    def main_limits(self, unit: UnitCode) -> tuple[float, float]:
        """0 to 300 %, or to 25 mg/L."""
        return (0.0, 25.0) if unit is UnitCode.MG_L else self.main_range

    def _calibrate(self, point: str, words: Sequence[int]) -> None:
        """Decide at once; a point that is not good changes nothing but the status."""
        asked = float_in(words)
        if not math.isfinite(asked) or abs(asked - _NOMINAL[point]) > 1.0:
            raise IllegalValue
        signal, immersion = self.probe.signal, self.probe.immersion
        verdict = Verdict(0)
        if not _ALLOWED[point][0] <= signal <= _ALLOWED[point][1]:
            verdict |= Verdict.NO_STANDARD
        if immersion.drift_per_min("do_percent") > _LARGEST_DRIFT_PER_MIN[0]:
            verdict |= Verdict.PH_NOT_STABLE
        if immersion.drift_per_min("temperature_c") > _LARGEST_DRIFT_PER_MIN[1]:
            verdict |= Verdict.TEMPERATURE_NOT_STABLE
        if not verdict and point == CP1:
            self.calibration = OxygenCalibration(signal, self.calibration.zero_signal)
        elif not verdict:
            self.calibration = OxygenCalibration(self.calibration.air_signal, signal)
        shift = 0 if point == CP1 else _CP2_SHIFT
        self.calibration_status = (self.calibration_status & ~(0xFF << shift)) | int(verdict) << shift

    def _point_status(self, point: str) -> Words:
        return longs(self.calibration_status, UnitCode.PERCENT_SATURATION) + floats(_NOMINAL[point])

    def to_json(self) -> dict[str, Any]:
        """With the calibration."""
        return super().to_json() | {"calibration": self.calibration.to_json()}

    def restore(self, saved: dict[str, Any]) -> None:
        """The inverse of `to_json`."""
        super().restore(saved)
        self.calibration = OxygenCalibration.from_json(saved.get("calibration"))
