"""Corrected readings: the raw value stays beside them, and each says which calibration made it."""

from dataclasses import replace

import pytest
from lms_agent.calibration.record import Calibration, Measured
from lms_agent.calibration.store import Calibrations
from lms_agent.processing import Processing
from lms_agent.processing.following import followers
from lms_protocol.reading import Datatype, Gap, Quality, Reading
from support.one_reactor import settings_of

TEXT = """
[[bus]]
id = "tcp"
kind = "modbus-tcp"
host = "127.0.0.1"
[[instrument]]
id = "probe"
bus = "tcp"
bioreactor = "R1"
[[instrument.point]]
tag = "pH/PV"
address = 0
kind = "float32"
unit = "pH"
decimals = 2
{keys}
[instrument.point.calibration]
source = "practice"
kind = "agent"
nernst = true
stability = {{ window_s = 10.0, drift_per_min = 0.1 }}
[[instrument.point.calibration.reference]]
name = "mid"
value = 7.0
minimum = 6.0
maximum = 8.0
[[instrument.point]]
tag = "DO/PV"
address = 2
kind = "float32"
[instrument.point.calibration]
source = "manual"
kind = "instrument"
stability = {{ window_s = 10.0, drift_per_min = 0.1 }}
[[instrument.point.calibration.reference]]
name = "air"
value = 100.0
minimum = 90.0
maximum = 110.0
step = [{{ command = "Cal" }}]
[[derived]]
bioreactor = "R1"
tag = "Off/PV"
expression = "{{pH/PV}} - {{pH/RAW}}"
"""
PH, DO, OFF, PH_RAW, PH_NUMBER, DO_NUMBER = range(1, 7)
LINE = Calibration(
    1,
    "R1",
    "pH/PV",
    "pH",
    "probe",
    "agent",
    0,
    (Measured("mid", 7.0, 7.1, 9, 0.0, True),),
    1.0,
    -0.1,
    None,
    0.1,
    "Ada",
    "weekly",
)


@pytest.fixture
def load(tmp_path):
    return lambda keys="": settings_of(tmp_path, TEXT.format(keys=keys))


@pytest.fixture
def process(load):
    def make(keys="", *history):
        settings = load(keys)
        numbers = {(tag.device, tag.name): at for at, tag in enumerate(settings.tag_descriptions(), start=1)}
        return Processing(settings, numbers, Calibrations(history))

    return make


def taken(processing, *readings, gaps=()):
    due, _ = processing.take(readings, tuple(gaps))
    return {reading.tag: (reading.value, reading.quality.name) for reading in due}


def test_tags_beside_a_calibrated_one_are_described(load):
    tags = {tag.name: tag for tag in load().tag_descriptions()}
    assert list(tags) == ["pH/PV", "DO/PV", "Off/PV", "pH/RAW", "pH/Calibration", "DO/Calibration"]
    assert (tags["pH/PV"].datatype, tags["pH/RAW"].datatype) == (Datatype.DOUBLE, Datatype.FLOAT)
    assert (tags["pH/RAW"].unit, tags["pH/RAW"].decimals) == ("pH", 2)
    assert tags["DO/PV"].datatype is Datatype.FLOAT, "the instrument corrects by itself"
    assert tags["DO/Calibration"].datatype is Datatype.INT64


def test_reading_without_a_calibration_is_told_as_it_was_read_with_number_0(process):
    assert taken(process(), Reading(PH, 0, 7.1)) == {
        PH: (7.1, "GOOD"),
        PH_RAW: (7.1, "GOOD"),
        PH_NUMBER: (0, "GOOD"),
        OFF: (0.0, "GOOD"),
    }


def test_raw_value_stays_beside_the_corrected_one_at_the_same_time(process):
    due, _ = process("", LINE).take((Reading(PH, 5000, 7.1),), ())
    assert {reading.taken_at_ms for reading in due} == {5000}
    assert {reading.tag: reading.value for reading in due} == {
        PH: pytest.approx(7.0),
        PH_RAW: 7.1,
        PH_NUMBER: 1,
        OFF: pytest.approx(-0.1),
    }


def test_value_of_an_instrument_that_corrects_by_itself_is_untouched(process):
    made = replace(LINE, number=4, tag="DO/PV", unit="", kind="instrument")
    assert taken(process("", made), Reading(DO, 0, 98.0)) == {DO: (98.0, "GOOD"), DO_NUMBER: (4, "GOOD")}


def test_number_is_told_on_change_and_by_heartbeat(process):
    processing = process("", LINE)
    numbers = []
    for second in range(10):
        if second == 6:
            processing.follow(Calibrations((LINE, replace(LINE, number=2))))
        told = taken(processing, Reading(PH, 1000 * second, 7.1))
        numbers.append(told.get(PH_NUMBER, (None,))[0])
    assert numbers == [1, None, None, None, 1, None, 2, None, None, None]


def test_reading_before_a_new_calibration_still_says_the_old_one(process):
    processing = process("", LINE)
    for second in range(3):
        processing.take((Reading(PH, 1000 * second, 7.1),), ())
    processing.follow(Calibrations((LINE, replace(LINE, number=2))))
    due, _ = processing.take((Reading(PH, 3000, 7.1),), ())
    assert [(r.taken_at_ms, r.value) for r in due if r.tag == PH_NUMBER] == [(2000, 1), (3000, 2)]


def test_raw_value_is_logged_whenever_the_corrected_one_is(process):
    processing = process("dead_band = 0.1", LINE)
    assert PH_RAW in taken(processing, Reading(PH, 0, 7.1))
    assert taken(processing, Reading(PH, 1000, 7.15)).keys() == {OFF}
    due, _ = processing.take((Reading(PH, 2000, 7.9),), ())
    assert sorted((r.taken_at_ms, r.tag) for r in due if r.tag in (PH, PH_RAW)) == [
        (1000, PH),
        (1000, PH_RAW),
        (2000, PH),
        (2000, PH_RAW),
    ]


def test_gap_of_a_tag_is_one_of_all_beside_it(process):
    processing = process("", LINE)
    processing.take((Reading(PH, 0, 7.1),), ())
    opened = Gap(1, (PH, DO), 0, None, "silent")
    readings, (gap,) = processing.take((Reading(PH, 1000, None, Quality.BAD),), (opened,))
    assert gap.tags == (PH, DO, OFF, PH_RAW, PH_NUMBER, DO_NUMBER)
    assert {(reading.tag, reading.value) for reading in readings} == {(PH, None), (PH_RAW, None), (OFF, None)}


def test_calibration_of_another_unit_or_bioreactor_does_not_hold(process):
    for other in (replace(LINE, unit="mV"), replace(LINE, bioreactor="R2"), replace(LINE, tag="DO/PV")):
        assert taken(process("", other), Reading(PH, 0, 7.1))[PH_NUMBER] == (0, "GOOD")


def test_back_to_uncorrected_has_a_number_of_its_own(process):
    cleared = replace(LINE, number=2, points=(), slope=1.0, offset=0.0)
    told = taken(process("", LINE, cleared), Reading(PH, 0, 7.1))
    assert (told[PH], told[PH_NUMBER]) == ((7.1, "GOOD"), (2, "GOOD"))


def test_calibration_in_doubt_makes_readings_doubtful_and_keeps_the_raw_one(load, process):
    processing = process()
    processing.follow(Calibrations((LINE,), damaged=(2,), in_doubt_below=1))
    told = taken(processing, Reading(PH, 0, 7.1))
    assert (told[PH][1], told[PH_RAW][1]) == ("UNCERTAIN", "GOOD")


def test_value_that_correction_makes_infinite_is_doubtful(process):
    steep = replace(LINE, points=(Measured("low", 0.0, 0.0, 9, 0.0, True), Measured("mid", 1e300, 1e-5, 9, 0.0, True)))
    assert taken(process("", steep), Reading(PH, 0, 1e10))[PH] == (float("inf"), "UNCERTAIN")


def test_jump_of_a_new_calibration_is_not_judged_as_a_change_of_the_process(process):
    processing = process("max_rate_per_s = 0.01")
    processing.take((Reading(PH, 0, 7.1),), ())
    processing.follow(Calibrations((LINE,)))
    assert taken(processing, Reading(PH, 1000, 7.1))[PH] == (pytest.approx(7.0), "GOOD")


def test_followers_name_what_stands_beside(load):
    settings = load()
    numbers = {(tag.device, tag.name): at for at, tag in enumerate(settings.tag_descriptions(), start=1)}
    assert followers(settings, numbers) == {PH: (OFF, PH_RAW, PH_NUMBER), DO: (DO_NUMBER,), PH_RAW: (OFF,)}
