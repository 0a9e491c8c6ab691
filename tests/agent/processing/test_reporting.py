"""What is held back says nothing new: from what is logged everything else is known to within the dead band."""

import random
from itertools import pairwise
from math import inf, nan

import pytest
from lms_agent.processing.reporting import ByException
from lms_protocol.reading import Quality, Reading


def offer_all(by_exception, *values, every_ms=1000):
    """When each logged reading was taken, ms, of values at a steady pace."""
    offered = [by_exception.offer(Reading(1, at * every_ms, value)) for at, value in enumerate(values)]
    return [reading.taken_at_ms for due in offered for reading in due]


def test_value_that_stands_still_is_logged_once_in_a_heartbeat():
    assert offer_all(ByException(0.0, 4.0, 1.0), *[7.0] * 10) == [0, 4000, 8000]


def test_reading_before_a_change_is_logged_with_it():
    assert offer_all(ByException(0.1, 4.0, 1.0), 7.0, 7.05, 7.02, 7.2) == [0, 2000, 3000]


def test_slow_drift_is_logged_when_it_leaves_the_dead_band():
    values = [7.0 + 0.03 * step for step in range(9)]
    assert offer_all(ByException(0.1, 100.0, 1.0), *values) == [0, 3000, 4000, 7000, 8000]


def test_change_of_quality_is_logged():
    by_exception = ByException(10.0, 4.0, 1.0)
    by_exception.offer(Reading(1, 0, 7.0))
    doubtful = Reading(1, 1000, 7.0, Quality.UNCERTAIN)
    assert by_exception.offer(doubtful) == [doubtful]


def test_reading_without_a_value_and_the_first_after_it_are_logged():
    assert offer_all(ByException(10.0, 4.0, 1.0), 7.0, None, 7.0, 7.0) == [0, 1000, 2000]


@pytest.mark.parametrize(
    ("values", "logged"),
    [((nan, nan, 7.0), [0, 1000, 2000]), ((inf, inf, -inf), [0, 1000, 2000]), ((7.0, nan, nan), [0, 1000])],
)
def test_what_is_no_finite_number_is_as_far_from_others_as_can_be(values, logged):
    assert offer_all(ByException(1.0, 4.0, 1.0), *values) == logged


@pytest.mark.parametrize("values", [(False, False, True), ("N2", "N2", "O2"), (2**60, 2**60, 2**60 + 1)])
def test_any_kind_of_value_is_logged_when_it_changes(values):
    assert offer_all(ByException(0.0, 4.0, 1.0), *values) == [0, 1000, 2000]


def test_instrument_that_is_read_more_seldom_than_the_heartbeat_is_logged_at_each_scan():
    assert offer_all(ByException(1.0, 12.0, 60.0), *[7.0] * 3, every_ms=60_000) == [0, 60_000, 120_000]


def test_scan_that_comes_a_little_late_makes_the_one_before_it_no_heartbeat():
    by_exception = ByException(1.0, 4.0, 1.0)
    times = (0, 1004, 2001, 3003, 4002)
    assert [at for at in times if by_exception.offer(Reading(1, at, 7.0))] == [0, 4002]


def test_after_a_loss_the_next_reading_is_logged():
    by_exception = ByException(1.0, 4.0, 1.0)
    by_exception.offer(Reading(1, 0, 7.0))
    by_exception.forget()
    assert by_exception.offer(Reading(1, 1000, 7.0)) == [Reading(1, 1000, 7.0)]


@pytest.mark.parametrize("seed", range(50))
def test_everything_is_known_to_within_the_dead_band_and_no_older_than_the_heartbeat(seed):
    chance = random.Random(seed)
    dead_band, heartbeat_s, period_s = (
        chance.choice([0.0, 0.05, 1.0]),
        chance.uniform(0.5, 4.0),
        chance.uniform(0.05, 1.0),
    )
    by_exception, value, at_ms, taken, logged = ByException(dead_band, heartbeat_s, period_s), 7.0, 0, [], []
    for _ in range(500):
        value += chance.choice([0.0, 0.0, chance.gauss(0, 0.1)])
        at_ms += round(1000 * period_s)
        taken.append(Reading(1, at_ms, value))
        logged += by_exception.offer(taken[-1])
    logged += by_exception.held_back()
    assert [reading.taken_at_ms for reading in logged] == sorted({reading.taken_at_ms for reading in logged})
    assert set(logged) <= set(taken), "nothing is made up"
    assert logged[-1] == taken[-1]
    last = logged[0]
    ahead = iter(logged[1:])
    upcoming = next(ahead, None)
    for reading in taken:
        if upcoming is not None and reading == upcoming:
            last, upcoming = upcoming, next(ahead, None)
        assert abs(reading.value - last.value) <= dead_band, f"seed {seed}"
    longest_ms = max(1000 * heartbeat_s, 1000 * period_s)
    assert all(b.taken_at_ms - a.taken_at_ms <= longest_ms * 1.06 + 1 for a, b in pairwise(logged)), f"seed {seed}"
