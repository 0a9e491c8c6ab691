"""A profile stands for what somebody would have written by hand: nothing behind the loading sees a difference."""

import textwrap
from pathlib import Path

import pytest
from lms_agent.errors import SettingsError
from lms_agent.settings import load_settings

HEAD = (Path(__file__).parent / "cases" / "good" / "agent.toml").read_text(encoding="utf-8").split("[[bus]]")[0]
RTU = '[[bus]]\nid = "line"\nkind = "modbus-rtu"\nport = "/dev/ttyUSB0"\n'
PH = '[[instrument]]\nid = "ph"\nbus = "line"\nbioreactor = "R1"\nprofile = "hamilton-arc-ph"\n'
OWN = """
    id = "own"
    maker = "We"
    models = ["one"]
    words = "a level"
    driver = "modbus"
    [[source]]
    id = "bench"
    title = "our own bench"
    evidence = "reported"
    [[link]]
    kind = "modbus-rtu"
    baud = 38400
    source = "bench"
    [timing]
    reply_s = 0.5
    period_s = 5.0
    source = "bench"
    [instrument]
    unit = 9
    source = "bench"
    [[status]]
    name = "flags"
    address = 90
    source = "bench"
    [[point]]
    name = "level"
    tag = "Level/PV"
    words = "the level"
    unit = "mm"
    minimum = 0.0
    maximum = 100.0
    address = 4
    register = "input"
    status = "flags"
    source = "bench"
    [[point]]
    name = "slow"
    tag = "Level/Slow"
    words = "the level of yesterday"
    address = 5
    default = false
    source = "bench"
"""


@pytest.fixture
def load(tmp_path):
    (tmp_path / "secret").touch(0o600)
    (tmp_path / "secret").write_text("correct horse\n")

    def _load(body, head=HEAD):
        (tmp_path / "agent.toml").write_text(head + body, encoding="utf-8")
        return load_settings(tmp_path / "agent.toml")

    return _load


def test_profile_is_what_would_be_written_by_hand(load):
    by_profile = load(RTU + PH + "unit = 3\n")
    by_hand = load(
        RTU
        + textwrap.dedent("""
            stop_bits = 2

            [[instrument]]
            id = "ph"
            bus = "line"
            bioreactor = "R1"
            unit = 3
            largest_block = 10
            largest_gap = 0
            block = [{ address = 2089, count = 10 }, { address = 2409, count = 10 }, { address = 4871, count = 2 }]

            [[instrument.point]]
            tag = "pH/PV"
            unit = "pH"
            minimum = 0.0
            maximum = 14.0
            decimals = 2
            address = 2091
            kind = "float32"
            word_order = "little"
            """)
    )
    assert by_profile.buses == by_hand.buses
    (instrument,), (hand,) = by_profile.instruments, by_hand.instruments
    of_the_profile = {"profile": None, "identity": None, "points": ()}
    assert instrument.model_copy(update=of_the_profile) == hand.model_copy(update=of_the_profile)
    ph = instrument.points[0]
    assert (ph.status.address, ph.unit_code.address, ph.unit_code.expected) == (2093, 2089, 0x1000)
    assert ph.calibration.references[0].steps[0].write.address == 5161
    plain = {"status": None, "unit_code": None, "calibration": None, "point": None}
    assert ph.model_copy(update=plain) == hand.points[0]
    assert [(tag.name, tag.unit) for tag in by_profile.tag_descriptions()] == [
        ("pH/PV", "pH"),
        ("pH/Temp", "°C"),
        ("pH/Calibration", ""),
    ]


def test_points_are_left_out_added_and_given_other_keys(load):
    tag, beside = load(
        RTU + PH + 'without = ["temperature"]\n[[instrument.point]]\npoint = "pH"\ntag = "pH2/PV"\nlow = 6.0\n'
        "high = 8.0\nmax_rate_per_s = 0.5\n"
    ).tag_descriptions()
    assert (tag.name, tag.low, tag.high) == ("pH2/PV", 6.0, 8.0)
    assert beside.name == "pH2/Calibration"


def test_point_in_another_unit_loses_what_was_in_the_old_one(load):
    (line,) = load(
        '[[bus]]\nid = "b"\nkind = "serial"\nport = "/dev/ttyUSB0"\n[[instrument]]\nid = "balance"\nbus = "b"\n'
        'bioreactor = "R1"\nprofile = "mt-sics-balance"\n[[instrument.point]]\npoint = "weight"\nunit = "kg"\n'
    ).instruments
    assert line.points[0].unit == "kg"
    assert line.points[0].calibration is None


def test_point_that_can_be_set_may_be_only_read(load):
    (pump,) = load(
        '[[bus]]\nid = "b"\nkind = "serial"\nport = "/dev/ttyUSB0"\n[[instrument]]\nid = "feed"\nbus = "b"\n'
        'bioreactor = "R1"\nprofile = "watson-marlow-520"\n[[instrument.point]]\npoint = "speed"\naccess = "read"\n'
        '[[instrument.point]]\npoint = "running"\ntag = "Feed/ON"\n'
    ).instruments
    assert [(point.tag, point.access, point.set_high) for point in pump.points[:2]] == [
        ("Pump/SP", "read", None),
        ("Feed/ON", "write", None),
    ]


def test_calibration_of_the_house_goes_before_the_profiles(load):
    (instrument,) = load(
        RTU
        + PH
        + '[[instrument.point]]\npoint = "pH"\n[instrument.point.calibration]\nsource = "SOP 7"\nkind = "agent"\n'
        "due_days = 7.0\nstability = { window_s = 10.0, drift_per_min = 0.1 }\n"
        'reference = [{ name = "mid", value = 6.86, minimum = 6.8, maximum = 6.9 }]\n'
    ).instruments
    assert (instrument.points[0].calibration.source, instrument.points[0].calibration.due_days) == ("SOP 7", 7.0)


def test_own_profiles_come_from_the_folder_and_set_the_line(load, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "own.toml").write_text(textwrap.dedent(OWN), encoding="utf-8")
    head = HEAD.replace("[broker]", 'profiles = "mine"\n[broker]')
    ours = '[[instrument]]\nid = "level"\nbus = "line"\nbioreactor = "R1"\nprofile = "own"\n'
    settings = load(RTU + ours, head)
    (bus,), (instrument,) = settings.buses, settings.instruments
    assert (bus.baud, bus.timeout_s, instrument.period_s, instrument.unit) == (38400, 0.5, 5.0, 9)
    assert [point.point for point in instrument.points] == ["level"]
    assert (instrument.points[0].status.address, instrument.points[0].status.register_) == (90, "input")
    asked = load(RTU + ours + '[[instrument.point]]\npoint = "slow"\n', head)
    assert [point.point for point in asked.instruments[0].points] == ["level", "slow"]


def test_broken_own_profile_is_told_at_the_instrument_that_uses_it(load, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "own.toml").write_text(textwrap.dedent(OWN).replace("address = 4", "adress = 4"))
    head = HEAD.replace("[broker]", 'profiles = "mine"\n[broker]')
    ours = '[[instrument]]\nid = "level"\nbus = "line"\nbioreactor = "R1"\nprofile = "own"\n'
    with pytest.raises(SettingsError) as caught:
        load(RTU + ours, head)
    keys = {problem.key for problem in caught.value.problems}
    assert keys == {"instrument[level].profile"}
    broken = (tmp_path / "mine" / "own.toml").read_text().splitlines().index("adress = 4") + 1
    told = f"own.toml, line {broken}, point[Level/PV].adress: an unknown key"
    assert told in str(caught.value)
    load(RTU + ours.replace("own", "hamilton-arc-ph"), head)  # a broken one that nobody uses hurts nobody
