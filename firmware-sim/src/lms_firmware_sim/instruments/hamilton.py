"""What Hamilton Arc sensors have in common: measurement channels, identity, interface, warnings, errors, quality.

PMC1 is the main value, PMC6 the temperature: ten registers each, unit, value, status, smallest and largest value. The
status is 0 when all is well. A unit can be changed, and the value then comes in it: whoever reads must look.
Source: Hamilton, pH ARC Sensors Modbus RTU Programmer's Manual (EPHUM011), 624300/01, pp. 7-24, 57-65.
"""

from abc import abstractmethod
from collections.abc import Sequence
from enum import IntEnum, IntFlag
from typing import Any

from lms_firmware_sim.errors import StateError
from lms_firmware_sim.instruments.hamilton_blocks import (
    NOT_USER,
    ONLY_SPECIALIST,
    BlockRegisters,
    Readable,
    Words,
    Writable,
    floats,
    long_in,
    longs,
    text,
)
from lms_firmware_sim.wires.registers import IllegalValue

PMC1_UNITS, PMC1, PMC6_UNITS, PMC6 = 2088, 2090, 2408, 2410
DEVICE_ADDRESS, BAUD_CODE = 4096, 4102
WARNINGS, ERRORS, QUALITY = 4736, 4800, 4872
FIRMWARE_DATE, FIRMWARE, PART_NUMBER, SENSOR_NAME, SERIAL_NUMBER = 1024, 1032, 1280, 1288, 1296
_BLOCK, _TEXT = 10, 8
_BAUD_19200 = 4


class UnitCode(IntEnum):
    """Physical units, as the unit registers hold them (p. 19)."""

    KELVIN = 0x2
    CELSIUS = 0x4
    FAHRENHEIT = 0x8
    PERCENT_SATURATION = 0x20
    MG_L = 0x80
    PH = 0x1000
    MILLIVOLT = 0x200000


class Status(IntFlag):
    """Bits of the measurement status (p. 23)."""

    TEMPERATURE_NOT_MEASURABLE = 0x01
    TEMPERATURE_NOT_ALLOWED = 0x02
    CALIBRATION = 0x04
    WARNING = 0x08
    ERROR = 0x10


class CalibrationWarning(IntFlag):
    """Bits of the warning `calibration` (p. 59)."""

    RECOMMENDED = 0x1
    NOT_SUCCESSFUL = 0x2


SENSOR_FAILURE = 0x2
"""Bit of the error `calibration`: the quality is below 15 % (p. 61)."""

LOWEST_QUALITY_PERCENT = 15.0
_TEMPERATURE_RANGE_C = (-20.0, 130.0)
_OPERATING_RANGE_C = (-10.0, 140.0)


class HamiltonSensor(BlockRegisters):
    """One sensor: registers on the outside, a probe on the inside.

    Args:
        device: its Modbus unit, as it says itself.
    """

    firmware = ""
    firmware_date = "2015-09-04"
    part_number = ""
    name = ""
    serial_number = "10815"
    main_units: tuple[UnitCode, ...] = ()
    main_range: tuple[float, float] = (0.0, 0.0)

    def __init__(self, *, device: int = 1) -> None:
        super().__init__()
        self.main_unit = self.main_units[0]
        self.temperature_unit = UnitCode.CELSIUS
        self.calibration_status = 0
        self._measured: dict[UnitCode, float] = {}
        self._device = device
        self.readable |= {
            PMC1_UNITS: Readable(2, lambda: longs(_sum(self.main_units))),
            PMC1: Readable(_BLOCK, self._main_channel),
            PMC6_UNITS: Readable(2, lambda: longs(_sum(_TEMPERATURE_UNITS))),
            PMC6: Readable(_BLOCK, self._temperature_channel),
            DEVICE_ADDRESS: Readable(2, lambda: longs(self._device)),
            BAUD_CODE: Readable(2, lambda: longs(_BAUD_19200)),
            WARNINGS: Readable(8, lambda: longs(0, self._calibration_warning, 0, 0)),
            ERRORS: Readable(8, lambda: longs(*self.errors, 0, 0)),
            QUALITY: Readable(2, lambda: floats(self.quality_percent)),
            FIRMWARE_DATE: Readable(_TEXT, lambda: text(self.firmware_date, _TEXT)),
            FIRMWARE: Readable(_TEXT, lambda: text(self.firmware, _TEXT)),
            PART_NUMBER: Readable(_TEXT, lambda: text(self.part_number, _TEXT)),
            SENSOR_NAME: Readable(_TEXT, lambda: text(self.name, _TEXT)),
            SERIAL_NUMBER: Readable(_TEXT, lambda: text(self.serial_number, _TEXT)),
        }
        self.writable |= {
            PMC1: Writable(2, self._choose_main_unit, NOT_USER),
            PMC6: Writable(2, self._choose_temperature_unit, NOT_USER),
            DEVICE_ADDRESS: Writable(2, self._keep_own(self._device), ONLY_SPECIALIST),
            BAUD_CODE: Writable(2, self._keep_own(_BAUD_19200), ONLY_SPECIALIST),
        }

    @property
    @abstractmethod
    def temperature_c(self) -> float:
        """What the sensor's thermometer shows."""

    @property
    @abstractmethod
    def quality_percent(self) -> float:
        """The sensor's quality: 100 when new."""

    @property
    @abstractmethod
    def errors(self) -> tuple[int, int]:
        """Bits of the errors `measurement` and `calibration`; 0 when all is well."""

    @abstractmethod
    def main_value(self, unit: UnitCode) -> float:
        """The main value in one of its units."""

    def main_limits(self, unit: UnitCode) -> tuple[float, float]:
        """Smallest and largest main value in one of its units."""
        return self.main_range

    def _main_channel(self) -> Words:
        low, high = self.main_limits(self.main_unit)
        value = min(high, max(low, self.main_value(self.main_unit)))
        if _within(self.temperature_c, _TEMPERATURE_RANGE_C):
            self._measured[self.main_unit] = value
        else:  # it stops measuring, and repeats the last value (p. 57)
            value = self._measured.get(self.main_unit, value)
        return longs(self.main_unit) + floats(value) + longs(self.status) + floats(low, high)

    def _temperature_channel(self) -> Words:
        low, high = (_converted(limit, self.temperature_unit) for limit in _TEMPERATURE_RANGE_C)
        value = _converted(self.temperature_c, self.temperature_unit)
        return longs(self.temperature_unit) + floats(value) + longs(self.status) + floats(low, high)

    @property
    def status(self) -> Status:
        """The measurement status; 0 when all is well."""
        status = Status(0)
        if not _within(self.temperature_c, _TEMPERATURE_RANGE_C):
            status |= Status.TEMPERATURE_NOT_MEASURABLE
        if not _within(self.temperature_c, _OPERATING_RANGE_C):
            status |= Status.TEMPERATURE_NOT_ALLOWED
        if self.calibration_status:
            status |= Status.CALIBRATION
        if self._calibration_warning:
            status |= Status.WARNING
        if any(self.errors):
            status |= Status.ERROR
        return status

    @property
    def _calibration_warning(self) -> CalibrationWarning:
        return CalibrationWarning.NOT_SUCCESSFUL if self.calibration_status else CalibrationWarning(0)

    def _choose_main_unit(self, words: Sequence[int]) -> None:
        self.main_unit = _chosen(words, self.main_units)

    def _choose_temperature_unit(self, words: Sequence[int]) -> None:
        self.temperature_unit = _chosen(words, _TEMPERATURE_UNITS)

    @staticmethod
    def _keep_own(present: int) -> Any:
        """Address and baud rate belong to the wire here: only what holds already can be written."""

        def take(words: Sequence[int]) -> None:
            if long_in(words) != present:
                raise IllegalValue

        return take

    def to_json(self) -> dict[str, Any]:
        """What it keeps without power: all but the operator level."""
        return {
            "unit": int(self.main_unit),
            "temperature_unit": int(self.temperature_unit),
            "status": int(self.calibration_status),
            "writes": self.writes,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """The inverse of `to_json`.

        Raises:
            StateError: it is not what that gives.
        """
        try:
            self.main_unit, self.temperature_unit = UnitCode(saved["unit"]), UnitCode(saved["temperature_unit"])
            self.calibration_status, self.writes = int(saved["status"]), int(saved["writes"])
        except (KeyError, TypeError, ValueError) as error:
            raise StateError(f"a Hamilton sensor: {error!r}") from error


_TEMPERATURE_UNITS = (UnitCode.CELSIUS, UnitCode.KELVIN, UnitCode.FAHRENHEIT)


def _chosen(words: Sequence[int], allowed: Sequence[UnitCode]) -> UnitCode:
    code = long_in(words)
    if code not in allowed:
        raise IllegalValue
    return UnitCode(code)


def _sum(units: Sequence[UnitCode]) -> int:
    return sum(units)


def _converted(celsius: float, unit: UnitCode) -> float:
    if unit is UnitCode.KELVIN:
        return celsius + 273.15
    return 32.0 + 1.8 * celsius if unit is UnitCode.FAHRENHEIT else celsius


def _within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]
