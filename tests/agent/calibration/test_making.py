"""A calibration is checked by who keeps it: its tag, its points, its figures, and who says that they are good."""

from dataclasses import replace

import pytest
from lms_agent.calibration.fitting import CalibrationError
from lms_agent.calibration.making import NotPlausible, Wish, maker
from lms_agent.calibration.record import Calibration, Measured
from lms_agent.calibration.store import Calibrations
from support.one_reactor import settings_of

TEXT = """
[[bus]]
id = "line"
kind = "modbus-rtu"
port = "/dev/ttyUSB0"
baud = 38400
[[bus]]
id = "arc"
kind = "modbus-rtu"
port = "/dev/ttyUSB1"
[[instrument]]
id = "transmitter"
bus = "line"
bioreactor = "R1"
[[instrument.point]]
tag = "pH/PV"
address = 100
kind = "float32"
unit = "pH"
[instrument.point.calibration]
source = "practice"
kind = "agent"
nernst = true
due_days = 30.0
slope_percent = { minimum = 85.0, maximum = 105.0 }
offset = { minimum = -0.7, maximum = 0.7 }
stability = { window_s = 30.0, drift_per_min = 0.05 }
reference = [
    { name = "mid", value = 7.0, minimum = 6.0, maximum = 8.0 },
    { name = "low", value = 4.0, minimum = 1.0, maximum = 6.0 },
]
[[instrument.point]]
tag = "Temp/PV"
address = 102
kind = "float32"
[[instrument]]
id = "arc-ph"
profile = "hamilton-arc-ph"
bus = "arc"
bioreactor = "R1"
[[instrument.point]]
point = "pH"
tag = "pH2/PV"
"""
GOOD = Wish(
    "R1", "pH/PV", (Measured("mid", 7.0, 7.1, 30, 0.0, True), Measured("low", 4.0, 4.2, 30, 0.0, True)), "Ada", "weekly"
)
NOW = 1_800_000_000_000


@pytest.fixture
def settings(tmp_path):
    return settings_of(tmp_path, TEXT)


@pytest.fixture
def make(settings):
    def _make(wish, *history):
        return maker(settings, wish, now_ms=NOW, account="ada")(Calibrations(history))

    return _make


def test_two_points_make_a_calibration_with_its_figures(make):
    made = make(GOOD)
    assert (made.number, made.instrument, made.kind, made.unit) == (1, "transmitter", "agent", "pH")
    assert made.correction.value(7.1) == pytest.approx(7.0)
    assert made.correction.value(4.2) == pytest.approx(4.0)
    assert (made.slope, made.offset) == (pytest.approx(3 / 2.9), pytest.approx(7.0 - 7.1 * 3 / 2.9))
    assert (made.slope_percent, made.zero) == (pytest.approx(96.67, abs=0.01), pytest.approx(0.1))
    assert (made.by, made.why, made.account, made.doubts) == ("Ada", "weekly", "ada", ())
    assert made.due_at_ms == NOW + 30 * 86_400_000
    assert Calibration.from_json(made.to_json()) == made


def test_what_is_not_plausible_is_kept_only_if_somebody_says_so(make):
    worn = replace(GOOD, points=(GOOD.points[0], Measured("low", 4.0, 5.0, 30, 0.3, False)))
    with pytest.raises(NotPlausible) as refused:
        make(worn)
    slope, drift = refused.value.doubts
    assert slope.startswith("the slope is 70.0 % of Nernst's slope")
    assert drift == "low was still drifting by +0.3 pH a minute"
    assert make(replace(worn, accepted=True)).doubts == (slope, drift)


def test_points_that_make_no_line_are_refused_whatever_is_accepted(make):
    with pytest.raises(CalibrationError, match="does not respond"):
        make(replace(GOOD, accepted=True, points=(GOOD.points[0], Measured("low", 4.0, 7.1, 30, 0.0, True))))


def test_no_points_are_the_way_back_to_uncorrected_readings(make):
    made = make(replace(GOOD, points=()), make(GOOD))
    assert (made.number, made.correction.value(7.1), made.slope_percent) == (2, 7.1, None)
    with pytest.raises(CalibrationError, match="arc-ph keeps its calibration itself"):
        make(replace(GOOD, tag="pH2/PV", points=()))


def test_instrument_that_adjusts_itself_is_judged_by_what_it_showed_too_much(make):
    adjusted = replace(
        GOOD, tag="pH2/PV", points=(Measured("CP1", 4.01, 4.1, 9, 0.0, True), Measured("CP2", 7.0, 6.8, 9, 0.0, True))
    )
    made = make(adjusted)
    assert (made.kind, made.slope_percent, made.zero) == ("instrument", None, pytest.approx(-0.2))
    assert (made.slope, made.offset, made.correction.value(6.8)) == (1.0, 0.0, 6.8)
    with pytest.raises(NotPlausible, match=r"the offset is -0\.8 pH"):
        make(replace(adjusted, points=(Measured("CP1", 4.0, 3.2, 9, 0.0, True),)))


def test_slope_that_an_instrument_says_is_judged_like_a_measured_one(make):
    told = replace(GOOD, tag="pH2/PV", slope_percent=78.5)
    with pytest.raises(NotPlausible, match=r"the slope is 78\.5 % of Nernst's slope"):
        make(told)
    assert make(replace(told, accepted=True)).slope_percent == 78.5
    assert make(replace(told, slope_percent=98.0)).slope_percent == 98.0


def test_only_what_has_a_procedure_can_be_calibrated(make):
    for tag in ("Temp/PV", "Nothing/PV"):
        with pytest.raises(
            CalibrationError, match=f"{tag} of R1 cannot be calibrated; what can is pH/PV of R1, pH2/PV of R1"
        ):
            make(replace(GOOD, tag=tag))


@pytest.mark.parametrize(
    "changes",
    [
        {"by": " "},
        {"why": None},
        {"tag": "pH/PV\n"},
        {"points": None},
        {"slope_percent": "steep"},
        {"slope_percent": float("inf")},
        {"remarks": ["\x1b[2J"]},
        {"points": [{"name": "mid"}]},
        {"points": [GOOD.points[0]._asdict() | {"measured": "seven"}]},
        {"points": [GOOD.points[0]._asdict() | {"name": "\x1b[2J"}]},
        {"points": [GOOD.points[0]._asdict()] * 21},
    ],
)
def test_wish_that_is_none_is_refused_with_words(changes):
    with pytest.raises(CalibrationError, match=r"\w"):
        Wish.from_json(GOOD.to_json() | changes)
    assert Wish.from_json(GOOD.to_json()) == GOOD


def test_infinite_value_is_refused(make):
    with pytest.raises(CalibrationError, match="no finite number"):
        make(replace(GOOD, points=(Measured("mid", 7.0, float("inf"), 1, 0.0, True),)))
