"""Report by exception: a reading is logged if it says something new, and in any case before the last one grows old.

    changed by more than the dead band, or of another quality     logged, and the last one before it, too
    the next scan would come when the last one is past its        logged
    heartbeat
    anything else                                                 held back; it may still be asked for

The reading before a change is logged with it: else a value that stood still and then leapt would be drawn as a slope.
For the same reason what is held back is asked for when a gap begins.

Neighbours: `processing.py` offers each reading; `lms_agent.settings.processing` bounds the heartbeat.
"""

from math import isnan

from lms_protocol.reading import Reading, Value

_ON_TIME = 0.05  # of a period: a scan that comes a little late does not make the one before it due


class ByException:
    """What of one tag is logged.

    Args:
        dead_band: a change up to this much says nothing new, in the tag's unit; 0: only what is the same does not.
        heartbeat_s: the longest time between two readings that are logged.
        period_s: from scan to scan.
    """

    def __init__(self, dead_band: float, heartbeat_s: float, period_s: float) -> None:
        self._dead_band = dead_band
        self._due_after_ms = 1000 * (heartbeat_s - period_s * (1 - _ON_TIME))
        self._logged: Reading | None = None
        self._held: tuple[Reading, ...] = ()

    def offer(self, reading: Reading, along: tuple[Reading, ...] = (), *, wanted: bool = False) -> list[Reading]:
        """What is to be logged now, in the order taken.

        Args:
            along: what is logged with it, if it is.
            wanted: whether it is to be logged whatever it says.
        """
        logged = self._logged
        if logged is None or wanted or reading.quality is not logged.quality or self._differs(reading.value):
            due = [*self.held_back(), reading, *along]
        elif reading.taken_at_ms - logged.taken_at_ms > self._due_after_ms:
            due = [reading, *along]
        else:
            self._held = (reading, *along)
            return []
        self._logged, self._held = reading, ()
        return due

    def held_back(self) -> list[Reading]:
        """What was held back last, if there is anything that nobody has had; it counts as logged."""
        held, self._held = self._held, ()
        if held:
            self._logged = held[0]
        return list(held)

    def forget(self) -> None:
        """Whatever was logged last is not: the next reading is logged."""
        self._logged = None

    def _differs(self, value: Value) -> bool:
        before = self._logged.value if self._logged else None
        if isinstance(value, float | int) and isinstance(before, float | int):
            if isnan(value) or isnan(before):
                return isnan(value) is not isnan(before)
            return value != before and not abs(value - before) <= self._dead_band  # infinity less itself is NaN
        return value != before
