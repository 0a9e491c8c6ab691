"""A reading is stable when it has drifted no faster than allowed over a whole window."""

import random

import pytest
from lms_agent.calibration.stability import Stability


def settle(stability, readings, every_ms=1000, from_ms=0):
    return [
        (stability.take(from_ms + at * every_ms, value), stability.is_stable)[1] for at, value in enumerate(readings)
    ]


def test_steady_reading_is_stable_after_the_window_and_not_before():
    stable = settle(Stability(10.0, 0.1), [7.0] * 15)
    assert stable.index(True) == 10
    assert all(stable[10:])


def test_drifting_reading_is_not_stable():
    assert not any(settle(Stability(10.0, 0.1), [7.0 + 0.2 * second / 60 for second in range(60)]))
    assert settle(Stability(10.0, 0.1), [7.0 + 0.05 * second / 60 for second in range(60)])[-1]


def test_probe_that_settles_becomes_stable():
    stable = settle(Stability(20.0, 0.02), [7.0 - 2.0 * 0.9**second for second in range(200)])
    assert not stable[20]
    assert stable[-1]


def test_noise_is_no_drift():
    chance = random.Random(3)
    stability = Stability(60.0, 0.1)
    stable = settle(stability, [7.0 + chance.gauss(0, 0.02) for _ in range(200)])
    assert sum(stable[61:]) > 100
    assert stability.held.mean == pytest.approx(7.0, abs=0.02)


def test_few_readings_say_nothing():
    assert not any(settle(Stability(10.0, 0.1), [7.0] * 3, every_ms=5000))


def test_moved_probe_begins_anew():
    stability = Stability(10.0, 0.1)
    settle(stability, [7.0] * 12)
    stability.forget()
    assert not stability.is_stable
    assert stability.held is None
    assert settle(stability, [4.0] * 12, from_ms=60_000)[-1]


def test_reading_that_is_no_newer_counts_once():
    stability = Stability(1.0, 0.1)
    for _ in range(10):
        stability.take(1000, 7.0)
    assert stability.held.readings == 1
    assert not stability.is_stable


def test_slow_instrument_is_judged_by_the_same_window():
    assert settle(Stability(60.0, 0.1), [7.0] * 12, every_ms=9000).index(True) == 7


def test_instrument_that_is_slower_than_the_window_is_judged_by_four_readings():
    assert settle(Stability(10.0, 0.1), [7.0] * 6, every_ms=15_000).index(True) == 3
