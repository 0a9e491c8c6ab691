"""Is a value plausible, seen beside those before it? What is not is kept and flagged UNCERTAIN.

    rate of change   further from the last plausible value than the process could have gone since
    stuck            not a bit different for so long: a sensor that lives is never quite still

Neighbours: a driver has judged the value by itself already (range, status); `processing.py` calls.
"""

from lms_protocol.reading import Quality, Reading


class Judging:
    """Judges the readings of one tag, in the order taken.

    Args:
        max_rate_per_s: the fastest plausible change, in the tag's unit per second; None: any.
        stuck_after_s: a value that does not change for so long is doubtful; None: never.
    """

    def __init__(self, max_rate_per_s: float | None = None, stuck_after_s: float | None = None) -> None:
        self._max_rate_per_ms = None if max_rate_per_s is None else max_rate_per_s / 1000
        self._stuck_after_ms = None if stuck_after_s is None else stuck_after_s * 1000
        self._plausible: tuple[float, int] | None = None
        self._still: tuple[float, int] | None = None

    def judge(self, reading: Reading) -> Reading:
        """The reading, flagged if it is not plausible. What holds no number is not judged."""
        value, at_ms = reading.value, reading.taken_at_ms
        if isinstance(value, bool) or not isinstance(value, int | float):
            return reading
        too_fast = self._too_fast(value, at_ms, good=reading.quality is Quality.GOOD)
        if self._stuck(value, at_ms) or too_fast:
            return reading._replace(quality=min(reading.quality, Quality.UNCERTAIN))
        return reading

    def forget(self) -> None:
        """What comes now cannot be compared with what was: the instrument was calibrated."""
        self._plausible = self._still = None

    def _too_fast(self, value: float, at_ms: int, *, good: bool) -> bool:
        """Judged by the last plausible value, so that a spike is flagged and the return from it is not.

        A step that lasts becomes plausible once the process could have come so far.
        """
        if self._max_rate_per_ms is None:
            return False
        if self._plausible is not None:
            before, then_ms = self._plausible
            if abs(value - before) > self._max_rate_per_ms * max(at_ms - then_ms, 1):
                return True
        if good:
            self._plausible = value, at_ms
        return False

    def _stuck(self, value: float, at_ms: int) -> bool:
        if self._stuck_after_ms is None:
            return False
        if self._still is None or self._still[0] != value:
            self._still = value, at_ms
        return at_ms - self._still[1] >= self._stuck_after_ms
