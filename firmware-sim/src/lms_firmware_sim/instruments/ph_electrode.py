"""A glass electrode, new or worn, and the calibration that its transmitter keeps.

The electrode gives a voltage: `E = offset - slope · N(T) · (pH - 7)`, where N(T) = 2.303 R T / F is 59.16 mV per pH at
25 °C. A worn one has a slope below 100 % and an offset. The transmitter turns the voltage back into a pH with the
slope and offset that it was calibrated with; until then it believes in a perfect electrode, and shows what is wrong.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lms_firmware_sim.errors import StateError
from lms_firmware_sim.instruments.immersion import Immersion, Quantity, number
from lms_firmware_sim.process import noise

ROOM_C = 25.0
"""Temperature of buffers and of air on the bench."""

AGES: Mapping[str, tuple[float, float]] = {
    "slope_percent": (10.0, 110.0),
    "offset_mv": (-100.0, 100.0),
    "broken": (0.0, 1.0),
}
"""What can be said of an electrode's age, and between what."""

_RESPONSE_S, _TEMPERATURE_RESPONSE_S = 8.0, 20.0
_NOISE_MV = 0.1
_GAS_CONSTANT, _FARADAY = 8.314462618, 96_485.33212


def nernst_mv_per_ph(temperature_c: float) -> float:
    """The slope of a perfect electrode: 59.16 mV per pH at 25 °C (Nernst)."""
    return 1000.0 * math.log(10.0) * _GAS_CONSTANT * (temperature_c + 273.15) / _FARADAY


class PhElectrode:
    """A pH electrode with a thermometer in it.

    Args:
        ph, temperature_c: give the vessel's present values.
        slope_percent: of the Nernst slope; a new electrode has about 100.
        offset_mv: voltage at pH 7; a new electrode has about 0.
        clock: seconds since 1970 UTC.
        seed: of the noise.

    Attributes:
        broken: 1 when the glass is cracked: both sides have one potential then, whatever the pH.
    """

    def __init__(
        self,
        ph: Callable[[], float],
        temperature_c: Callable[[], float],
        *,
        slope_percent: float = 100.0,
        offset_mv: float = 0.0,
        clock: Callable[[], float],
        seed: int = 0,
    ) -> None:
        self.slope_percent = slope_percent
        self.offset_mv = offset_mv
        self.broken = 0.0
        self._clock = clock
        self._key = noise.key(seed, "electrode")
        self.immersion = Immersion(
            {"ph": Quantity(ph, _RESPONSE_S), "temperature_c": Quantity(temperature_c, _TEMPERATURE_RESPONSE_S)},
            _buffer,
            allowed="or a buffer's pH from 0 to 14 such as 4.01",
            clock=clock,
        )

    @property
    def temperature_c(self) -> float:
        """What the thermometer in the electrode shows."""
        return self.immersion.value("temperature_c")

    @property
    def potential_mv(self) -> float:
        """The voltage that the electrode gives, with its noise, drawn anew every second."""
        if self.broken:
            return _NOISE_MV * noise.gaussian(self._key, int(self._clock()))
        nernst = nernst_mv_per_ph(self.temperature_c)
        ideal = self.offset_mv - self.slope_percent / 100.0 * nernst * (self.immersion.value("ph") - 7.0)
        return ideal + _NOISE_MV * noise.gaussian(self._key, int(self._clock()))


def _buffer(place: str) -> dict[str, float] | None:
    ph = number(place, 0.0, 14.0)
    return None if ph is None else {"ph": ph, "temperature_c": ROOM_C}


@dataclass(frozen=True, slots=True)
class PhPoint:
    """One calibrated point: the buffer's pH, and what the electrode gave in it."""

    ph: float
    potential_mv: float
    temperature_c: float


@dataclass(frozen=True, slots=True)
class PhCalibration:
    """What a transmitter believes of its electrode: an offset, and a slope on either side of pH 7.

    Attributes:
        offset_mv: voltage at pH 7.
        acid_percent, base_percent: slope below and above pH 7, of Nernst's.
    """

    offset_mv: float = 0.0
    acid_percent: float = 100.0
    base_percent: float = 100.0

    def ph(self, potential_mv: float, temperature_c: float) -> float:
        """The pH that a voltage means."""
        rest_mv = self.offset_mv - potential_mv
        percent = self.base_percent if rest_mv > 0.0 else self.acid_percent
        return 7.0 + rest_mv / (percent / 100.0 * nernst_mv_per_ph(temperature_c))

    @classmethod
    def through(cls, points: list[PhPoint]) -> "PhCalibration":
        """The calibration that goes through one, two or three points.

        One point sets the offset and believes in a slope of 100 %. Two set both. With three, the middle one sets the
        offset and each other one the slope on its side.
        """
        ordered = sorted(points, key=lambda point: point.ph)
        if not ordered:
            return cls()
        if len(ordered) == 1:
            only = ordered[0]
            return cls(only.potential_mv + nernst_mv_per_ph(only.temperature_c) * (only.ph - 7.0))
        acid = _percent(ordered[0], ordered[1])
        base = _percent(ordered[-2], ordered[-1])
        middle = ordered[1] if len(ordered) > 2 else min(ordered, key=lambda point: abs(point.ph - 7.0))
        side = base if middle.ph > 7.0 else acid
        nernst = side / 100.0 * nernst_mv_per_ph(middle.temperature_c)
        return cls(middle.potential_mv + nernst * (middle.ph - 7.0), acid, base)

    def to_json(self) -> list[float]:
        """As JSON would hold it."""
        return [self.offset_mv, self.acid_percent, self.base_percent]


def _percent(one: PhPoint, other: PhPoint) -> float:
    """The slope between two points, of Nernst's at their mean temperature."""
    nernst = nernst_mv_per_ph((one.temperature_c + other.temperature_c) / 2.0)
    return 100.0 * (one.potential_mv - other.potential_mv) / ((other.ph - one.ph) * nernst)


def points_to_json(points: dict[str, PhPoint]) -> dict[str, list[float]]:
    """Calibrated points by name, as JSON would hold them."""
    return {name: [point.ph, point.potential_mv, point.temperature_c] for name, point in points.items()}


def points_from_json(saved: Any) -> dict[str, PhPoint]:
    """The inverse of `points_to_json`.

    Raises:
        StateError: it is not what that gives.
    """
    try:
        return {str(name): PhPoint(*map(float, point)) for name, point in saved.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise StateError(f"a calibration: {error!r}") from error
