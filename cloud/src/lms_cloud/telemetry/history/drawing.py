"""Readings of one tag as they were read, one for each time, and what can be drawn of them. Pure.

Before it: `history_rows`, which reads them; after it: `shaping`. Values stay exact: what is chosen by its nearest
double is shown as it was read.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from lms_protocol.reading import Datatype, Quality, Value
from numpy.typing import NDArray

from lms_cloud.telemetry.history.breaks import Breaks, Gap, find_breaks, find_holes, longest, rank
from lms_cloud.telemetry.history.rows import Readings
from lms_cloud.telemetry.history.shaping import SeriesHistory
from lms_cloud.telemetry.history.thinning import thin
from lms_cloud.telemetry.values import TagInfo, read_value

_REALS = frozenset({Datatype.FLOAT, Datatype.DOUBLE})


@dataclass(frozen=True, slots=True)
class TagReadings:
    """All readings of one tag in a window, or some of them; all of length n.

    Attributes:
        at_ms: (n,) ms UTC, strictly rising.
        quality: (n,) quality codes.
        number: (n,) what can be drawn; what is not finite cannot. Texts that can be shown are 0.
        values: gives the exact values at some positions.
    """

    tag: TagInfo
    at_ms: NDArray[np.int64]
    quality: NDArray[np.int16]
    number: NDArray[np.float64]
    values: Callable[[Sequence[int]], list[Value]]

    def drawn(self, gaps: Iterable[Gap], max_points: int) -> SeriesHistory:
        """Every reading if they fit, breaks included; thinned to at most `max_points` points if not."""
        breaks = self._breaks(gaps)
        if len(self.at_ms) + len(breaks.after) <= max_points:
            return self._whole(breaks)
        thinned = thin(self.at_ms, self.number, self.quality, breaks, max_points)
        read = iter(self.values(thinned.position[thinned.position >= 0].tolist()))
        return SeriesHistory(
            self.tag,
            thinned.at_ms.tolist(),
            [None if position < 0 else next(read) for position in thinned.position.tolist()],
            thinned.quality.tolist(),
            thinned.worst.tolist(),
        )

    def whole(self, gaps: Iterable[Gap] = (), *, max_points: int | None = None) -> SeriesHistory:
        """Every reading, and the longest breaks in the room that is left; without `max_points` no break at all."""
        if max_points is None:
            return self._whole(Breaks(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)))
        return self._whole(longest(self._breaks(gaps), self.at_ms, self.at_ms, max_points - len(self.at_ms)))

    def _breaks(self, gaps: Iterable[Gap]) -> Breaks:
        drawable = np.isfinite(self.number)
        holds = self.tag.held or self.tag.datatype is Datatype.STRING
        return find_breaks(self.at_ms, drawable, gaps, holes=None if holds else find_holes(self.at_ms))

    def _whole(self, breaks: Breaks) -> SeriesHistory:
        places = breaks.after + 1
        values = self.values(range(len(self.at_ms)))
        for place in reversed(places.tolist()):
            values.insert(place, None)
        return SeriesHistory(
            self.tag,
            np.insert(self.at_ms, places, breaks.at_ms).tolist(),
            values,
            np.insert(self.quality, places, Quality.BAD).tolist(),
        )


def of_numbers(tag: TagInfo, readings: Readings) -> TagReadings:
    """From the readings of a tag that has none in `readings_text`."""
    once = _once(readings.at_ms, readings.quality, readings.value)
    if once is not None:
        readings = readings.only(once)

    def values(positions: Sequence[int]) -> list[Value]:
        chosen = np.asarray(positions, dtype=np.int64)
        read = readings.value[chosen].tolist()
        if tag.datatype not in _REALS:
            read = [read_value(tag.datatype, number, None) for number in read]
        for position in np.flatnonzero(readings.null[chosen]).tolist():
            read[position] = None
        return read  # type: ignore[no-any-return]  # numpy does not know what lists it makes

    return TagReadings(tag, readings.at_ms, readings.quality, readings.value, values)


def of_rows(tag: TagInfo, rows: Iterable[Any]) -> TagReadings:
    """From rows of ms, quality, number and text, in order of time."""
    read = [(ms, quality, read_value(tag.datatype, number, text)) for ms, quality, number, text in rows]
    at_ms = np.array([ms for ms, _, _ in read], dtype=np.int64)
    quality = np.array([quality for _, quality, _ in read], dtype=np.int16)
    exact = [value for _, _, value in read]
    number = np.array([_drawn_as(tag, value) for value in exact], dtype=np.float64)
    once = _once(at_ms, quality, number)
    if once is not None:
        at_ms, quality, number = at_ms[once], quality[once], number[once]
        exact = [exact[position] for position in once.tolist()]
    return TagReadings(tag, at_ms, quality, number, lambda positions: [exact[each] for each in positions])


def _drawn_as(tag: TagInfo, value: Value) -> float:
    if value is None:
        return np.nan
    if tag.datatype is Datatype.STRING:
        return 0.0
    # A text of a tag that once was one of texts is nothing to draw among numbers.
    return np.nan if isinstance(value, str) else float(value)


def _once(at_ms: NDArray[np.int64], quality: NDArray[np.int16], number: NDArray[np.float64]) -> NDArray[np.intp] | None:
    """Positions of one reading for each time, in order; None if no time is there twice.

    A chart can show one value at a time. Two readings of one millisecond come from two instruments or logs that claim
    to be one, or from a clock that was set back; what has a value is shown, then the better quality, then the larger.
    """
    if not len(at_ms) or (np.diff(at_ms) > 0).all():
        return None
    order = np.lexsort((number, rank(quality), np.isfinite(number), at_ms))
    last: NDArray[np.intp] = order[np.append(np.diff(at_ms[order]) > 0, True)]
    return last
