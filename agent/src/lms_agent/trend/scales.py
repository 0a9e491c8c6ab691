"""Round numbers and round times for the axes of a picture."""

import math
from collections.abc import Iterator
from datetime import datetime, timedelta

_STEPS_S = (
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800,
)  # fmt: skip


_LABEL_CELLS = 8


class Scale:
    """An axis of numbers from `low` to `high`, both round, with `step` between its ticks.

    Args:
        least, greatest: of what is to be shown.
        ticks: about how many steps.
    """

    def __init__(self, least: float, greatest: float, ticks: int) -> None:
        if greatest - least < 1e-9 * max(abs(least), abs(greatest), 1e-9):
            room = abs(least) * 0.01 or 1.0
            least, greatest = least - room, greatest + room
        rough = (greatest - least) / max(1, ticks)
        power = 10.0 ** math.floor(math.log10(rough))
        self.step = next(power * times for times in (1, 2, 5, 10) if power * times >= rough * 0.999)
        self.low = math.floor(least / self.step + 1e-9) * self.step
        self.high = math.ceil(greatest / self.step - 1e-9) * self.step

    def part(self, value: float) -> float:
        """Where a value lies: 0 at `low`, 1 at `high`."""
        return (value - self.low) / (self.high - self.low)

    def label(self, value: float) -> str:
        """A value of the axis, with as many digits as its ticks need."""
        digits = max(0, -math.floor(math.log10(self.step) + 1e-9))
        text = f"{0.0 if abs(value) < self.step / 2 else value:.{min(digits, 9)}f}"
        shorter = (f"{value:.{digits}e}" for digits in (2, 1, 0))
        return next((label for label in (text, *shorter) if len(label) <= _LABEL_CELLS), text)


def round_times(from_ms: int, to_ms: int, most: int) -> Iterator[tuple[int, str]]:
    """Moments of a window at which a clock on the wall shows round figures, with what it shows.

    Args:
        from_ms, to_ms: the window, ms UTC.
        most: how many of them at most.
    """
    wanted_s = (to_ms - from_ms) / 1000 / max(1, most)
    step_s = next((step for step in _STEPS_S if step >= wanted_s), 604_800 * math.ceil(wanted_s / 604_800))
    midnight = datetime.fromtimestamp(from_ms / 1000).astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    at = midnight
    while at.timestamp() * 1000 < from_ms:
        at += timedelta(seconds=step_s * max(1, int((from_ms / 1000 - at.timestamp()) / step_s)))
    while at.timestamp() * 1000 < to_ms:
        yield round(at.timestamp() * 1000), _shown(at, step_s)
        at += timedelta(seconds=step_s)


def _shown(at: datetime, step_s: float) -> str:
    if step_s >= 86_400 or (step_s >= 7200 and at.hour == 0 and at.minute == 0):
        return f"{at:%d %b}"
    return f"{at:%H:%M:%S}" if step_s < 60 else f"{at:%H:%M}"
