"""What is overdue or in doubt is found, and told by doctor with the remedy."""

from dataclasses import replace

import pytest
from lms_agent.calibration import store
from lms_agent.calibration.making import Wish, maker
from lms_agent.calibration.record import DAY_MS, Measured
from lms_agent.calibration.standing import standings
from lms_agent.doctor.calibrations import calibrations
from lms_agent.doctor.finding import State

NOW = 1_800_000_000_000


@pytest.fixture
def kept(settings):
    wish = Wish("R1", "pH/PV", (Measured("mid", 7.0, 7.1, 9, 0.0, True),), "Ada", "weekly")
    made, _ = store.append(settings.agent.log, maker(settings, wish, now_ms=NOW, account="ada"))
    return made


def states(settings, now_ms):
    return [(one.state, one.found) for one in calibrations(settings, now_ms)]


def test_what_was_never_calibrated_is_not_due(settings):
    (one,) = standings(settings, store.load(settings.agent.log), NOW)
    assert (one.newest, one.overdue, one.in_doubt, one.name) == (None, False, False, "pH/PV of R1")
    assert states(settings, NOW) == [(State.GOOD, "none overdue; 0 of 1 that can be calibrated here were")]


def test_due_date_comes_from_the_procedure(settings, kept):
    assert kept.due_at_ms == NOW + 14 * DAY_MS
    assert states(settings, NOW + 14 * DAY_MS - 1)[0][0] is State.GOOD
    (finding,) = calibrations(settings, NOW + 14 * DAY_MS)
    assert (finding.state, finding.found, finding.remedy) == (
        State.NOTE,
        "pH/PV of R1 is overdue",
        "`lms-agent calibrate pH/PV`",
    )


def test_damage_is_told_as_a_doubt_with_its_remedy(settings, kept):
    path = store.store_path(settings.agent.log)
    path.write_bytes(path.read_bytes().replace(b"Ada", b"Bob"))
    (finding,) = calibrations(settings, NOW)
    assert finding.state is State.BAD
    assert finding.found.startswith("pH/PV of R1 is in doubt")


def test_newer_calibration_ends_what_was_due(settings, kept):
    later = NOW + 20 * DAY_MS
    store.append(
        settings.agent.log,
        lambda before: replace(kept, number=before.next_number, at_ms=later, due_at_ms=later + DAY_MS),
    )
    assert states(settings, later)[0][0] is State.GOOD
