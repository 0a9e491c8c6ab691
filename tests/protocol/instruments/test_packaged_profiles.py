"""The packaged profiles say what the makers' manuals say, in the manuals' own numbers, counted as they do."""

import pytest
from lms_protocol.instruments.catalogue import PACKAGED, Catalogue

CATALOGUE = Catalogue()
WANTED = {
    "alicat-ascii", "alicat-modbus", "atlas-ezo-do", "atlas-ezo-ph", "generic-modbus", "hamilton-arc-ph",
    "hamilton-visiferm-do", "mettler-m80", "mt-sics-balance", "watson-marlow-323", "watson-marlow-520",
}  # fmt: skip

REGISTERS = [  # the manual's number; counted from 1 unless the source gives the wire's
    ("hamilton-arc-ph", "pH", 2090 + 2, "float32", "little"),
    ("hamilton-arc-ph", "temperature", 2410 + 2, "float32", "little"),
    ("hamilton-arc-ph", "quality", 4872, "float32", "little"),
    ("hamilton-visiferm-do", "DO", 2090 + 2, "float32", "little"),
    ("hamilton-visiferm-do", "temperature", 2410 + 2, "float32", "little"),
    ("alicat-modbus", "set_point", 1010, "float32", "big"),
    ("alicat-modbus", "gas", 1200, "uint16", "big"),
    ("alicat-modbus", "pressure", 1203, "float32", "big"),
    ("alicat-modbus", "temperature", 1205, "float32", "big"),
    ("alicat-modbus", "volumetric_flow", 1207, "float32", "big"),
    ("alicat-modbus", "mass_flow", 1209, "float32", "big"),
    ("mettler-m80", "pH", 100 + 1, "float32", "big"),
    ("mettler-m80", "temperature", 102 + 1, "float32", "big"),
    ("mettler-m80", "voltage", 104 + 1, "float32", "big"),
    ("mettler-m80", "ORP", 106 + 1, "float32", "big"),
]
LINKS = [
    ("hamilton-arc-ph", 19200, "none", 2),
    ("hamilton-visiferm-do", 19200, "none", 2),
    ("mettler-m80", 38400, "none", 1),
    ("mt-sics-balance", 9600, "none", 1),
    ("atlas-ezo-ph", 9600, "none", 1),
    ("atlas-ezo-do", 9600, "none", 1),
    ("alicat-ascii", 19200, "none", 1),
    ("watson-marlow-520", 9600, "none", 2),
    ("watson-marlow-323", 9600, "none", 2),
]


def _point(profile, name):
    return next(point for point in CATALOGUE.get(profile).points if point.name == name)


def test_every_instrument_that_is_promised_has_a_profile():
    assert {path.stem for path in PACKAGED.glob("*.toml")} == WANTED
    assert {profile.id for profile in CATALOGUE} == WANTED


@pytest.mark.parametrize(("profile", "name", "counted_from_1", "kind", "word_order"), REGISTERS)
def test_values_lie_where_the_manual_says(profile, name, counted_from_1, kind, word_order):
    point = _point(profile, name)
    assert (point.register_, point.address, point.kind, point.word_order) == (
        "holding", counted_from_1 - 1, kind, word_order,
    )  # fmt: skip


@pytest.mark.parametrize(("profile", "baud", "parity", "stop_bits"), LINKS)
def test_lines_are_set_as_the_instrument_comes(profile, baud, parity, stop_bits):
    (link,) = CATALOGUE.get(profile).links
    assert (link.baud, link.parity, link.stop_bits, link.data_bits) == (baud, parity, stop_bits, 8)


@pytest.mark.parametrize("name", ["hamilton-arc-ph", "hamilton-visiferm-do"])
def test_hamilton_channels_are_ten_registers_with_unit_value_status_smallest_and_largest(name):
    profile = CATALOGUE.get(name)
    blocks = {block.address: block.count for block in profile.instrument.blocks}
    assert blocks == {2090 - 1: 10, 2410 - 1: 10, 4872 - 1: 2}
    for point, channel in zip(profile.points[:2], (2090 - 1, 2410 - 1), strict=True):
        status, unit_code = profile.status_of(point), profile.unit_code_of(point, point.unit)
        assert (unit_code.address, point.address, status.address) == (channel, channel + 2, channel + 4)
        assert {status.kind, unit_code.kind} == {"uint32"}
        assert {status.word_order, unit_code.word_order} == {"little"}
        assert sum(condition.mask for condition in status.conditions) == 0x1F
        (error,) = [condition for condition in status.conditions if condition.mask == 0x10]
        assert error.quality == "bad"
        (frozen,) = [condition for condition in status.conditions if condition.mask == 0x1]
        assert frozen.quality == ("bad" if point is profile.points[0] else "uncertain"), "p. 57: it repeats its last pH"


@pytest.mark.parametrize(
    ("profile", "name", "unit", "code"),
    [
        ("hamilton-arc-ph", "pH", "pH", 0x1000),
        ("hamilton-arc-ph", "temperature", "°C", 0x4),
        ("hamilton-visiferm-do", "DO", "%", 0x20),
        ("hamilton-visiferm-do", "DO", "mg/L", 0x80),
    ],
)
def test_hamilton_units_have_the_manuals_codes(profile, name, unit, code):
    assert CATALOGUE.get(profile).unit_code_of(_point(profile, name), unit).expected == code


def test_hamilton_calibration_writes_registers_4288_5162_and_5194():
    procedure = _point("hamilton-arc-ph", "pH").calibration
    assert [step.write.address for step in procedure.before] == [4288 - 1]
    assert [reference.steps[0].write.address for reference in procedure.references] == [5162 - 1, 5194 - 1]
    assert (procedure.verdict.address, procedure.verdict.block.count) == (5158 - 1, 6)
    assert procedure.after[0].write.values[0] == 0x03, "the operator level falls back to User"


ANSWERS = [  # examples from the makers' manuals
    ("mt-sics-balance", 'I4 A "B021002593"', True),
    ("mt-sics-balance", "ES", False),
    ("atlas-ezo-ph", "?I,pH,1.98", True),
    ("atlas-ezo-ph", "?I,DO,1.98", False),
    ("atlas-ezo-ph", "?i,pH,2.16", True),
    ("atlas-ezo-do", "?I,D.O.,1.98", True),
    ("atlas-ezo-do", "?I,DO,2.10", True),
    ("atlas-ezo-do", "?I,pH,2.10", False),
    ("alicat-ascii", "A +13.542 +24.57 +16.667 +15.444 +15.444 N2", True),
    ("alicat-ascii", "B +13.542 +24.57 +16.667 +15.444 +15.444 N2", False),
    ("watson-marlow-520", "520Du 15.84 520R 9.6MM 220.0 CW P/N 1 123456789 1 !", True),
    ("watson-marlow-323", "520Du 15.84 520R 9.6MM 220.0 CW P/N 1 123456789 1 !", False),
    ("watson-marlow-323", "323Du 200 CW 0 !", True),
]


@pytest.mark.parametrize(("profile", "answer", "fits"), ANSWERS)
def test_identity_fits_the_manuals_examples_and_no_other_model(profile, answer, fits):
    found = CATALOGUE.get(profile)
    assert found.identity.fits(answer, found.instrument_keys().get("unit", "")) is fits


@pytest.mark.parametrize("swapped", [False, True])
def test_register_identity_is_found_in_either_order_of_characters(swapped):
    identity = CATALOGUE.get("hamilton-arc-ph").identity
    text = b"EPHUM011".ljust(16, b"\0")
    if swapped:
        text = b"".join(text[at : at + 2][::-1] for at in range(0, 16, 2))
    assert identity.fits(text)
    assert identity.shown(text) == "EPHUM011"
    assert not CATALOGUE.get("hamilton-visiferm-do").identity.fits(text)


@pytest.mark.parametrize("name", sorted(WANTED))
def test_every_fact_names_a_source_and_reported_ones_are_said_to_be(name):
    profile = CATALOGUE.get(name)
    for _, fact in profile.facts():
        assert profile.source_of(fact) in profile.sources
    reported = {"generic-modbus", "hamilton-visiferm-do", "mettler-m80"}
    assert profile.evidence == ("reported" if name in reported else "verified")
