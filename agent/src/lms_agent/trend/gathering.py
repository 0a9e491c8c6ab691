"""Readings of a window as buckets: for each step of time the least, the greatest, the mean and the worst.

Every reading of the window is looked at: an extreme that lasted for a second is seen in a picture of a day.

Neighbours: `lms_agent.log.reader` finds the batches; `plotting.py` draws the buckets.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from lms_protocol.reading import Batch, Gap, Quality, TagDescription, Value

from lms_agent.log.reader import LogReader

_SEVERITY = {Quality.GOOD: 0, Quality.UNCERTAIN: 1, Quality.STALE: 2, Quality.BAD: 3}


@dataclass(slots=True)
class Bucket:
    """What was read in one step of time.

    Attributes:
        readings: how many.
        numbers: how many of them have a finite number as value; minimum, maximum and total are of these.
        worst: the worst quality.
    """

    readings: int = 0
    numbers: int = 0
    minimum: float = 0.0
    maximum: float = 0.0
    total: float = 0.0
    worst: Quality = Quality.GOOD

    @property
    def mean(self) -> float | None:
        """Of the numbers; None if there are none."""
        return self.total / self.numbers if self.numbers else None

    def take(self, value: Value, quality: Quality) -> None:
        """Count a reading in."""
        self.readings += 1
        if quality is not Quality.GOOD and _SEVERITY[quality] > _SEVERITY[self.worst]:
            self.worst = quality
        if value is None or isinstance(value, str) or value - value != 0:
            return
        number = float(value)
        if not self.numbers:
            self.minimum = self.maximum = number
        elif number < self.minimum:
            self.minimum = number
        elif number > self.maximum:
            self.maximum = number
        self.numbers += 1
        self.total += number

    def join(self, other: "Bucket") -> None:
        """Count another bucket in."""
        if other.numbers:
            self.minimum = min(self.minimum, other.minimum) if self.numbers else other.minimum
            self.maximum = max(self.maximum, other.maximum) if self.numbers else other.maximum
        self.readings += other.readings
        self.numbers += other.numbers
        self.total += other.total
        if _SEVERITY[other.worst] > _SEVERITY[self.worst]:
            self.worst = other.worst


@dataclass(slots=True)
class Trend:
    """One tag over a window.

    Attributes:
        tag: whose.
        from_ms, to_ms: the window, ms UTC; `to_ms` is not in it.
        buckets: equal steps of the window; None where nothing was read.
        last: the newest value in the window, and when it was taken.
        gaps: intervals in which it was due, but not read.
    """

    tag: TagDescription
    from_ms: int
    to_ms: int
    buckets: list[Bucket | None]
    last: tuple[int, Value, Quality] | None = None
    gaps: list[Gap] = field(default_factory=list)

    @property
    def whole(self) -> Bucket:
        """All buckets as one."""
        whole = Bucket()
        for bucket in self.buckets:
            if bucket is not None:
                whole.join(bucket)
        return whole

    @property
    def missing_ms(self) -> int:
        """How much of the window lies in gaps."""
        spans = sorted(
            (max(gap.began_at_ms, self.from_ms), min(gap.ended_at_ms or self.to_ms, self.to_ms)) for gap in self.gaps
        )
        missing, reached = 0, self.from_ms
        for began, ended in spans:
            missing += max(0, ended - max(began, reached))
            reached = max(reached, ended)
        return missing


def gather(
    reader: LogReader,
    tags: Sequence[TagDescription],
    window: tuple[int, int],
    steps: int,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Trend]:
    """The trends of `tags`, in their order.

    Args:
        window: from and to, ms UTC.
        steps: how many buckets each has.
        progress: called with each batch's number.
    """
    from_ms, to_ms = window
    trends = {tag.number: Trend(tag, from_ms, to_ms, [None] * steps) for tag in tags}
    devices = {tag.device for tag in tags}
    gaps: dict[int, Gap] = {}
    for batch in reader.between(from_ms, to_ms, next(iter(devices)) if len(devices) == 1 else None):
        progress(batch.number)
        _take(batch, trends, (to_ms - from_ms) / steps)
        gaps.update((gap.id, gap) for gap in batch.gaps)
    gaps.update((gap.id, gap) for _, gap in reader.open_gaps() if gap.began_at_ms < to_ms)
    _assign(gaps.values(), trends)
    return list(trends.values())


def _take(batch: Batch, trends: dict[int, Trend], step_ms: float) -> None:
    for number, taken_at_ms, value, quality in batch.readings:
        trend = trends.get(number)
        if trend is None or not trend.from_ms <= taken_at_ms < trend.to_ms:
            continue
        at = min(int((taken_at_ms - trend.from_ms) / step_ms), len(trend.buckets) - 1)
        bucket = trend.buckets[at]
        if bucket is None:
            bucket = trend.buckets[at] = Bucket()
        bucket.take(value, quality)
        if trend.last is None or taken_at_ms >= trend.last[0]:
            trend.last = (taken_at_ms, value, quality)


def _assign(gaps: Iterable[Gap], trends: dict[int, Trend]) -> None:
    for gap in gaps:
        for number in gap.tags:
            trend = trends.get(number)
            if trend is not None and gap.began_at_ms < trend.to_ms and (gap.ended_at_ms or trend.to_ms) > trend.from_ms:
                trend.gaps.append(gap)
