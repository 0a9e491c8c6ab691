"""History as lists that can be drawn: breaks where nothing was read, and never more points than asked for. Pure.

Before it: `lms_cloud.telemetry.history`, which reads rows; after it: REST (`api.py`) and the WebSocket (`live`).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lms_protocol.reading import Quality, Value

from lms_cloud.telemetry.announcing import shown
from lms_cloud.telemetry.values import TagInfo


@dataclass(frozen=True, slots=True)
class GapRecord:
    """An interval in which nothing was read, and why.

    Attributes:
        series: numbers of the series that miss readings.
        ended_at: None while it is open.
    """

    series: frozenset[int]
    began_at: datetime
    ended_at: datetime | None
    reason: str

    @property
    def began_at_ms(self) -> int:
        """Beginning, ms UTC."""
        return _ms(self.began_at)

    @property
    def ended_at_ms(self) -> int | None:
        """End, ms UTC."""
        return None if self.ended_at is None else _ms(self.ended_at)


@dataclass(slots=True)
class SeriesHistory:
    """One tag's readings in a window; all lists have one length, in order of time.

    Attributes:
        value: as read, or the mean of a bucket; None is a break.
        minimum, maximum: of each bucket; None as a whole where every reading is there.
        quality: of the reading, or the worst in the bucket.
    """

    tag: TagInfo
    taken_at_ms: list[int] = field(default_factory=list)
    value: list[Value] = field(default_factory=list)
    quality: list[int] = field(default_factory=list)
    minimum: list[Value] | None = None
    maximum: list[Value] | None = None

    @property
    def is_envelope(self) -> bool:
        """Whether the points are buckets instead of readings."""
        return self.minimum is not None

    def add(self, taken_at_ms: int, value: Value, quality: int) -> None:
        """Append a reading."""
        self.taken_at_ms.append(taken_at_ms)
        self.value.append(value)
        self.quality.append(quality)

    def keep_within(self, spans: Iterable[tuple[datetime, datetime]]) -> None:
        """Drop the readings that were taken in none of the spans, both ends included."""
        wanted = sorted((_ms(first), _ms(last)) for first, last in spans)
        merged: list[tuple[int, int]] = []
        for first, last in wanted:
            if merged and first <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
            else:
                merged.append((first, last))
        kept: list[int] = []
        for first, last in merged:
            kept.extend(range(bisect_left(self.taken_at_ms, first), bisect_right(self.taken_at_ms, last)))
        self.taken_at_ms = [self.taken_at_ms[row] for row in kept]
        self.value = [self.value[row] for row in kept]
        self.quality = [self.quality[row] for row in kept]

    def break_at(self, gaps: Iterable[GapRecord], *, shortest_ms: int = 1) -> None:
        """Put a None just after the beginning of each gap, unless the readings show the break already.

        Args:
            gaps: in which this tag was not read.
            shortest_ms: shorter gaps are not to be seen, as a bucket is longer.
        """
        for gap in gaps:
            ended_at_ms = gap.ended_at_ms
            at_ms = gap.began_at_ms + 1
            if ended_at_ms is not None and ended_at_ms - gap.began_at_ms < shortest_ms:
                continue
            after = bisect_right(self.taken_at_ms, gap.began_at_ms)
            end = len(self.value) if ended_at_ms is None else bisect_left(self.taken_at_ms, ended_at_ms)
            touching = self.value[max(after - 1, 0) : end]
            if None in touching or after == 0 or (ended_at_ms is not None and after == len(self.value)):
                continue
            for column, entry in self._columns(at_ms):
                column.insert(after, entry)

    def _columns(self, at_ms: int) -> list[tuple[list[Any], Any]]:
        columns: list[tuple[list[Any], Any]] = [
            (self.taken_at_ms, at_ms),
            (self.value, None),
            (self.quality, int(Quality.BAD)),
        ]
        return columns + [(extreme, None) for extreme in (self.minimum, self.maximum) if extreme is not None]

    def as_json(self) -> dict[str, Any]:
        """As REST shows it."""
        result: dict[str, Any] = {
            "tag": self.tag.as_json(),
            "resolution": "envelope" if self.is_envelope else "raw",
            "taken_at_ms": self.taken_at_ms,
            "value": [shown(value) for value in self.value],
            "quality": self.quality,
        }
        if self.minimum is not None and self.maximum is not None:
            result["minimum"] = [shown(value) for value in self.minimum]
            result["maximum"] = [shown(value) for value in self.maximum]
        return result


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)
