"""Which stretches of time become one point each, and from which rollups each part of a window is read. Pure.

Before it: `lms_cloud.telemetry.history.service`, which knows window and tags. After it: `history_rows`, which reads the
spans, and `envelopes`, which folds what was read into the buckets.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

MINUTE_S: Final = 60
HOUR_S: Final = 3_600
DAY_S: Final = 86_400
ROLLUPS_S: Final = (DAY_S, HOUR_S, MINUTE_S)
"""What rollups there are, by the length of their buckets, longest first."""
FULL_ENOUGH: Final = 0.7
"""A longer rollup will do where it gives this part of the points asked for: it is up to sixty times less to read."""
LEAST_POINTS: Final = 100
"""As many will do where a shorter rollup would be too much to read."""


class Buckets(NamedTuple):
    """Stretches of a window that become one point each.

    Attributes:
        bucket_s: length of each, seconds; a local day may be an hour shorter or longer.
        starts_ms: (m,) beginning of each, ms UTC; the first may begin before the window.
        rollup_s: the longest rollup whose buckets never reach from one stretch into the next.
    """

    bucket_s: int
    starts_ms: NDArray[np.int64]
    rollup_s: int


class Span(NamedTuple):
    """A part of a window, `end_ms` not included. `rollup_s`: where to read it; 0 from the readings themselves."""

    rollup_s: int
    start_ms: int
    end_ms: int


def choose_buckets(
    start_ms: int, end_ms: int, max_points: int, *, most_rows: int, zone: ZoneInfo | None = None
) -> Buckets:
    """The buckets that show a window best in at most `max_points` points.

    Args:
        start_ms, end_ms: the window, ms UTC; the end is not included.
        max_points: most buckets.
        most_rows: so many rollup rows of one tag are too much to read, unless the longer rollup gives hardly a point.
        zone: whose days buckets of days are; UTC if None.
    """
    for base_s, finer_s in pairwise(ROLLUPS_S):
        buckets = multiple_of(base_s, start_ms, end_ms, max_points, zone)
        finer_is_dear = (end_ms - start_ms) / (finer_s * 1000) > most_rows
        if len(buckets.starts_ms) >= (LEAST_POINTS if finer_is_dear else FULL_ENOUGH * max_points):
            return buckets
    return multiple_of(ROLLUPS_S[-1], start_ms, end_ms, max_points, zone)


def multiple_of(base_s: int, start_ms: int, end_ms: int, max_points: int, zone: ZoneInfo | None = None) -> Buckets:
    """The shortest buckets of whole `base_s` (one of ROLLUPS_S) that are at most `max_points` in the window."""
    times = max(1, -(-(end_ms - start_ms) // (base_s * 1000 * max_points)))
    while True:
        buckets = buckets_of(base_s * times, start_ms, end_ms, zone)
        if len(buckets.starts_ms) <= max_points:
            return buckets
        times += 1


def buckets_of(bucket_s: int, start_ms: int, end_ms: int, zone: ZoneInfo | None = None) -> Buckets:
    """Buckets of one length, counted from 1970: from UTC midnight, or days from midnight in `zone`."""
    if zone is not None and bucket_s % DAY_S == 0:
        starts = np.array(list(_midnights(zone, bucket_s // DAY_S, start_ms, end_ms)), dtype=np.int64)
    else:
        first = start_ms // (bucket_s * 1000) * bucket_s * 1000
        starts = np.arange(first, end_ms, bucket_s * 1000, dtype=np.int64)
    rollup_s = next(length for length in ROLLUPS_S if bucket_s % length == 0 and not (starts % (length * 1000)).any())
    return Buckets(bucket_s, starts, rollup_s)


def _midnights(zone: ZoneInfo, days: int, start_ms: int, end_ms: int) -> Iterator[int]:
    """Every `days`-th local midnight, ms UTC, from the last one not after the start to the last one before the end.

    Where the clock is put forward at midnight, the day begins when it is.
    """
    epoch = date(1970, 1, 1).toordinal()
    day = datetime.fromtimestamp(start_ms / 1000, UTC).astimezone(zone).date()
    day -= timedelta(days=(day.toordinal() - epoch) % days)
    while (at_ms := round(datetime.combine(day, time(), zone).timestamp() * 1000)) < end_ms:
        yield at_ms
        if day > date.max - timedelta(days=days):
            return
        day += timedelta(days=days)


def spans(start_ms: int, end_ms: int, longest_s: int, now_ms: int) -> list[Span]:
    """Cut a window into spans that together are exactly the window, each read from the longest rollup possible.

    What is cut off at the edges is read from shorter rollups, what is shorter than a minute from the readings: no value
    from outside the window gets in. So are the bucket of each length that `now_ms` lies in, the one before it, and
    the one after it, as clocks differ: they may not be computed yet.

    Args:
        start_ms, end_ms: the window, ms UTC.
        longest_s: the longest rollup to use, one of ROLLUPS_S.
        now_ms: the present.
    """
    return list(_cover(start_ms, end_ms, [length for length in ROLLUPS_S if length <= longest_s], now_ms))


def _cover(start_ms: int, end_ms: int, lengths_s: Sequence[int], now_ms: int) -> Iterator[Span]:
    if start_ms >= end_ms:
        return
    if not lengths_s:
        yield Span(0, start_ms, end_ms)
        return
    length_ms = lengths_s[0] * 1000
    now = now_ms // length_ms * length_ms
    at_ms = start_ms
    for from_ms, to_ms in ((start_ms, now - length_ms), (now + 2 * length_ms, end_ms)):
        whole = max(-(-max(from_ms, start_ms) // length_ms) * length_ms, at_ms)
        end = min(to_ms, end_ms) // length_ms * length_ms
        if whole < end:
            yield from _cover(at_ms, whole, lengths_s[1:], now_ms)
            yield Span(lengths_s[0], whole, end)
            at_ms = end
    yield from _cover(at_ms, end_ms, lengths_s[1:], now_ms)
