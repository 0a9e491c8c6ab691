"""From points to a correction, and to the figures by which people know a good probe."""

import random
from math import inf, nan

import pytest
from lms_agent.calibration.fitting import UNCORRECTED, CalibrationError, Point, fit
from lms_agent.calibration.judging import Figures, doubts, figures


class Range:
    def __init__(self, minimum: float, maximum: float) -> None:
        self.minimum, self.maximum = minimum, maximum


def test_one_point_takes_the_difference_off():
    correction = fit([Point(7.2, 7.0)])
    assert correction.value(7.2) == pytest.approx(7.0)
    assert correction.value(4.2) == pytest.approx(4.0)


def test_two_points_make_a_straight_line():
    correction = fit([Point(4.2, 4.0), Point(7.1, 7.0)])
    assert correction.value(4.2) == pytest.approx(4.0)
    assert correction.value(7.1) == pytest.approx(7.0)
    assert correction.value(10.0) == pytest.approx(10.0)


def test_more_points_are_joined_one_by_one_and_the_outer_lines_go_on():
    correction = fit([Point(10.0, 10.0), Point(0.0, 0.0), Point(20.0, 30.0)])
    assert [correction.value(at) for at in (-5.0, 5.0, 10.0, 15.0, 25.0)] == [-5.0, 5.0, 10.0, 20.0, 40.0]


def test_readings_that_fall_while_references_rise_are_a_line_too():
    """An electrode in millivolts."""
    correction = fit([Point(177.0, 4.0), Point(0.0, 7.0), Point(-174.0, 10.0)])
    assert correction.value(0.0) == 7.0
    assert correction.value(88.5) == pytest.approx(5.5)
    assert correction.value(-87.0) == pytest.approx(8.5)


@pytest.mark.parametrize("seed", range(30))
def test_every_measured_point_becomes_its_reference(seed):
    chance = random.Random(seed)
    count = chance.randint(1, 8)
    measured = sorted(chance.sample(range(-1000, 1000), count))
    references = sorted(chance.sample(range(-1000, 1000), count), reverse=chance.random() < 0.5)
    points = [Point(float(m), float(r)) for m, r in zip(measured, references, strict=True)]
    shuffled = chance.sample(points, count)
    correction = fit(shuffled)
    for point in points:
        assert correction.value(point.measured) == pytest.approx(point.reference, abs=1e-6), f"seed {seed}"


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([], "at least one"),
        ([Point(4.0, 4.0), Point(7.0, 4.0)], "two references are both 4"),
        ([Point(7.0, 4.0), Point(7.0, 7.0)], "does not respond"),
        ([Point(4.0, 4.0), Point(7.0, 7.0), Point(8.0, 1.0)], "mistaken"),
        ([Point(nan, 4.0)], "no finite number"),
        ([Point(4.0, inf)], "no finite number"),
        ([Point(0.0, 0.0), Point(5e-324, 1e300)], "too near"),
    ],
)
def test_points_that_make_no_line_are_refused_with_words(points, words):
    with pytest.raises(CalibrationError, match=words):
        fit(points)


def test_uncorrected_is_as_it_was_read():
    assert UNCORRECTED.value(7.123456789) == 7.123456789


def test_slope_of_a_ph_probe_is_told_in_percent_of_nernst():
    assert figures([Point(4.15, 4.0), Point(7.0, 7.0)], nernst=True, unit="pH") == Figures(
        pytest.approx(95.0), pytest.approx(0.0)
    )


def test_slope_of_an_electrode_in_millivolts_knows_the_temperature():
    warm = [Point(3 * 59.159 * 0.9 * 310.15 / 298.15, 4.0), Point(0.0, 7.0)]
    assert figures(warm, nernst=True, unit="mV", temperature_c=37.0).slope_percent == pytest.approx(90.0)
    assert figures([Point(12.0, 7.0)], nernst=True, unit="mV") == Figures(None, 12.0)


def test_offset_is_what_it_shows_too_much_at_its_zero():
    assert figures([Point(4.1, 4.0), Point(7.1, 7.0)], nernst=True, unit="pH").offset == pytest.approx(0.1)
    assert figures([Point(2.0, 0.0), Point(97.0, 100.0)], nernst=False, unit="%") == Figures(pytest.approx(95.0), 2.0)
    assert figures([Point(99.0, 100.0)], nernst=False, unit="%") == Figures(None, -1.0)


def test_what_is_not_plausible_is_told_with_what_to_do():
    worn, fresh = Figures(79.0, 0.9), Figures(98.0, 0.1)
    slope, offset = Range(85.0, 105.0), Range(-0.5, 0.5)
    assert list(doubts(fresh, slope, offset, unit="pH", nernst=True)) == []
    of_slope, of_offset = doubts(worn, slope, offset, unit="pH", nernst=True)
    assert of_slope.startswith("the slope is 79.0 % of Nernst's slope, but 85 to 105 % is plausible: clean the probe")
    assert of_offset.startswith("the offset is +0.9 pH, but -0.5 to 0.5 is plausible")
    assert list(doubts(Figures(None, 0.9), slope, None, unit="pH", nernst=True)) == []
