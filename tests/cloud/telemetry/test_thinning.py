"""Breaks and thinning, beside a naive model: never too many points, extremes kept, no line across what is missing."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lms_cloud.telemetry.history.breaks import Gap, find_breaks, find_holes, rank, unrank
from lms_cloud.telemetry.history.thinning import most_breaks, thin

STEPS = st.sampled_from([1, 900, 1000, 1000, 1000, 1000, 1100, 7000, 60_000])
VALUES = st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0, 7.0, 7.0, 7.01, 1.7e308, -1.7e308, 5e-324])
READINGS = st.lists(
    st.tuples(STEPS, VALUES | st.floats(6, 8), st.sampled_from([192, 192, 192, 64, 0, 500])), min_size=1, max_size=150
)
GAPS = st.lists(st.tuples(st.integers(0, 200_000), st.none() | st.integers(1, 90_000)), max_size=6)


def naive_holes(times):
    """Whether each step is a hole, by the words of the documentation."""
    steps = [after - before for before, after in pairwise(times)]
    found = []
    for n, step in enumerate(steps):
        sides = (sorted(steps[max(0, n - 5) : n]), sorted(steps[n + 1 : n + 6]))
        usual = max((side[(len(side) - 1) // 2] for side in sides if side), default=0)
        found.append(bool(step > 5000 and usual > 0 and step > 5 * usual))
    return found


def missing_between(times, values, gaps):
    """Pairs of neighbouring drawable readings that no line may join: (time of the one, time of the other)."""
    solid = [n for n, value in enumerate(values) if math.isfinite(value)]
    holes = naive_holes(times)
    for before, after in pairwise(solid):
        in_gap = any(
            times[before] <= gap.began_at_ms and (gap.ended_at_ms is None or gap.ended_at_ms > times[before])
            for gap in gaps
            if gap.began_at_ms + 1 < times[before + 1]
        )
        # A gap that begins after its neighbour of readings began is another pair's.
        in_gap = in_gap and any(times[before] <= gap.began_at_ms < times[before + 1] - 1 for gap in gaps)
        if after > before + 1 or holes[before] or in_gap:
            yield times[before], times[after]


def test_a_step_is_a_hole_by_the_pace_around_it():
    times = np.array([0, 1, 2, 3, 40, 41, 42, 43, 53, 63, 73, 83, 93, 300], dtype=np.int64) * 1000
    assert find_holes(times).tolist() == [each in {3, 12} for each in range(13)]
    assert find_holes(np.array([0, 10**12], dtype=np.int64)).tolist() == [False]
    assert find_holes(np.array([0, 1, 2, 10**15], dtype=np.int64) * 1000).tolist() == [False, False, True]


@given(st.lists(STEPS, min_size=1, max_size=60))
def test_holes_are_those_of_the_naive_model(steps):
    times = np.cumsum(steps)
    assert find_holes(times).tolist() == naive_holes(times.tolist())


@given(READINGS, GAPS, st.integers(10, 60))
def test_thinned_readings_keep_what_must_be_seen(readings, gap_times, max_points):
    steps, values, qualities = zip(*readings, strict=True)
    times = np.cumsum(steps)
    value, quality = np.array(values), np.array(qualities, dtype=np.int16)
    gaps = [Gap(at, None if length is None else at + length) for at, length in gap_times]
    finite = np.isfinite(value)
    breaks = find_breaks(times, finite, gaps, holes=find_holes(times))
    thinned = thin(times, value, quality, breaks, max_points)

    assert len(thinned.at_ms) <= max_points
    assert (np.diff(thinned.at_ms) > 0).all()
    chosen = thinned.position[thinned.position >= 0]
    assert np.isfinite(value[chosen]).all()
    if finite.any():
        assert (value[chosen].min(), value[chosen].max()) == (value[finite].min(), value[finite].max())
    assert rank(thinned.worst).min() == min(rank(quality).min(), rank(thinned.worst).min())
    assert rank(thinned.worst).min() <= rank(quality).min()

    is_point = thinned.position >= 0
    assert (thinned.at_ms[is_point] == times[chosen]).all()
    assert (thinned.quality[is_point] == quality[chosen]).all()
    assert (rank(thinned.worst) <= rank(thinned.quality)).all()
    drawn = [
        (int(thinned.at_ms[n]), int(thinned.at_ms[n + 1]))
        for n in range(len(is_point) - 1)
        if is_point[n : n + 2].all()
    ]
    span = int(times[-1] - times[0])
    for began, ended in missing_between(times.tolist(), values, gaps):
        if (ended - began) * (most_breaks(max_points) + 1) > span:
            assert not [line for line in drawn if line[0] <= began and ended <= line[1]]


@given(st.lists(st.sampled_from([0, 5, 64, 100, 192, 500]), min_size=1))
def test_stale_is_worse_than_uncertain_and_better_than_bad(qualities):
    worst = unrank(rank(np.array(qualities, dtype=np.int16)).min(keepdims=True))[0]
    order = [0, 5, 500, 64, 100, 192]
    assert worst == min(qualities, key=order.index)


def test_open_gap_breaks_the_line_after_the_last_reading():
    times, value = np.arange(100) * 1000, np.full(100, 7.0)
    breaks = find_breaks(times, np.isfinite(value), [Gap(99_000, None)])
    thinned = thin(times, value, np.full(100, 192, dtype=np.int16), breaks, 20)
    assert (thinned.at_ms[-1], thinned.position[-1], thinned.quality[-1]) == (99_001, -1, 0)


def test_no_line_leads_into_a_gap_with_a_reading_in_it_before_one_without_a_value():
    times, value = np.array([1, 901, 902]), np.array([7.0, 7.0, math.nan])
    breaks = find_breaks(times, np.isfinite(value), [Gap(1, None)])
    assert (breaks.after.tolist(), breaks.at_ms.tolist()) == ([0], [2])
    breaks = find_breaks(times[:2], np.isfinite(value[:2]), [Gap(950, 960)])
    assert not len(breaks.after)


@pytest.mark.parametrize("seed", range(40))
def test_each_reading_counts_in_the_worst_of_the_point_it_lies_behind(seed):
    """Many short stretches and few points: most stretches keep only their extremes, and have to tell of all the rest.

    A reading counts in the last point not after it, or where a break stands there for no reading, in the next one.
    """
    rng = np.random.default_rng(seed)
    count = int(rng.integers(20, 300))
    times = np.cumsum(rng.choice([1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 90_000], count))
    value = np.where(rng.random(count) < 0.03, np.nan, rng.normal(7, 0.1, count))
    quality = rng.choice([192, 192, 192, 192, 64, 500, 0], count).astype(np.int16)
    breaks = find_breaks(times, np.isfinite(value), [], holes=find_holes(times))
    thinned = thin(times, value, quality, breaks, int(rng.integers(10, 60)))
    held: list[list[int]] = [[] for _ in thinned.at_ms]
    for at_ms, rated in zip(times.tolist(), rank(quality).tolist(), strict=True):
        point = max(0, int(np.searchsorted(thinned.at_ms, at_ms, side="right")) - 1)
        is_empty_break = thinned.position[point] < 0 and thinned.at_ms[point] not in times
        held[min(point + is_empty_break, len(held) - 1)].append(rated)
    assert rank(thinned.worst).tolist() == [min(each, default=0) for each in held]


def test_readings_without_any_value_are_one_break():
    times = np.arange(100) * 1000
    nothing = find_breaks(times, np.zeros(100, dtype=bool), [])
    thinned = thin(times, np.full(100, np.nan), np.full(100, 500, dtype=np.int16), nothing, 20)
    assert (thinned.position.tolist(), thinned.quality.tolist()) == ([-1], [500])
