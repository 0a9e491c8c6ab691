"""Derived tags: when they are computed, with what time and quality, and what becomes of them where an input fails."""

import pytest
from lms_agent.processing import Processing
from lms_agent.processing.following import followers
from lms_protocol.reading import Datatype, Gap, Quality, Reading
from support.one_reactor import settings_of

LINES = """
[[bus]]
id = "tcp"
kind = "modbus-tcp"
host = "127.0.0.1"
[[bus]]
id = "other"
kind = "modbus-tcp"
host = "127.0.0.2"
[[instrument]]
id = "gas"
bus = "tcp"
bioreactor = "R1"
point = [{ tag = "In/PV", address = 0, kind = "float32" }, { tag = "Out/PV", address = 2, kind = "float32" }]
[[instrument]]
id = "pump"
bus = "other"
bioreactor = "R1"
period_s = 2.0
point = [{ tag = "Pump/ON", address = 0, kind = "bool", bit = 0 }]
"""
DERIVED = """
[[derived]]
bioreactor = "R1"
tag = "Twice/PV"
expression = "{Uptake/PV} * 2"
[[derived]]
bioreactor = "R1"
tag = "Uptake/PV"
expression = "{In/PV} - {Out/PV}"
unit = "L/min"
minimum = 0.0
decimals = 2
[[derived]]
bioreactor = "R1"
tag = "Ratio/PV"
expression = "{In/PV} / {Out/PV} if {Pump/ON} else 0"
"""
IN, OUT, PUMP, TWICE, UPTAKE, RATIO = range(1, 7)


@pytest.fixture
def load(tmp_path):
    return lambda derived=DERIVED: settings_of(tmp_path, LINES + derived)


@pytest.fixture
def processing(load):
    return Processing(load(), numbers(load()))


def numbers(settings):
    return {(tag.device, tag.name): at for at, tag in enumerate(settings.tag_descriptions(), start=1)}


def gas(at_ms, incoming, outgoing):
    return (Reading(IN, at_ms, incoming), Reading(OUT, at_ms + 5, outgoing))


def made(processing, *readings, gaps=()):
    return [reading for reading in processing.take(readings, tuple(gaps))[0] if reading.tag >= TWICE]


def test_descriptions_come_behind_those_of_the_instruments(load):
    tags = load().tag_descriptions()
    assert [tag.name for tag in tags[3:]] == ["Twice/PV", "Uptake/PV", "Ratio/PV"]
    assert (tags[4].unit, tags[4].decimals, tags[4].datatype, tags[4].device) == ("L/min", 2, Datatype.DOUBLE, "R1")


def test_value_has_the_time_of_its_newest_input_and_what_needs_it_follows(processing):
    assert made(processing, *gas(1000, 5.0, 3.0)) == [Reading(UPTAKE, 1005, 2.0), Reading(TWICE, 1005, 4.0)]


def test_nothing_is_computed_before_every_input_was_read(processing):
    made(processing, Reading(IN, 1000, 5.0))
    assert made(processing, Reading(PUMP, 1000, True)) == []
    assert {reading.tag for reading in made(processing, Reading(OUT, 1005, 3.0))} == {UPTAKE, TWICE, RATIO}


def test_inputs_of_one_pace_give_one_value_a_round_of_readings_that_belong_together(processing):
    """Though they are on two lines, and told one after the other."""
    values = []
    for second in range(5):
        for reading in gas(1000 * second, 10.0 + second, float(second)):
            values += [one for one in made(processing, reading) if one.tag == UPTAKE]
    assert [(one.taken_at_ms, one.value) for one in values] == [(1000 * second + 5, 10.0) for second in range(5)]


def test_slower_input_is_not_waited_for_and_makes_no_value_by_itself(processing):
    made(processing, *gas(1000, 6.0, 3.0))
    assert made(processing, Reading(PUMP, 1500, True)) == [], "the next round of the gases uses it"
    assert {one.tag: one.value for one in made(processing, *gas(2000, 6.0, 3.0))}[RATIO] == 2.0


def test_quality_is_the_worst_of_the_inputs_and_of_its_own_range(processing):
    assert made(processing, *gas(0, 2.0, 3.0))[0].quality is Quality.UNCERTAIN, "below minimum"
    doubtful = (Reading(IN, 1000, 5.0, Quality.UNCERTAIN), Reading(OUT, 1000, 3.0))
    assert {reading.quality for reading in made(processing, *doubtful)} == {Quality.UNCERTAIN}


def test_old_input_makes_the_value_doubtful(processing):
    made(processing, Reading(PUMP, 0, True))
    ratio = {one.tag: one for one in made(processing, *gas(6500, 6.0, 3.0))}[RATIO]
    assert (ratio.value, ratio.quality) == (2.0, Quality.UNCERTAIN)


def test_input_that_is_not_older_than_three_scans_of_the_slowest_is_good(processing):
    made(processing, Reading(PUMP, 0, True))
    ratio = {one.tag: one for one in made(processing, *gas(5990, 6.0, 3.0))}[RATIO]
    assert (ratio.value, ratio.quality) == (2.0, Quality.GOOD)


def test_value_that_cannot_be_computed_is_bad_each_time(processing):
    made(processing, Reading(PUMP, 0, True))
    for at_ms in (1000, 2000):
        assert Reading(RATIO, at_ms + 5, None, Quality.BAD) in made(processing, *gas(at_ms, 1.0, 0.0))


def test_input_that_fails_is_told_once_and_its_gap_holds_for_all_that_is_made_from_it(processing):
    processing.take((Reading(PUMP, 0, True), *gas(1000, 5.0, 3.0)), ())
    opened = Gap(1, (IN,), 1000, None, "silent")
    readings, gaps = processing.take((Reading(IN, 2000, None, Quality.BAD), Reading(OUT, 2000, 3.0)), (opened,))
    assert gaps == (opened._replace(tags=(IN, TWICE, UPTAKE, RATIO)),)
    assert {(one.tag, one.value) for one in readings[2:]} == {(TWICE, None), (UPTAKE, None), (RATIO, None)}
    assert made(processing, Reading(OUT, 3000, 3.0)) == []
    assert {one.tag for one in made(processing, *gas(4000, 5.0, 3.0))} == {UPTAKE, TWICE, RATIO}


def test_times_of_a_tag_rise_whatever_the_clock_does(processing):
    made(processing, Reading(PUMP, 0, True), *gas(2000, 5.0, 5.0))
    second = {one.tag: one for one in made(processing, *gas(1900, 5.0, 5.0))}
    assert second[RATIO].taken_at_ms == 2006


def test_exception_reporting_holds_for_derived_tags(load):
    settings = load(DERIVED.replace('unit = "L/min"', "dead_band = 0.5"))
    processing = Processing(settings, numbers(settings))
    assert {reading.tag for reading in made(processing, *gas(0, 5.0, 3.0))} == {UPTAKE, TWICE}
    assert {reading.tag for reading in made(processing, *gas(1000, 5.1, 3.0))} == {TWICE}


def test_followers_are_known_through_derived_tags(load):
    assert followers(load(), numbers(load())) == {
        IN: (TWICE, UPTAKE, RATIO),
        OUT: (TWICE, UPTAKE, RATIO),
        PUMP: (RATIO,),
        UPTAKE: (TWICE,),
    }
