"""A Hamilton Arc pH sensor: pH and temperature in one electrode, calibrated over its own registers.

`CP1` and `CP2` are buffers: the pH of one, or 0 for the sensor to find it among its standards, is written to 5162 or
5194 (Administrator or Specialist). The sensor looks back at the last minutes and decides at once; what was wrong
stands in 5158 and 5190, and the old calibration then holds. `CP6` is a sample from the vessel: command 1 to 5340
remembers the value, the laboratory's pH to 5322 corrects it.
Source: Hamilton, pH ARC Sensors Modbus RTU Programmer's Manual (EPHUM011), 624300/01, pp. 32-50. The limits of slope
and offset, and how far a voltage may lie from a standard's, are not in the manual; they are common practice.
"""

import math
from collections.abc import Sequence
from enum import IntFlag
from typing import Any

from lms_firmware_sim.errors import StateError
from lms_firmware_sim.instruments.hamilton import (
    LOWEST_QUALITY_PERCENT,
    SENSOR_FAILURE,
    HamiltonSensor,
    UnitCode,
)
from lms_firmware_sim.instruments.hamilton_blocks import (
    NOT_USER,
    Readable,
    Words,
    Writable,
    float_in,
    floats,
    long_in,
    longs,
)
from lms_firmware_sim.instruments.ph_electrode import (
    PhCalibration,
    PhElectrode,
    PhPoint,
    nernst_mv_per_ph,
    points_from_json,
    points_to_json,
)
from lms_firmware_sim.wires.registers import IllegalValue

STANDARDS: tuple[float, ...] = (1.09, 1.68, 2.0, 3.06, 4.01, 5.0, 6.0, 7.0, 8.0, 9.21, 10.01, 11.0, 12.0)
"""The maker's buffers, pH at 25 °C."""

RECOGNIZED: tuple[float, ...] = (4.01, 7.0, 9.21, 10.01)
"""Those that it finds by itself."""

CP1, CP2, CP6 = "CP1", "CP2", "CP6"
STABILITY = 5128
_LIMITS = {CP1: 5152, CP2: 5184, CP6: 5312}
_STATUS = {CP1: 5158, CP2: 5190, CP6: 5318}
_VALUE = {CP1: 5162, CP2: 5194, CP6: 5322}
_CONDITIONS = {CP1: 5164, CP2: 5196}
_OFFSET_AND_SLOPE = 5448
_VOLTAGE = {CP1: 5520, CP2: 5528}
_CP6_COMMAND = 5340

_FACTORY = {CP1: PhPoint(4.01, 2.99 * nernst_mv_per_ph(25.0), 25.0), CP2: PhPoint(7.0, 0.0, 25.0)}
_STANDARD_TOLERANCE_PH = 0.05
_VOLTAGE_TOLERANCE_MV = 50.0
_SLOPE_PERCENT, _OFFSET_MV, _TEMPERATURE_C = (80.0, 103.0), (-60.0, 60.0), (5.0, 50.0)


class Verdict(IntFlag):
    """What was wrong with a calibration: the bits of CP1; those of CP2 lie eight higher (p. 44)."""

    POINTS_TOO_CLOSE = 0x01
    NO_STANDARD = 0x02
    TOO_COLD = 0x04
    TOO_HOT = 0x08
    TEMPERATURE_NOT_STABLE = 0x10
    TOO_LOW = 0x20
    TOO_HIGH = 0x40
    PH_NOT_STABLE = 0x80


_GLASS_RESISTANCE_TOO_LOW = 0x40
_CP2_SHIFT = 8
_WRONG_UNIT = {CP1: 0x80000000, CP2: 0x40000000}
_CP6_ACTIVE, _CP6_MEASURED, _CP6_ASSIGNED = 0x04000000, 0x08000000, 0x10000000


class HamiltonPh(HamiltonSensor):
    """One pH sensor with its electrode.

    Args:
        electrode: what it measures with.
        device: its Modbus unit.
    """

    firmware = "EPHUM031"
    part_number = "242111/01"
    name = "EasyFerm Plus"
    main_units = (UnitCode.PH, UnitCode.MILLIVOLT)
    main_range = (0.0, 14.0)

    def __init__(self, electrode: PhElectrode, *, device: int = 1) -> None:
        super().__init__(device=device)
        self.electrode = electrode
        self.points: dict[str, PhPoint] = dict(_FACTORY)
        self.counts = {CP1: 0, CP2: 0}
        self.largest_drift = (0.1, 0.5)
        self.sample_ph: float | None = None
        self.product_shift_ph: float | None = None
        self.readable |= {
            STABILITY: Readable(4, lambda: floats(*self.largest_drift)),
            _OFFSET_AND_SLOPE: Readable(6, self._offset_and_slope, NOT_USER),
            _LIMITS[CP6]: Readable(6, lambda: longs(UnitCode.PH) + floats(*self.main_range)),
            _STATUS[CP6]: Readable(6, lambda: longs(self._product_status) + longs(UnitCode.PH) + floats(0.0)),
            _CP6_COMMAND: Readable(2, lambda: longs(0), NOT_USER),
        }
        self.writable |= {
            STABILITY: Writable(4, self._take_stability),
            _VALUE[CP6]: Writable(2, self._assign),
            _CP6_COMMAND: Writable(2, self._command),
        }
        for point in (CP1, CP2):
            self._lay_calibration_point(point)

    def _lay_calibration_point(self, point: str) -> None:
        self.readable |= {
            _LIMITS[point]: Readable(6, lambda: longs(UnitCode.PH) + floats(0.0, 0.0)),
            _STATUS[point]: Readable(6, lambda: self._point_status(point)),
            _CONDITIONS[point]: Readable(8, lambda: self._conditions(point)),
            _VOLTAGE[point]: Readable(8, lambda: self._voltage(point), NOT_USER),
        }
        self.writable[_VALUE[point]] = Writable(2, lambda words: self._calibrate(point, float_in(words)))

    @property
    def calibration(self) -> PhCalibration:
        """What the sensor believes of its electrode."""
        return PhCalibration.through(list(self.points.values()))

    @property
    def temperature_c(self) -> float:
        """In the electrode."""
        return self.electrode.temperature_c

    @property
    def quality_percent(self) -> float:
        """Falls with slope and offset as calibrated."""
        if self.electrode.broken:
            return 0.0
        found = self.calibration
        lost = 2.5 * max(0.0, 100.0 - found.acid_percent) + abs(found.offset_mv)
        return max(0.0, 100.0 - lost)

    @property
    def errors(self) -> tuple[int, int]:
        """A cracked glass has too little resistance."""
        measurement = _GLASS_RESISTANCE_TOO_LOW if self.electrode.broken else 0
        return measurement, SENSOR_FAILURE if self.quality_percent < LOWEST_QUALITY_PERCENT else 0

    def main_value(self, unit: UnitCode) -> float:
        """pH, or the electrode's voltage in mV."""
        if unit is UnitCode.MILLIVOLT:
            return self.electrode.potential_mv
        return self._standard_ph() + (self.product_shift_ph or 0.0)

    def main_limits(self, unit: UnitCode) -> tuple[float, float]:
        """0 to 14, or ±500 mV."""
        return (-500.0, 500.0) if unit is UnitCode.MILLIVOLT else self.main_range

    def _standard_ph(self) -> float:
        return self.calibration.ph(self.electrode.potential_mv, self.temperature_c)

    def _calibrate(self, point: str, asked_ph: float) -> None:
        """Decide at once; a point that is not good changes nothing but the status."""
        if not math.isfinite(asked_ph) or not 0.0 <= asked_ph <= 14.0:
            raise IllegalValue
        shift = 0 if point == CP1 else _CP2_SHIFT
        own_bits = 0xFF << shift | _WRONG_UNIT[point]
        if self.main_unit is not UnitCode.PH:
            self.calibration_status = (self.calibration_status & ~own_bits) | _WRONG_UNIT[point]
            return
        measured_mv, at_c = self.electrode.potential_mv, self.temperature_c
        standard = self._standard(asked_ph, measured_mv, at_c)
        verdict = self._conditions_verdict()
        if standard is None:
            verdict |= Verdict.NO_STANDARD
        else:
            fresh = self.points | {point: PhPoint(standard, measured_mv, at_c)}
            verdict |= _points_verdict(fresh)
            if not verdict:
                self.points = fresh
                self.counts[point] += 1
                self.product_shift_ph = self.sample_ph = None
        self.calibration_status = (self.calibration_status & ~own_bits) | int(verdict) << shift

    def _standard(self, asked_ph: float, measured_mv: float, at_c: float) -> float | None:
        """The standard that is meant, if the voltage fits it."""
        if asked_ph == 0.0:
            near = RECOGNIZED
        else:
            near = tuple(each for each in STANDARDS if abs(each - asked_ph) <= _STANDARD_TOLERANCE_PH)
        fitting = [each for each in near if abs(_ideal_mv(each, at_c) - measured_mv) <= _VOLTAGE_TOLERANCE_MV]
        return min(fitting, key=lambda each: abs(_ideal_mv(each, at_c) - measured_mv), default=None)

    def _conditions_verdict(self) -> Verdict:
        verdict = Verdict(0)
        immersion = self.electrode.immersion
        if self.temperature_c < _TEMPERATURE_C[0]:
            verdict |= Verdict.TOO_COLD
        if self.temperature_c > _TEMPERATURE_C[1]:
            verdict |= Verdict.TOO_HOT
        if immersion.drift_per_min("ph") > self.largest_drift[0]:
            verdict |= Verdict.PH_NOT_STABLE
        if immersion.drift_per_min("temperature_c") > self.largest_drift[1]:
            verdict |= Verdict.TEMPERATURE_NOT_STABLE
        return verdict

    def _take_stability(self, words: Sequence[int]) -> None:
        drifts = (float_in(words[:2]), float_in(words[2:]))
        if not all(math.isfinite(drift) and drift > 0.0 for drift in drifts):
            raise IllegalValue
        self.largest_drift = drifts

    def _point_status(self, point: str) -> Words:
        return longs(self.calibration_status, UnitCode.PH) + floats(self.points[point].ph)

    def _conditions(self, point: str) -> Words:
        at_c = self.points[point].temperature_c
        return longs(UnitCode.CELSIUS) + floats(at_c) + longs(self.counts[point]) + floats(0.0)

    def _voltage(self, point: str) -> Words:
        found = self.points[point]
        return floats(found.ph, found.potential_mv, found.temperature_c + 273.15, 0.0)

    def _offset_and_slope(self) -> Words:
        found = self.calibration
        slope = found.acid_percent / 100.0 * nernst_mv_per_ph(25.0)
        return floats(found.offset_mv, -slope, 298.15)

    @property
    def _product_status(self) -> int:
        if self.product_shift_ph is not None:
            return _CP6_ACTIVE | _CP6_ASSIGNED
        return _CP6_MEASURED if self.sample_ph is not None else 0

    def _command(self, words: Sequence[int]) -> None:
        match long_in(words):
            case 1:
                self.sample_ph, self.product_shift_ph = self._standard_ph(), None
            case 2:
                self.sample_ph = self.product_shift_ph = None
            case _:
                raise IllegalValue

    def _assign(self, words: Sequence[int]) -> None:
        ph = float_in(words)
        if self.sample_ph is None or not math.isfinite(ph) or not 0.0 <= ph <= 14.0:
            raise IllegalValue
        self.product_shift_ph = ph - self.sample_ph

    def to_json(self) -> dict[str, Any]:
        """With the calibration."""
        return super().to_json() | {
            "points": points_to_json(self.points),
            "counts": dict(self.counts),
            "product_shift_ph": self.product_shift_ph,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """The inverse of `to_json`."""
        super().restore(saved)
        points = points_from_json(saved.get("points"))
        if set(points) != {CP1, CP2}:
            raise StateError("a Hamilton sensor: it has other calibration points")
        self.points = points
        try:
            self.counts = {point: int(saved["counts"][point]) for point in (CP1, CP2)}
            shift = saved["product_shift_ph"]
            self.product_shift_ph = None if shift is None else float(shift)
        except (KeyError, TypeError, ValueError) as error:
            raise StateError(f"a Hamilton sensor: {error!r}") from error


def _ideal_mv(ph: float, temperature_c: float) -> float:
    return -nernst_mv_per_ph(temperature_c) * (ph - 7.0)


def _points_verdict(points: dict[str, PhPoint]) -> Verdict:
    """Whether two points make a calibration."""
    if abs(points[CP1].ph - points[CP2].ph) < 1.0:
        return Verdict.POINTS_TOO_CLOSE
    found = PhCalibration.through(list(points.values()))
    if found.acid_percent < _SLOPE_PERCENT[0] or found.offset_mv < _OFFSET_MV[0]:
        return Verdict.TOO_LOW
    if found.acid_percent > _SLOPE_PERCENT[1] or found.offset_mv > _OFFSET_MV[1]:
        return Verdict.TOO_HIGH
    return Verdict(0)
