"""Where a line has to break: at gap records, holes longer than expected, and readings without a value. Pure.

Before it: `lms_cloud.telemetry.history.service`, which has points and gap records; after it: `thinning`, which keeps
the breaks that there is room for, `drawing` and `shaping`, which put a null at each.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
from lms_protocol.reading import Quality
from numpy.typing import NDArray

LEAST_HOLE_MS: Final = 5_000
"""A shorter pause is none, whatever the pace: a scan may wait for a slow instrument."""
HOLE_STEPS: Final = 5
"""A pause is a hole when it is longer than this many usual steps."""
NEIGHBOURS: Final = 5
"""Steps on each side by which the usual one is judged: pace may change within one window."""
_STALE_AS: Final = 63
_ENDLESS: Final = np.iinfo(np.int64).max

Times = NDArray[np.int64]


class Gap(NamedTuple):
    """An interval in which nothing was read, ms UTC. `ended_at_ms` is None while it is open."""

    began_at_ms: int
    ended_at_ms: int | None


class Breaks(NamedTuple):
    """Breaks between points, in order; all of length k.

    Attributes:
        after: (k,) position of the point before each.
        at_ms: (k,) time of the null that shows it: after that point and before the next one.
    """

    after: NDArray[np.int64]
    at_ms: Times


def find_breaks(
    times: Times, drawable: NDArray[np.bool_], gaps: Iterable[Gap], *, holes: NDArray[np.bool_] | None = None
) -> Breaks:
    """Breaks that no point without a value shows already, at most one between two points.

    Args:
        times: (n,) of points, ms UTC, strictly rising.
        drawable: (n,) whether each has a value that can be drawn.
        gaps: in which this tag was not read. An open one also breaks after the last point, so that nothing that comes
            later is drawn through it.
        holes: (n - 1,) whether the step after each point is a hole; see `find_holes`.
    """
    records = list(gaps)
    began = np.array([gap.began_at_ms for gap in records], dtype=np.int64)
    is_open = np.array([gap.ended_at_ms is None for gap in records], dtype=np.bool_)
    follower = np.searchsorted(times, began, side="right")
    # A point without a value on either side of its beginning shows it already; so do the edges of what there is to
    # draw. One further on does not: a reading may lie in the gap before it, of two logs or a clock that was set back.
    solid = np.append(drawable, True)
    whole = (follower > 0) & solid[np.maximum(follower - 1, 0)] & solid[follower]
    is_last = follower == len(times)
    in_front = np.append(times, _ENDLESS)[follower] > began + 1
    shown = whole & in_front & (~is_last | is_open)
    after, at_ms = follower[shown] - 1, began[shown] + 1
    if holes is not None:
        broken = np.flatnonzero(holes & drawable[:-1] & drawable[1:])
        after, at_ms = np.concatenate((after, broken)), np.concatenate((at_ms, times[broken] + 1))
    after, first = np.unique(after, return_index=True)
    return Breaks(after.astype(np.int64), at_ms[first])


def find_holes(times: Times) -> NDArray[np.bool_]:
    """Whether the step after each point is much longer than the steps around it.

    Args:
        times: (n,) of points, ms UTC, rising.

    Returns:
        (n - 1,): longer than 5 s and than five usual steps; the usual step is the greater of the medians of the five
        steps before and the five after. A step without neighbours is no hole: nothing is known of the pace.
    """
    steps = np.diff(times)
    holes = np.zeros(len(steps), dtype=np.bool_)
    long = np.flatnonzero(steps > LEAST_HOLE_MS)
    if len(long):
        beyond = np.full(NEIGHBOURS, _ENDLESS)
        padded = np.concatenate((beyond, steps, beyond))
        windows = np.lib.stride_tricks.sliding_window_view(padded, NEIGHBOURS)
        before = _lower_median(windows[long], np.minimum(long, NEIGHBOURS))
        after = _lower_median(windows[long + NEIGHBOURS + 1], np.minimum(len(steps) - 1 - long, NEIGHBOURS))
        usual = np.maximum(before, after)
        # Divided, not multiplied: a step may be as long as all of time.
        holes[long] = (usual > 0) & (steps[long] / HOLE_STEPS > usual)
    return holes


def _lower_median(windows: Times, known: NDArray[np.int64]) -> Times:
    """The lower median of the `known` smallest of each row, 0 where none is known; the unknown ones are endless."""
    ordered = np.sort(windows, axis=1)
    medians = np.take_along_axis(ordered, np.maximum((known - 1) // 2, 0)[:, None], axis=1)[:, 0]
    return np.where(known > 0, medians, 0)


def longest(breaks: Breaks, began_ms: Times, ended_ms: Times, room: int) -> Breaks:
    """As many of the breaks as there is room for, the longest, in order.

    Args:
        breaks: between points.
        began_ms, ended_ms: (n,) of the first and the last reading behind each point.
        room: how many.
    """
    if len(breaks.after) <= room:
        return breaks
    following = np.minimum(breaks.after + 1, len(began_ms) - 1)
    lasted = np.where(following > breaks.after, began_ms[following] - ended_ms[breaks.after], _ENDLESS)
    kept = np.sort(np.argsort(lasted, kind="stable")[len(lasted) - max(0, room) :])
    return Breaks(breaks.after[kept], breaks.at_ms[kept])


def rank(quality: NDArray[np.int16]) -> NDArray[np.int16]:
    """Qualities as numbers whose smallest is the worst: STALE (500) lies between BAD and UNCERTAIN, as 63."""
    return np.where(quality == Quality.STALE, _STALE_AS, quality).astype(np.int16)


def unrank(ranks: NDArray[np.int16]) -> NDArray[np.int16]:
    """The qualities behind `rank`."""
    return np.where(ranks == _STALE_AS, Quality.STALE, ranks).astype(np.int16)
