"""When a reading counts as stable: over a whole window it drifts no faster than allowed.

The drift is the slope of the straight line that fits the window best (least squares), so that noise is none.

Pure; neighbours: `lms_protocol.instruments.calibration` says window and drift, `session.py` feeds readings in.
"""

from collections import deque
from statistics import fmean
from typing import NamedTuple

LEAST_READINGS = 4
"""Fewer say nothing of a drift."""


class Held(NamedTuple):
    """What the window holds.

    Attributes:
        mean: of its readings, in their unit.
        drift_per_min: how fast they move, in their unit a minute.
        readings: how many there are.
        seconds: how long it is by now.
    """

    mean: float
    drift_per_min: float
    readings: int
    seconds: float


class Stability:
    """Watches one reading settle.

    Args:
        window_s: how long it must be steady.
        drift_per_min: how fast it may drift, in its unit a minute.
    """

    def __init__(self, window_s: float, drift_per_min: float) -> None:
        self._window_ms = 1000 * window_s
        self._drift_per_min = drift_per_min
        self._readings: deque[tuple[int, float]] = deque()

    def take(self, taken_at_ms: int, value: float) -> None:
        """A reading; one that was taken before the last is none that is new."""
        if self._readings and taken_at_ms <= self._readings[-1][0]:
            return
        self._readings.append((taken_at_ms, value))
        while len(self._readings) > LEAST_READINGS and taken_at_ms - self._readings[1][0] >= self._window_ms:
            self._readings.popleft()

    def forget(self) -> None:
        """The probe was moved, or could not be read: begin anew."""
        self._readings.clear()

    @property
    def held(self) -> Held | None:
        """What the window holds; None if there is nothing in it."""
        if not self._readings:
            return None
        first_ms, last_ms = self._readings[0][0], self._readings[-1][0]
        values = [value for _, value in self._readings]
        return Held(fmean(values), self._drift(first_ms), len(values), (last_ms - first_ms) / 1000)

    @property
    def is_stable(self) -> bool:
        """Whether the window is full and steady."""
        held = self.held
        return (
            held is not None
            and held.readings >= LEAST_READINGS
            and held.seconds * 1000 >= self._window_ms
            and abs(held.drift_per_min) <= self._drift_per_min
        )

    def _drift(self, first_ms: int) -> float:
        minutes = [(at_ms - first_ms) / 60_000 for at_ms, _ in self._readings]
        values = [value for _, value in self._readings]
        middle, mean = fmean(minutes), fmean(values)
        spread = sum((minute - middle) ** 2 for minute in minutes)
        if not spread:
            return 0.0
        return sum((minute - middle) * (value - mean) for minute, value in zip(minutes, values, strict=True)) / spread
