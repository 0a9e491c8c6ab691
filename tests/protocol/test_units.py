"""A tag in another unit is another tag: how both ends name it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lms_protocol.reading import TagDescription
from lms_protocol.units import MOST_CHARACTERS, counterpart, former_name, is_former, is_other_unit, name_beside

CELSIUS = TagDescription(5, "R1", "Temp/PV", unit="°C")
FAHRENHEIT = TagDescription(9, "R1", "Temp/PV", unit="°F")
FORMER = replace(CELSIUS, name="Temp/PV [°C]")


@pytest.mark.parametrize(
    ("known", "told", "other"),
    [
        ("°C", "°C", False),
        ("", "", False),
        ("", "°C", False),
        ("°C", "°F", True),
        ("°C", "", True),
        ("°C", "°c", True),
    ],
)
def test_only_a_unit_told_otherwise_makes_another_tag(known: str, told: str, other: bool) -> None:
    assert is_other_unit(known, told) is other


def test_former_name_says_the_unit_and_stays_one_level_below_its_folder() -> None:
    assert former_name("Temp/PV", "°C") == "Temp/PV [°C]"
    assert former_name("Gas/Flow", "L/min") == "Gas/Flow [L per min]"
    assert former_name("Level", "") == "Level [no unit]"


@given(st.text(min_size=1, max_size=128), st.text(max_size=32))
def test_former_name_fits_whatever_the_name(name: str, unit: str) -> None:
    former = former_name(name, unit)
    assert len(former) <= MOST_CHARACTERS
    assert is_former(former, unit, {former, former[: former.rindex(" [")]})
    assert not is_former(former, unit, {former})


def test_tags_of_two_logs_are_the_same_only_in_the_same_unit() -> None:
    assert counterpart(CELSIUS, [FAHRENHEIT]) is None
    assert counterpart(CELSIUS, [FAHRENHEIT, FORMER]) == FORMER
    assert counterpart(FORMER, [FAHRENHEIT, replace(CELSIUS, number=7)]) == replace(CELSIUS, number=7)
    assert counterpart(CELSIUS, [replace(CELSIUS, device="R2")]) is None
    assert counterpart(replace(CELSIUS, unit=""), [FAHRENHEIT]) == FAHRENHEIT, "its unit is told for the first time"
    assert name_beside(CELSIUS, {"Temp/PV"}) == "Temp/PV [°C]"
    assert name_beside(CELSIUS, {"pH/PV"}) == "Temp/PV"
