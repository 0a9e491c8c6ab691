"""The calibrations of a running agent: on the disk, then in force, then told."""

import json
from types import SimpleNamespace

import pytest
from lms_agent.calibration import store
from lms_agent.calibration.fitting import CalibrationError
from lms_agent.calibration.keeping import NO_TIME, CalibrationKeeping
from lms_agent.calibration.making import Wish
from lms_agent.calibration.record import EVENT_TAG, Measured
from lms_agent.calibration.store import StoreUnavailable, load
from lms_agent.timekeeping.discipline import Trust
from lms_protocol.reading import Reading

NOW = 1_800_000_000_000
WISH = Wish("R1", "pH/PV", (Measured("mid", 7.0, 7.1, 9, 0.0, True),), "Ada", "weekly")


class Recorder:
    """Takes scans, and follows calibrations, in the order in which they come."""

    def __init__(self, log) -> None:
        self.log, self.seen = log, []

    async def take(self, scan):
        assert load(self.log).history, "told before it was on the disk"
        self.seen.append(("told", scan))

    def follow(self, calibrations):
        assert load(self.log).history == calibrations.history, "in force before it was on the disk"
        self.seen.append(("in force", calibrations))


@pytest.fixture
def recorder(settings):
    return Recorder(settings.agent.log)


@pytest.fixture
def clock():
    return SimpleNamespace(
        wall_ms=lambda: NOW, stamps=SimpleNamespace(wall_ms=lambda: NOW - 5), state=SimpleNamespace(trust=Trust.TRUSTED)
    )


@pytest.fixture
def keeping(settings, recorder, clock):
    kept = CalibrationKeeping(settings.agent.log, recorder, clock)
    kept.follow(settings, recorder, {("R1", EVENT_TAG): 9})
    return kept


async def test_calibration_is_on_the_disk_then_in_force_then_told(keeping, recorder):
    made = await keeping.keep(WISH, "ada")
    (first, calibrations), (second, scan) = recorder.seen
    assert (first, calibrations.history) == ("in force", (made,))
    assert (second, scan.device, scan.readings) == ("told", "R1", (Reading(9, NOW - 5, made.to_text()),))
    assert (made.at_ms, made.account, made.doubts) == (NOW, "ada", ())
    assert keeping.state() == {"overdue": [], "in_doubt": [], "error": ""}


@pytest.mark.parametrize("trust", [Trust.WAITING, Trust.WRONG])
async def test_clock_that_is_not_known_to_be_right_is_remarked(keeping, clock, trust):
    clock.state.trust = trust
    assert (await keeping.keep(WISH, "ada")).doubts == (NO_TIME,)


async def test_disk_that_refuses_changes_nothing(keeping, recorder, monkeypatch):
    def refuse(*_):
        raise StoreUnavailable(store.store_path(recorder.log), "no space left")

    monkeypatch.setattr(store, "append", refuse)
    with pytest.raises(StoreUnavailable, match="no space left"):
        await keeping.keep(WISH, "ada")
    assert recorder.seen == []
    assert keeping.held.history == ()


async def test_only_what_the_log_does_not_have_is_told_at_the_start(keeping, recorder):
    made = [await keeping.keep(WISH, "ada") for _ in range(3)]
    recorder.seen.clear()
    await keeping.tell_untold({9: Reading(9, 0, made[1].to_text())})
    assert [json.loads(scan.readings[0].value)["number"] for _, scan in recorder.seen] == [3]
    recorder.seen.clear()
    await keeping.tell_untold({})
    assert len(recorder.seen) == 3, "a new log is told all"


async def test_file_that_cannot_be_read_puts_every_tag_in_doubt(keeping, settings):
    store.store_path(settings.agent.log).mkdir()
    await keeping.load()
    assert "cannot be used" in keeping.trouble
    assert keeping.held.in_doubt("R1", "pH/PV")
    assert keeping.state()["in_doubt"] == ["pH/PV of R1"]


async def test_tag_that_is_not_calibrated_is_refused(keeping):
    with pytest.raises(CalibrationError, match="cannot be calibrated"):
        await keeping.keep(Wish("R1", "pH/Temp", WISH.points, "Ada", "weekly"), "ada")
