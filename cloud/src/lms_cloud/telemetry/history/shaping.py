"""History as lists that can be drawn: breaks where nothing was read, and never more points than asked for. Pure.

Before it: `lms_cloud.telemetry.history.series`, which reads, `drawing`, which thins, and `envelopes`. After it: REST
(`api.py`) and the WebSocket (`live`).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import numpy as np
from lms_protocol.reading import Quality, Value
from numpy.typing import NDArray

from lms_cloud.telemetry.announcing import shown
from lms_cloud.telemetry.history.breaks import Gap, find_breaks, longest
from lms_cloud.telemetry.history.envelopes import Envelope, holes_between
from lms_cloud.telemetry.values import INTEGERS, TagInfo

Resolution = Literal["raw", "downsampled", "envelope"]


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

    @property
    def times(self) -> Gap:
        """Beginning and end, ms UTC."""
        return Gap(self.began_at_ms, self.ended_at_ms)


@dataclass(slots=True)
class SeriesHistory:
    """One tag's readings in a window; all lists have one length, in order of time, no time twice.

    Attributes:
        value: as read, or the mean of a bucket; None is a break.
        quality: of the reading, or the worst in the bucket.
        worst: of a downsampled series: the worst quality from each point to before the next.
        minimum, maximum, first, last: of each bucket; None as a whole where the points are readings.
        bucket_s: length of a bucket, seconds; None where the points are readings.
    """

    tag: TagInfo
    taken_at_ms: list[int] = field(default_factory=list)
    value: list[Value] = field(default_factory=list)
    quality: list[int] = field(default_factory=list)
    worst: list[int] | None = None
    minimum: list[Value] | None = None
    maximum: list[Value] | None = None
    first: list[Value] | None = None
    last: list[Value] | None = None
    bucket_s: int | None = None

    @property
    def resolution(self) -> Resolution:
        """What the points are: every reading, some of them, or buckets."""
        if self.bucket_s is not None:
            return "envelope"
        return "raw" if self.worst is None else "downsampled"

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

    def as_json(self) -> dict[str, Any]:
        """As REST shows it."""
        result: dict[str, Any] = {
            "tag": self.tag.as_json(),
            "resolution": self.resolution,
            "bucket_s": self.bucket_s,
            "taken_at_ms": self.taken_at_ms,
            "value": [shown(value) for value in self.value],
            "quality": self.quality,
        }
        if self.worst is not None:
            result["worst"] = self.worst
        for name in ("minimum", "maximum", "first", "last"):
            values = getattr(self, name)
            if values is not None:
                result[name] = [shown(value) for value in values]
        return result


def draw_envelope(
    tag: TagInfo, envelope: Envelope, gaps: Iterable[Gap], bucket_s: int, max_points: int
) -> SeriesHistory:
    """Buckets as points, with a break where readings are missing for longer than a bucket.

    Of more breaks than there is room for the longest stay. A break that is longer than two buckets leaves a bucket
    empty, so that there always is room for it.
    """
    drawable = ~np.isnan(envelope.minimum)
    long = [gap for gap in gaps if gap.ended_at_ms is None or gap.ended_at_ms - gap.began_at_ms > bucket_s * 1000]
    holes = None if tag.held else holes_between(envelope, bucket_s)
    breaks = find_breaks(envelope.taken_at_ms, drawable, long, holes=holes)
    breaks = longest(breaks, envelope.taken_at_ms, envelope.last_at_ms, max_points - len(envelope.taken_at_ms))
    places = breaks.after + 1

    def listed(numbers: NDArray[np.float64], *, as_read: bool = True) -> list[Value]:
        broken = np.insert(numbers, places, np.nan)
        absent = np.isnan(broken)
        whole = as_read and tag.datatype in INTEGERS
        # An integer tag that once was of another type has readings that are none.
        found: list[Value] = [*map(_whole, np.where(absent, 0, broken).tolist())] if whole else [*broken.tolist()]
        for place in np.flatnonzero(absent).tolist():
            found[place] = None
        return found

    return SeriesHistory(
        tag,
        np.insert(envelope.taken_at_ms, places, breaks.at_ms).tolist(),
        listed(envelope.mean, as_read=False),
        np.insert(envelope.quality, places, Quality.BAD).tolist(),
        minimum=listed(envelope.minimum),
        maximum=listed(envelope.maximum),
        first=listed(envelope.first),
        last=listed(envelope.last),
        bucket_s=bucket_s,
    )


def _whole(number: float) -> float:
    return int(number) if number.is_integer() else number


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)
