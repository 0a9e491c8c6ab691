"""The steps of a calibration: what is waited for, what may be said when, and what comes of it."""

import random

import pytest
from lms_agent.calibration.fitting import CalibrationError
from lms_agent.calibration.session import Session, State, chosen_of
from lms_protocol.instruments.calibration import Procedure
from lms_protocol.reading import Quality

PROCEDURE = Procedure.model_validate(
    {
        "source": "practice",
        "kind": "agent",
        "nernst": True,
        "stability": {"window_s": 10.0, "drift_per_min": 0.1, "patience_s": 60.0},
        "reference": [
            {"name": "mid", "value": 7.0, "minimum": 6.0, "maximum": 8.0},
            {"name": "low", "value": 4.0, "minimum": 3.0, "maximum": 5.0},
        ],
    }
)


def session(*names):
    return Session(PROCEDURE, [chosen_of(PROCEDURE, name) for name in names or ("mid", "low")])


def settle(one, value, seconds=20, from_s=0, quality=Quality.GOOD, drift=0.0):
    state = one.state
    for second in range(from_s, from_s + seconds):
        state = one.take(1000 * second, value + drift * second / 60, quality)
    return state


def test_two_references_one_after_the_other():
    one = session()
    assert (one.state, one.now.value) == (State.PLACE, 7.0)
    one.placed()
    assert settle(one, 7.05, seconds=9) is State.SETTLE
    assert settle(one, 7.05, from_s=9) is State.STEADY
    assert one.accept() == one.measured[0]
    assert (one.state, one.now.reference.name) == (State.PLACE, "low")
    one.placed()
    assert settle(one, 4.2, from_s=60) is State.STEADY
    one.accept()
    assert one.state is State.DONE
    assert [(point.name, point.reference, point.measured, point.stable) for point in one.measured] == [
        ("mid", 7.0, pytest.approx(7.05), True),
        ("low", 4.0, pytest.approx(4.2), True),
    ]


def test_readings_of_the_way_between_two_references_do_not_count():
    one = session()
    one.placed()
    settle(one, 7.0)
    one.accept()
    assert settle(one, 5.5, from_s=20) is State.PLACE
    one.placed()
    assert settle(one, 4.0, from_s=40) is State.STEADY
    assert one.accept().measured == 4.0


def test_patience_ends_and_what_was_read_can_be_taken_as_it_is():
    one = session()
    one.placed()
    assert settle(one, 7.0, seconds=70, drift=1.0) is State.TIRED
    point = one.accept()
    assert not point.stable
    assert point.drift_per_min == pytest.approx(1.0)


def test_steady_reading_that_drifts_again_is_waited_for_again():
    one = session()
    one.placed()
    assert settle(one, 7.0) is State.STEADY
    assert settle(one, 7.0, from_s=20, seconds=10, drift=2.0) is State.SETTLE


@pytest.mark.parametrize(
    "bad", [(None, Quality.BAD), (7.0, Quality.BAD), (float("nan"), Quality.UNCERTAIN), (True, Quality.GOOD)]
)
def test_reading_that_is_none_begins_the_window_anew(bad):
    one = session()
    one.placed()
    settle(one, 7.0, seconds=12)
    one.take(12_000, *bad)
    assert one.held is None
    assert one.state is State.SETTLE
    with pytest.raises(CalibrationError, match="nothing was read"):
        one.accept()


def test_doubtful_reading_counts_as_it_is_what_the_instrument_shows():
    """A sensor that asks to be calibrated flags its values."""
    one = session()
    one.placed()
    assert settle(one, 7.0, quality=Quality.UNCERTAIN) is State.STEADY


def test_reference_can_be_left_out_but_not_all():
    one = session()
    with pytest.raises(CalibrationError, match="not now"):
        one.accept()
    one.placed()
    settle(one, 7.0)
    one.accept()
    one.skip()
    assert one.state is State.DONE
    with pytest.raises(CalibrationError, match="at least one"):
        session("low").skip()


def test_what_is_chosen_is_checked():
    with pytest.raises(CalibrationError, match="at least one reference"):
        Session(PROCEDURE, [])
    with pytest.raises(CalibrationError, match="once"):
        session("mid", "mid")
    with pytest.raises(CalibrationError, match="no reference 'high'; there are mid, low"):
        chosen_of(PROCEDURE, "high")
    with pytest.raises(CalibrationError, match="mid cannot be 9: it lies between 6 and 8"):
        chosen_of(PROCEDURE, "mid", 9.0)
    assert chosen_of(PROCEDURE, "MID", 7.01).value == 7.01


@pytest.mark.parametrize("seed", range(50))
def test_whatever_comes_in_whatever_order_only_measured_values_come_out(seed):
    chance = random.Random(seed)
    one, at_s, read = session(), 0, set()
    while one.state is not State.DONE and at_s < 3000:
        at_s += chance.randint(0, 3)
        act = chance.random()
        try:
            if act < 0.02:
                one.placed()
            elif act < 0.03:
                one.accept()
            elif act < 0.032:
                one.skip()
            else:
                value = chance.choice([7.0, 7.0, 7.0, 4.0, None])
                one.take(1000 * at_s, value, Quality.BAD if value is None else Quality.GOOD)
                read.add(value)
        except CalibrationError:
            continue
    names = [point.name for point in one.measured]
    assert names == [name for name in ("mid", "low") if name in names], f"seed {seed}"
    assert all(4.0 <= point.measured <= 7.0 and point.readings for point in one.measured), f"seed {seed}"
