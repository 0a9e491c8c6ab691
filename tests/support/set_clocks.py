"""Clocks for simulated instruments and plants, which show what the test sets."""

from datetime import datetime


class SetSeconds:
    """Seconds since anything, for an instrument."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class SetTime:
    """The time of day, for a plant: set as a date, read in seconds since 1970."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now.timestamp()
