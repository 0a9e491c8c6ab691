"""Many readings as few points that look the same: extremes stay, breaks stay, the worst quality is told. Pure.

Before it: `drawing`, which has the readings; after it: `shaping`. Each unbroken stretch is thinned by MinMaxLTTB
(tsdownsample): of the lowest and highest readings of many small stretches it keeps those that shape the line. What it
leaves to chance is added here: the lowest and the highest reading of each stretch are always kept.

Source: van der Donckt et al., "MinMaxLTTB: Leveraging MinMax-Preselection to Scale LTTB", 2023.
"""

from typing import Final, NamedTuple

import numpy as np
from lms_protocol.reading import Quality
from numpy.typing import NDArray
from tsdownsample import MinMaxLTTBDownsampler

from lms_cloud.telemetry.history.breaks import Breaks, rank, unrank

_SMALLEST: Final = 6
"""From so many points on a stretch is shaped; with fewer, its extremes and its ends are all that there is room for."""
_downsampler: Final = MinMaxLTTBDownsampler()  # type: ignore[no-untyped-call]  # the library does not say

Positions = NDArray[np.int64]


class Thinned(NamedTuple):
    """Points that stand for many readings; all of length m.

    Attributes:
        position: (m,) of the reading that each is; -1: a break.
        at_ms: (m,) strictly rising.
        quality: (m,) the reading's own; of a break, the worst of the readings without a value that it stands for, and
            BAD where there are none.
        worst: (m,) the worst quality among the readings from this point to before the next.
    """

    position: Positions
    at_ms: NDArray[np.int64]
    quality: NDArray[np.int16]
    worst: NDArray[np.int16]


class _Stretches(NamedTuple):
    """Unbroken stretches of drawable readings: first and last reading of each, (k,); nulls at `breaks_at` between."""

    first: Positions
    last: Positions
    breaks_at: Positions


def most_breaks(max_points: int) -> int:
    """How many breaks there is room for: any that is longer than the window / (this + 1) is one of those shown."""
    return max(1, (max_points - 4) // 4)


def thin(
    times: NDArray[np.int64], value: NDArray[np.float64], quality: NDArray[np.int16], breaks: Breaks, max_points: int
) -> Thinned:
    """Thin readings to at most `max_points` points, breaks included.

    Args:
        times: (n,) ms UTC, strictly rising.
        value: (n,); what is not finite cannot be drawn, and breaks the line.
        quality: (n,) quality codes.
        breaks: further breaks; see `breaks.find_breaks`.
        max_points: at least 10.
    """
    stretches = _stretches(times, value, breaks, most_breaks(max_points))
    room = max_points - len(stretches.breaks_at)
    sizes = _share(times, stretches, room)
    kept = [
        first + _shape(times[first : last + 1], value[first : last + 1], size)
        for first, last, size in zip(stretches.first.tolist(), stretches.last.tolist(), sizes, strict=True)
    ]
    position = np.concatenate([*kept, np.full(len(stretches.breaks_at), -1, dtype=np.int64)])
    at_ms = np.concatenate((times[position[position >= 0]], stretches.breaks_at))
    order = np.argsort(at_ms, kind="stable")
    position, at_ms = position[order], at_ms[order]
    worst = _worst(times, quality, at_ms)
    return Thinned(position, at_ms, np.where(position >= 0, quality[position], worst), worst)


def _stretches(times: NDArray[np.int64], value: NDArray[np.float64], breaks: Breaks, most: int) -> _Stretches:
    """Unbroken stretches between the `most` longest breaks; the short ones beyond are drawn across."""
    finite = np.isfinite(value)
    solid = np.flatnonzero(finite)
    if not len(solid):
        return _Stretches(np.empty(0, np.int64), np.empty(0, np.int64), times[:1])
    null_at = np.full(len(times), -1, dtype=np.int64)  # the time of the null after each reading, where there is one
    null_at[breaks.after] = breaks.at_ms
    # A reading that cannot be drawn is a null by itself: the first after a drawable one stands for all that follow it.
    lone = np.flatnonzero(finite[:-1] & ~finite[1:])
    null_at[lone] = times[lone + 1]
    ends = np.flatnonzero(null_at >= 0)
    inner = ends[ends < solid[-1]]
    follower = solid[np.searchsorted(solid, inner, side="right")]
    if len(inner) > most:
        longest = np.sort(np.argsort(times[follower] - times[inner], kind="stable")[-most:])
        inner, follower = inner[longest], follower[longest]
    nulls = [null_at[inner]]
    if solid[0] > 0:
        nulls.insert(0, times[:1])
    if null_at[solid[-1]] >= 0:
        nulls.append(null_at[solid[-1:]])
    return _Stretches(np.concatenate((solid[:1], follower)), np.concatenate((inner, solid[-1:])), np.concatenate(nulls))


def _share(times: NDArray[np.int64], stretches: _Stretches, room: int) -> list[int]:
    """How many points each stretch gets: two at least, the rest by its length in time, no more than it has readings."""
    if not len(stretches.first):
        return []
    have = stretches.last - stretches.first + 1
    size = np.minimum(have, 2)
    span = (times[stretches.last] - times[stretches.first] + 1).astype(np.float64)
    left = room - int(size.sum())
    while left > 0 and (wanting := have > size).any():
        part = np.where(wanting, span, 0.0)
        more = np.minimum((left * part / part.sum()).astype(np.int64), have - size)
        if not more.any():
            # Less than one point each: one to each of the longest.
            first = np.argsort(-part, kind="stable")[: min(left, int(wanting.sum()))]
            more[first] = 1
        size = size + more
        left = room - int(size.sum())
    return [int(each) for each in size]


def _shape(times: NDArray[np.int64], value: NDArray[np.float64], size: int) -> Positions:
    """Positions of at most `size` readings of one stretch, its lowest and highest among them. The ends are drawable."""
    finite = np.flatnonzero(np.isfinite(value))
    times, value = times[finite], value[finite]
    if len(finite) <= size:
        return finite
    wanted = [int(np.argmin(value)), int(np.argmax(value)), 0, len(value) - 1]
    if size >= _SMALLEST:
        # Both the times and what is in view may be of any magnitude; what counts is the shape, so both are scaled.
        scaled = value / max(1.0, float(np.abs(value).max()))
        shaped = _downsampler.downsample(times, np.ascontiguousarray(scaled), n_out=size - 2)
        chosen = np.union1d(np.asarray(shaped, dtype=np.int64), wanted)
    else:
        chosen = np.array(sorted(dict.fromkeys(wanted[: max(size, 1)])))
    return finite[chosen]


def _worst(times: NDArray[np.int64], quality: NDArray[np.int16], at_ms: NDArray[np.int64]) -> NDArray[np.int16]:
    """The worst quality from each point to before the next; what lies before the first counts with it."""
    begins = np.searchsorted(times, at_ms, side="left")
    # A null between two readings stands for none of them: those after it belong to the next point.
    between = np.flatnonzero(times[np.minimum(begins, len(times) - 1)] != at_ms)
    followed = between[between < len(at_ms) - 1]
    begins[followed + 1] = begins[followed]
    begins[:1] = 0
    ends = np.append(begins[1:], len(times))
    ranks = np.append(rank(quality), np.iinfo(np.int16).max)
    worst = unrank(np.minimum.reduceat(ranks, begins))
    return np.where(ends > begins, worst, Quality.BAD).astype(np.int16)
