"""Calibrations are there for years: what was confirmed is kept, what is damaged is known to be."""

import os
import random
from contextlib import suppress
from dataclasses import replace
from multiprocessing import get_context

import pytest
from lms_agent.calibration import store
from lms_agent.calibration.adjusting import BEGUN, WITHDRAWN, Adjusting
from lms_agent.calibration.record import Calibration, Measured
from lms_agent.calibration.store import Calibrations, StoreUnavailable, append, begin, load, noted, store_path, withdraw
from lms_protocol.errors import LmsError

PH = Calibration(
    number=1,
    bioreactor="R1",
    tag="pH/PV",
    unit="pH",
    instrument="ph-probe",
    kind="agent",
    at_ms=1_800_000_000_000,
    points=(Measured("low", 4.0, 4.1, 12, 0.01, True), Measured("mid", 7.0, 7.05, 12, -0.02, True)),
    slope=1.0169,
    offset=-0.17,
    slope_percent=98.3,
    zero=0.05,
    by="Ada",
    why="weekly Ω",
    account="ada",
    doubts=("the offset is +0.9 pH",),
    due_at_ms=1_800_600_000_000,
)

CP1 = Adjusting(BEGUN, "R1", "pH/PV", "CP1", 4.01, 1_800_000_000_000, "ada")


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log.sqlite3"


def keep(log, **changes):
    return append(log, lambda before: replace(PH, number=before.next_number, **changes))


def test_what_was_appended_is_there_again_to_the_last_digit(log):
    made, after = keep(log, slope=0.1 + 0.2)
    assert load(log).history == after.history == (made,)
    assert made.slope == 0.1 + 0.2


def test_no_file_is_no_calibration(log):
    assert load(log).history == ()
    assert load(log).newest("R1", "pH/PV") is None


def test_newest_of_each_tag_holds_and_numbers_go_on(log):
    for changes in ({}, {"tag": "DO/PV"}, {"by": "Bo"}, {"bioreactor": "R2"}):
        keep(log, **changes)
    held = load(log)
    assert [one.number for one in held.history] == [1, 2, 3, 4]
    assert held.newest("R1", "pH/PV").by == "Bo"
    assert held.newest("R2", "pH/PV").number == 4


def test_torn_last_line_was_never_confirmed_and_gives_way(log):
    keep(log)
    whole = store_path(log).read_bytes()
    for length in range(1, len(whole)):
        store_path(log).write_bytes(whole + whole[: len(whole) - length])
        held = load(log)
        if length == 1:  # but for its line end it is whole
            assert [one.number for one in held.history] == [1, 1]
            continue
        assert (len(held.history), held.damaged) == (1, ()), length
        made, after = keep(log, by="next")
        assert (made.number, [one.by for one in after.history]) == (2, ["Ada", "next"])
        assert load(log) == after


@pytest.mark.parametrize("seed", range(40))
def test_no_flipped_bit_goes_unnoticed(log, seed):
    chance = random.Random(seed)
    for tag in ("pH/PV", "DO/PV", "pH/PV"):
        keep(log, tag=tag)
    good = load(log)
    data = bytearray(store_path(log).read_bytes())
    at = chance.randrange(len(data))
    data[at] ^= 1 << chance.randrange(8)
    store_path(log).write_bytes(data)
    held = load(log)
    lost = set(good.history) - set(held.history)
    assert set(held.history) <= set(good.history), "nothing is altered"
    if lost or held.damaged:
        assert held.damaged or at >= len(data) - 1, f"seed {seed}: {lost} lost in silence"
    for tag in ("pH/PV", "DO/PV"):
        if held.newest("R1", tag) != good.newest("R1", tag):
            assert held.in_doubt("R1", tag), f"seed {seed}"


def test_calibrating_again_ends_the_doubt_and_gives_no_number_twice(log):
    keep(log)
    keep(log, tag="DO/PV")
    lines = store_path(log).read_bytes().splitlines(keepends=True)
    store_path(log).write_bytes(lines[0] + lines[1].replace(b"DO", b"D0"))
    held = load(log)
    assert held.damaged == (2,)
    assert held.in_doubt("R1", "pH/PV")
    assert held.in_doubt("R1", "DO/PV")
    made, after = keep(log)
    assert made.number == 3
    assert not after.in_doubt("R1", "pH/PV")
    assert after.in_doubt("R1", "DO/PV")


def test_nothing_is_written_if_it_cannot_be_made(log):
    keep(log)
    before = store_path(log).read_bytes()

    def refuse(_):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        append(log, refuse)
    assert store_path(log).read_bytes() == before


def test_full_disk_leaves_the_file_as_it_was(log, monkeypatch):
    keep(log)
    before = store_path(log).read_bytes()

    def full(descriptor, data):
        os.pwrite(descriptor, data[:10], len(before))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.os, "write", full)
    with pytest.raises(StoreUnavailable, match="No space left"):
        keep(log)
    assert store_path(log).read_bytes() == before


def test_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StoreUnavailable, match=r"no-such.*log.sqlite3.calibrations.*No such file"):
        keep(tmp_path / "no-such" / "log.sqlite3")


def keep_many(log, by, count):
    for _ in range(count):
        keep(log, by=by)


def test_programs_that_append_at_once_give_no_number_twice(log):
    context = get_context("spawn")
    programs = [context.Process(target=keep_many, args=(log, by, 20)) for by in ("one", "other")]
    for program in programs:
        program.start()
    for program in programs:
        program.join()
    assert [one.number for one in load(log).history] == list(range(1, 41))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_file_that_sudo_makes_belongs_to_whom_its_folder_belongs(log):
    os.chown(log.parent, 1234, 1235)
    keep(log)
    status = store_path(log).stat()
    assert (status.st_uid, status.st_gid) == (1234, 1235)


def test_tag_is_in_doubt_from_before_its_instrument_is_told_until_a_calibration_says_what_came_of_it(log):
    keep(log)
    keep(log, tag="DO/PV")
    assert begin(log, CP1) == load(log)
    held = load(log)
    assert held.adjusting == (CP1,)
    assert held.in_doubt("R1", "pH/PV")
    assert not held.in_doubt("R1", "DO/PV")
    assert "was told a reference (CP1 = 4.01, " in held.doubt_of("R1", "pH/PV")
    assert (held.next_number, held.damaged) == (3, ())
    assert Calibrations.from_json(held.to_json()) == held
    keep(log, tag="DO/PV")
    assert load(log).in_doubt("R1", "pH/PV"), "another's calibration says nothing of it"
    _, after = keep(log, unconfirmed=True)
    assert after.in_doubt("R1", "pH/PV"), "nobody knows whether the instrument took it"
    _, after = keep(log)
    assert not after.in_doubt("R1", "pH/PV")
    assert [one.unconfirmed for one in load(log).history] == [False, False, False, True, False]


def test_what_is_withdrawn_leaves_what_was_taken_before_in_doubt(log):
    begin(log, CP1)
    begin(log, CP1._replace(reference="CP2"))
    held = withdraw(log, CP1._replace(reference="CP2", state=WITHDRAWN))
    assert [one.reference for one in held.adjusting] == ["CP1"]
    assert not withdraw(log, CP1).in_doubt("R1", "pH/PV")


class Unknown(LmsError):
    """Nobody knows."""


@pytest.mark.parametrize(
    ("ends", "in_doubt"), [(None, True), (Unknown(), True), (LmsError("no"), False), (KeyboardInterrupt(), True)]
)
def test_only_what_was_certainly_not_taken_is_withdrawn(log, ends, in_doubt):
    with suppress(type(ends) if ends else Unknown), noted(log, CP1, Unknown):
        assert load(log).in_doubt("R1", "pH/PV"), "before it is told"
        if ends is not None:
            raise ends
    assert load(log).in_doubt("R1", "pH/PV") is in_doubt


def test_nothing_is_told_if_it_cannot_be_written_down_before(tmp_path):
    with pytest.raises(StoreUnavailable), noted(tmp_path / "no-such" / "log", CP1, Unknown):
        pytest.fail("it was told")
