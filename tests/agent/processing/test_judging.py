"""What is not plausible beside the values before it is kept and flagged."""

import pytest
from lms_agent.processing.judging import Judging
from lms_protocol.reading import Quality, Reading


def judged(judging, *values, every_ms=1000):
    """The qualities of values taken at a steady pace."""
    return [
        judging.judge(Reading(1, at * every_ms, value)).quality.name for at, value in enumerate(values) if value != "-"
    ]


def test_spike_is_flagged_and_the_return_from_it_is_not():
    assert judged(Judging(max_rate_per_s=0.5), 7.0, 7.1, 9.0, 7.2, 7.3) == ["GOOD", "GOOD", "UNCERTAIN", "GOOD", "GOOD"]


def test_step_that_lasts_becomes_plausible_once_the_process_could_have_come_so_far():
    assert judged(Judging(max_rate_per_s=1.0), 7.0, 9.5, 9.5, 9.5, 9.6) == ["GOOD", "UNCERTAIN", "UNCERTAIN"] + 2 * [
        "GOOD"
    ]


def test_change_over_a_pause_is_judged_by_all_of_the_pause():
    assert judged(Judging(max_rate_per_s=0.5), 7.0, "-", "-", "-", 8.9) == ["GOOD", "GOOD"]


def test_value_that_the_instrument_flags_is_no_measure_for_those_after_it():
    judging = Judging(max_rate_per_s=0.5)
    judging.judge(Reading(1, 0, 7.0))
    assert judging.judge(Reading(1, 100_000, 14.9, Quality.UNCERTAIN)).quality is Quality.UNCERTAIN
    assert judging.judge(Reading(1, 101_000, 7.1)).quality is Quality.GOOD


def test_value_that_stands_still_is_doubtful_until_it_moves():
    assert judged(Judging(stuck_after_s=3.0), 7.0, 7.0, 7.0, 7.0, 7.0, 7.01) == 3 * ["GOOD"] + 2 * ["UNCERTAIN"] + [
        "GOOD"
    ]


def test_two_readings_of_one_millisecond_are_no_division_by_zero():
    assert judged(Judging(max_rate_per_s=0.5), 7.0, 9.0, every_ms=0) == ["GOOD", "UNCERTAIN"]


@pytest.mark.parametrize("value", [None, True, "N2"])
def test_what_is_no_number_is_not_judged(value):
    assert judged(Judging(max_rate_per_s=1e-9, stuck_after_s=1e-9), *[value] * 3) == ["GOOD"] * 3


def test_value_is_kept_as_it_was_read():
    reading = Judging(max_rate_per_s=0.5).judge(Reading(1, 5, 9.0, Quality.BAD))
    assert reading == Reading(1, 5, 9.0, Quality.BAD)
