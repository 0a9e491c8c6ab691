"""The times that scans bear in memory, and what the log makes of them.

In memory time never jumps: a scan bears the time since boot plus the offset that the clock had when the agent started.
What the clock's offset is by now is added when the scan is written, in the order of batches, so that a correction and
the batches around it cannot get mixed up, however long a scan had to wait. A reading gets what holds when it is
written, as the clock record before it says. The ends of a gap may be older: each gets the shift of its own time.

Neighbours: `lms_agent.log.writer` writes; `lms_agent.log.times.clocks` says what moved.
"""

from collections.abc import Iterable, Mapping

from lms_protocol.reading import Gap, Reading

from lms_agent.log.times.corrections import Correction, TimeMap


class Stamps:
    """From times in memory to times in the log. Never changes: `after` gives the next.

    Args:
        parts: (from when on, shift), by times in memory, ms.
        began_ms: times in memory from here on are of this run of the agent; None: none is.
        shift_ms: of readings that are written now.
    """

    def __init__(self, parts: Mapping[int, int] | None = None, began_ms: int | None = None, shift_ms: int = 0) -> None:
        self._parts = dict(parts or {})
        self._map = TimeMap(self._parts.items())
        self._began_ms = began_ms
        self._shift_ms = shift_ms

    @property
    def move(self) -> bool:
        """Whether any time gets another one."""
        return self._shift_ms != 0 or any(self._parts.values())

    @classmethod
    def starting(cls, open_since_ms: Iterable[int], began_ms: int, shift_ms: int) -> "Stamps":
        """Those of an agent that starts.

        Args:
            open_since_ms: the beginnings of what may still be corrected.
            began_ms: now, as scans will bear it.
            shift_ms: of readings that are written now.
        """
        return cls(dict.fromkeys(open_since_ms, 0) | {began_ms: shift_ms}, began_ms, shift_ms)

    def after(self, corrections: Iterable[Correction], now_ms: int, shift_ms: int) -> "Stamps":
        """Those that hold after a change of the clock.

        Args:
            corrections: what it moved.
            now_ms: now, as scans bear it.
            shift_ms: of readings that are written from now on.
        """
        moved = {row.began_ms: row.shift_ms for row in corrections}
        parts = {began_ms: shift + moved.get(began_ms + shift, 0) for began_ms, shift in self._parts.items()}
        if TimeMap(parts.items()).at(now_ms) != now_ms + shift_ms:
            parts[now_ms] = shift_ms
        return Stamps(parts, self._began_ms, shift_ms)

    def readings(self, readings: tuple[Reading, ...]) -> tuple[Reading, ...]:
        """Readings of a scan, with their times in the log."""
        shift_ms, began_ms = self._shift_ms, self._began_ms
        if not shift_ms or began_ms is None:
            return readings
        return tuple(
            Reading(tag, ms + shift_ms if ms >= began_ms else ms, value, quality)
            for tag, ms, value, quality in readings
        )

    def back(self, ms: int) -> int:
        """The time in memory that became `ms` in the log."""
        moved = [(began_ms + shift, shift) for began_ms, shift in self._parts.items() if began_ms + shift <= ms]
        return ms - max(moved)[1] if moved else ms

    def gaps(self, gaps: tuple[Gap, ...], told_ms: Mapping[int, int]) -> tuple[Gap, ...]:
        """Gaps of a scan, with their times in the log.

        Args:
            told_ms: when those that were told before began, as the log has it, by id.
        """
        return tuple(self._gap(gap, told_ms.get(gap.id)) for gap in gaps)

    def _gap(self, gap: Gap, told_ms: int | None) -> Gap:
        began_ms = self._map.at(gap.began_at_ms) if told_ms is None else told_ms
        ended_ms = gap.ended_at_ms
        if ended_ms is not None:
            own = self._shift_ms if self._began_ms is not None and ended_ms >= self._began_ms else 0
            ended_ms = max(ended_ms + own, began_ms)
        return gap._replace(began_at_ms=began_ms, ended_at_ms=ended_ms)
