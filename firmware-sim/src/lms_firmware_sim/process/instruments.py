"""Instruments as a layer on the truth: lag, drift, noise, resolution, range.

Only the lag is remembered. Drift and noise are functions of the seed, the tag and the second, so that the value at
a time is the same however often, and by whom, it is read: history and live readings are one.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lms_firmware_sim.process import noise

_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Instrument:
    """One instrument model.

    Attributes:
        tag: what it measures.
        unit: of its values.
        low, high: its range; it shows nothing beyond.
        lag_s: time constant of its first-order response.
        drift_per_day: largest drift; the seed draws one within ±.
        noise: standard deviation.
        resolution: smallest step that it shows.
        decimals: digits after the point that it shows.
    """

    tag: str
    unit: str
    low: float
    high: float
    lag_s: float
    drift_per_day: float
    noise: float
    resolution: float
    decimals: int


INSTRUMENTS: tuple[Instrument, ...] = (
    Instrument("pH/PV", "pH", 0.0, 14.0, 8.0, 0.01, 0.003, 0.001, 2),
    Instrument("DO/PV", "%", 0.0, 300.0, 15.0, 0.3, 0.15, 0.01, 1),
    Instrument("Temperature/PV", "°C", -10.0, 130.0, 6.0, 0.005, 0.01, 0.01, 1),
    Instrument("pH/Temperature", "°C", -10.0, 130.0, 20.0, 0.01, 0.02, 0.01, 1),
    Instrument("DO/Temperature", "°C", -10.0, 130.0, 20.0, 0.01, 0.02, 0.01, 1),
    Instrument("Agitation/PV", "rpm", 0.0, 2000.0, 1.0, 0.0, 0.8, 0.1, 0),
    Instrument("AirFlow/PV", "L/min", 0.0, 100.0, 1.0, 0.0, 0.004, 0.001, 2),
    Instrument("Pressure/PV", "bar", 0.0, 3.0, 1.0, 0.0005, 0.0008, 0.0001, 3),
    Instrument("OffGasO2/PV", "%", 0.0, 50.0, 25.0, 0.01, 0.006, 0.001, 2),
    Instrument("OffGasCO2/PV", "%", 0.0, 25.0, 25.0, 0.01, 0.004, 0.001, 2),
    Instrument("Weight/PV", "kg", 0.0, 200.0, 2.0, 0.0, 0.0006, 0.0001, 3),
    Instrument("BasePumped/PV", "mL", 0.0, 1e6, 0.0, 0.0, 0.0, 0.01, 1),
)
"""What a bioreactor's instruments measure.

Sources for pH and DO: typical data sheets of 12 mm pH probes (response some seconds, drift below 0.01 pH a day) and
optical DO probes (t98 below 30 s at 25 °C); Pressure/PV is absolute.
"""

BY_TAG: dict[str, Instrument] = {instrument.tag: instrument for instrument in INSTRUMENTS}


class Panel:
    """The instruments of one bioreactor.

    Args:
        seed: of drift and noise.
        truth: true values by tag, at the beginning.

    Attributes:
        lagged: values by tag after the lag, before drift and noise.
    """

    def __init__(self, seed: int, truth: Mapping[str, float]) -> None:
        self.lagged = {instrument.tag: truth[instrument.tag] for instrument in INSTRUMENTS}
        self._keys = {instrument.tag: noise.key(seed, instrument.tag) for instrument in INSTRUMENTS}
        self._drifts = {
            instrument.tag: instrument.drift_per_day * (2.0 * noise.uniform(self._keys[instrument.tag], -1) - 1.0)
            for instrument in INSTRUMENTS
        }

    def follow(self, truth: Mapping[str, float], dt: float) -> None:
        """Let the lags follow the truth by one step."""
        lagged = self.lagged
        for tag, lag_s in _LAGS:
            lagged[tag] += (truth[tag] - lagged[tag]) * dt / (lag_s + dt)

    def measured(self, tag: str, age_s: float) -> float:
        """The value with lag and drift, but without noise: what a controller's filter sees.

        Args:
            tag: the instrument's.
            age_s: since the instruments were calibrated, at the run's beginning.
        """
        return self.lagged[tag] + self._drifts[tag] * age_s / _DAY_S

    def reading(self, tag: str, second: int) -> float:
        """The value that the instrument shows, given the seconds since it was calibrated."""
        instrument = BY_TAG[tag]
        value = self.measured(tag, second)
        if instrument.noise > 0.0:
            value += instrument.noise * noise.gaussian(self._keys[tag], second)
        value = min(instrument.high, max(instrument.low, value))
        return round(round(value / instrument.resolution) * instrument.resolution, 6)


_LAGS = [(instrument.tag, instrument.lag_s) for instrument in INSTRUMENTS]
