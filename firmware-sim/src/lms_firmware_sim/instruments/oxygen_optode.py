"""An oxygen probe, new or worn, and the calibration that its transmitter keeps.

The probe gives a signal that grows with the partial pressure of oxygen: `signal = zero + gain · DO`, both in percent of
air saturation. A new probe has a gain of 1 and a zero of 0. The transmitter takes zero and gain off again, once it
was calibrated in air (or air-saturated water) and in an oxygen-free solution.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lms_firmware_sim.errors import StateError
from lms_firmware_sim.instruments.immersion import Immersion, Quantity, number
from lms_firmware_sim.instruments.ph_electrode import ROOM_C
from lms_firmware_sim.process import noise

AIR, ZERO = "air", "zero"
AGES: Mapping[str, tuple[float, float]] = {"gain": (0.1, 2.0), "zero_percent": (-10.0, 10.0), "broken": (0.0, 1.0)}
"""What can be said of a probe's age, and between what."""

_RESPONSE_S, _TEMPERATURE_RESPONSE_S = 12.0, 20.0
_NOISE_PERCENT = 0.05


def saturation_mg_l(temperature_c: float) -> float:
    """Oxygen in water that stands in equilibrium with air at 1.013 bar, mg/L.

    Source: the cubic of Weiss' data that APHA, Standard Methods 4500-O, tabulates; within 0.1 mg/L from 0 to 40 °C.
    """
    t = temperature_c
    return 14.652 - 0.41022 * t + 0.007991 * t**2 - 0.000077774 * t**3


class OxygenOptode:
    """An oxygen probe with a thermometer in it.

    Args:
        do_percent, temperature_c: give the vessel's present values.
        gain: signal per percent of air saturation; 1 when new.
        zero_percent: signal without oxygen; 0 when new.
        clock: seconds since 1970 UTC.
        seed: of the noise.

    Attributes:
        broken: 1 when the cap is gone: no signal then, whatever the oxygen.
    """

    def __init__(
        self,
        do_percent: Callable[[], float],
        temperature_c: Callable[[], float],
        *,
        gain: float = 1.0,
        zero_percent: float = 0.0,
        clock: Callable[[], float],
        seed: int = 0,
    ) -> None:
        self.gain = gain
        self.zero_percent = zero_percent
        self.broken = 0.0
        self._clock = clock
        self._key = noise.key(seed, "optode")
        self.immersion = Immersion(
            {
                "do_percent": Quantity(do_percent, _RESPONSE_S),
                "temperature_c": Quantity(temperature_c, _TEMPERATURE_RESPONSE_S),
            },
            _elsewhere,
            allowed="air, zero, or a saturation from 0 to 300 such as 50",
            clock=clock,
        )

    @property
    def temperature_c(self) -> float:
        """What the thermometer in the probe shows."""
        return self.immersion.value("temperature_c")

    @property
    def signal(self) -> float:
        """The signal before calibration, percent of air saturation, with its noise, drawn anew every second."""
        if self.broken:
            return 0.0
        ideal = self.zero_percent + self.gain * self.immersion.value("do_percent")
        return ideal + _NOISE_PERCENT * noise.gaussian(self._key, int(self._clock()))


def _elsewhere(place: str) -> dict[str, float] | None:
    percent = {AIR: 100.0, ZERO: 0.0}.get(place, number(place, 0.0, 300.0))
    return None if percent is None else {"do_percent": percent, "temperature_c": ROOM_C}


@dataclass(frozen=True, slots=True)
class OxygenCalibration:
    """What a transmitter believes of its probe.

    Attributes:
        air_signal: signal in air, percent; None: never calibrated there.
        zero_signal: signal without oxygen, percent; None: never calibrated there.
    """

    air_signal: float | None = None
    zero_signal: float | None = None

    @property
    def points(self) -> int:
        """How many points it has: 0, 1 or 2."""
        return (self.air_signal is not None) + (self.zero_signal is not None)

    def percent(self, signal: float) -> float:
        """The saturation that a signal means; never below 0, as instruments show it."""
        zero = self.zero_signal or 0.0
        air = 100.0 if self.air_signal is None else self.air_signal
        return max(0.0, 100.0 * (signal - zero) / (air - zero))

    def to_json(self) -> list[float | None]:
        """As JSON would hold it."""
        return [self.air_signal, self.zero_signal]

    @classmethod
    def from_json(cls, saved: Any) -> "OxygenCalibration":
        """The inverse of `to_json`.

        Raises:
            StateError: it is not what that gives.
        """
        try:
            air, zero = (None if each is None else float(each) for each in saved)
        except (TypeError, ValueError) as error:
            raise StateError(f"a calibration: {error!r}") from error
        return cls(air, zero)
