"""Rollup rows and single readings folded into buckets: mean, extremes, first and last, worst quality. Pure.

Before it: `history_rows`, which reads the pieces; `buckets`, which says what belongs together. After it: `shaping`.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lms_cloud.telemetry.history.breaks import find_holes, unrank
from lms_cloud.telemetry.history.buckets import Buckets

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pieces:
    """Rollup rows and single readings of one series, in order of time; all of length n. NaN: there is none.

    Attributes:
        count: how many numbers `total` adds up.
        minimum, maximum, first, last: of the finite numbers.
        first_at_ms, last_at_ms: of all readings; says which bucket a piece belongs to.
        worst: as `breaks.rank` has it.
        readings: how many, with or without a value.
    """

    count: Integers
    minimum: Floats
    maximum: Floats
    total: Floats
    first: Floats
    last: Floats
    first_at_ms: Integers
    last_at_ms: Integers
    worst: NDArray[np.int16]
    readings: Integers

    @classmethod
    def none(cls) -> "Pieces":
        """Of a series without readings."""
        whole, real = np.empty(0, dtype=np.int64), np.empty(0)
        return cls(whole, real, real, real, real, real, whole, whole, np.empty(0, dtype=np.int16), whole)


class Envelope(NamedTuple):
    """One row a bucket that has readings; all of length m. NaN: no finite number was read.

    Attributes:
        taken_at_ms: of the first reading, strictly rising.
        last_at_ms: of the last one.
        quality: the worst.
    """

    taken_at_ms: Integers
    last_at_ms: Integers
    mean: Floats
    minimum: Floats
    maximum: Floats
    first: Floats
    last: Floats
    quality: NDArray[np.int16]
    readings: Integers


def fold(pieces: Pieces, buckets: Buckets) -> Envelope:
    """Fold pieces into the buckets that they lie in."""
    bucket = np.searchsorted(buckets.starts_ms, pieces.first_at_ms, side="right")
    begins = np.flatnonzero(np.diff(bucket, prepend=-1))
    ends = np.append(begins[1:], len(bucket))
    if not len(begins):
        empty = np.empty(0)
        none = np.empty(0, dtype=np.int64)
        return Envelope(none, none, empty, empty, empty, empty, empty, np.empty(0, dtype=np.int16), none)
    minimum, maximum = np.fmin.reduceat(pieces.minimum, begins), np.fmax.reduceat(pieces.maximum, begins)
    count = np.add.reduceat(pieces.count, begins)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        mean = np.add.reduceat(np.where(pieces.count > 0, pieces.total, 0.0), begins) / count
    # Of numbers too large to be added up there is no mean; the middle between the extremes lies among them, too.
    mean = np.where(np.isfinite(mean), mean, minimum / 2 + maximum / 2)
    valued = np.flatnonzero(~np.isnan(pieces.minimum))
    earliest, latest = np.searchsorted(valued, begins), np.searchsorted(valued, ends) - 1
    some = latest >= earliest
    first, last = np.full(len(begins), np.nan), np.full(len(begins), np.nan)
    first[some] = pieces.first[valued[earliest[some]]]
    last[some] = pieces.last[valued[latest[some]]]
    return Envelope(
        np.minimum.reduceat(pieces.first_at_ms, begins),
        np.maximum.reduceat(pieces.last_at_ms, begins),
        np.clip(mean, minimum, maximum),
        minimum,
        maximum,
        first,
        last,
        unrank(np.minimum.reduceat(pieces.worst, begins)),
        np.add.reduceat(pieces.readings, begins),
    )


def holes_between(envelope: Envelope, bucket_s: int) -> NDArray[np.bool_]:
    """Whether something is missing between each point and the next.

    A pause longer than a bucket is a hole: some bucket is without a reading, or could be. Only where both buckets hold
    a single reading, as of a tag that is read more seldom than that, is it judged by the pace of the points around.

    Returns:
        (m - 1,)
    """
    pause_ms = envelope.taken_at_ms[1:] - envelope.last_at_ms[:-1]
    single = envelope.readings == 1
    seldom = single[1:] & single[:-1]
    return np.where(seldom, find_holes(envelope.taken_at_ms), pause_ms > bucket_s * 1000).astype(np.bool_)
