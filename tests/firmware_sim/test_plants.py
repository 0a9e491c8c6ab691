"""Plants' files: the demonstration's register map as promised, and mistakes told with their key."""

import pytest
from lms_firmware_sim.bound import decoded, encoded
from lms_firmware_sim.errors import PlantError
from lms_firmware_sim.plants.description import load_plant
from lms_firmware_sim.plants.points import Point

CONTROLLER = [
    "pH/PV",
    "pH/SP",
    "pH/OUT",
    "DO/PV",
    "DO/SP",
    "DO/OUT",
    "Temperature/PV",
    "Temperature/SP",
    "Temperature/OUT",
    "Agitation/PV",
    "Agitation/SP",
    "AirFlow/PV",
    "AirFlow/SP",
    "Pressure/PV",
    "OffGasO2/PV",
    "OffGasCO2/PV",
    "Weight/PV",
    "BasePumped/PV",
]


def units_of(plant, wire):
    return {unit.unit: unit for unit in next(each for each in plant.wire if each.id == wire).unit}


def test_demo_str_1_is_one_table_of_floats_high_word_first(demo_plant):
    points = units_of(demo_plant, "str-1")[1].points()
    assert [point.tag for point in points] == CONTROLLER
    assert [point.address for point in points] == list(range(0, 36, 2))
    assert {(point.table, point.kind, point.word_order) for point in points} == {("holding", "float32", "big")}
    assert [point.tag for point in points if point.writable] == [tag for tag in CONTROLLER if "/SP" in tag]


def test_demo_str_2_has_three_units_on_one_line(demo_plant):
    units = units_of(demo_plant, "str-2")
    shown = {
        number: [(point.tag, point.address, point.kind, point.word_order) for point in unit.points() if point.tag]
        for number, unit in units.items()
    }
    assert shown[1] == [("pH/PV", 2092, "float32", "little"), ("pH/Temperature", 2412, "float32", "little")]
    assert shown[2] == [("DO/PV", 2092, "float32", "little"), ("DO/Temperature", 2412, "float32", "little")]
    assert [(tag, address, kind) for tag, address, kind, _ in shown[3]] == [
        ("Temperature/PV", 0, "int16"),
        ("Temperature/SP", 1, "int16"),
        ("Temperature/OUT", 2, "int16"),
    ]
    assert [point.address for point in units[1].points()] == [
        2090,
        2092,
        2094,
        2096,
        2098,
        2410,
        2412,
        2414,
        2416,
        2418,
    ]


def test_demo_str_3_is_str_1_low_word_first_without_weight(demo_plant):
    points = [point for point in units_of(demo_plant, "str-3")[1].points() if point.tag]
    expected = [(tag, 2 * at) for at, tag in enumerate(CONTROLLER) if tag != "Weight/PV"]
    assert [(point.tag, point.address) for point in points] == expected
    assert {point.word_order for point in points} == {"little"}


def test_value_beyond_its_registers_shows_as_the_nearest():
    point = Point(tag="Temperature/PV", address=0, kind="int16", scale=0.1)
    assert decoded(point, encoded(point, 37.04)) == 37.0
    assert decoded(point, encoded(point, 1e9)) == 3276.7
    assert decoded(point, encoded(point, float("nan"))) == 0.0


PLANT = """
[plant]
name = "small"

[[bioreactor]]
id = "R1"
name = "One"
strain = "e-coli"
age_h = 1
vessel = { total_l = 3, air_max_l_min = 5 }
recipe = { start_l = 1.5 }
set_points = { air_l_min = 1.5 }

[[wire]]
id = "line-1"
kind = "modbus-rtu"

[[wire.unit]]
unit = 1
bioreactor = "R1"
point = [{ tag = "pH/PV", address = 0 }]
"""


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('strain = "e-coli"', 'strain = "yeti"', ["bioreactor[R1]", "'yeti'", "allowed are e-coli, k-phaffii"]),
        ("age_h = 1\n", "", ["bioreactor[R1]", "either age_h or inoculated_at"]),
        ("age_h = 1\n", "age_h = 1\ncolour = 3\n", ["bioreactor[R1].colour", "not permitted"]),
        ("start_l = 1.5", "start_l = 5", ["start_l 5 does not fit a vessel of 3 L"]),
        ("air_l_min = 1.5", "air_l_min = 9", ["AirFlow/SP is 9", "allowed are 0 to 5"]),
        ("unit = 1\n", "unit = 300\n", ["wire[line-1].unit[0].unit", "247", "found 300"]),
        ('tag = "pH/PV"', 'tag = "pH/XX"', ["wire[line-1].unit[0].point[0]", "'pH/XX' is not known"]),
        ('tag = "pH/PV"', 'tag = "pH/PV", writable = true', ["no set point"]),
        ("address = 0", "address = 65535", ["leaves no room for float32"]),
        ("address = 0 }", 'address = 0 }, { tag = "DO/PV", address = 1 }', ["holding register 1 holds two values"]),
        ('bioreactor = "R1"', 'bioreactor = "R9"', ["wire line-1 leads to bioreactor 'R9'", "known are R1"]),
        ('kind = "modbus-rtu"', 'kind = "carrier-pigeon"', ["wire[line-1]", "carrier-pigeon"]),
        ("[plant]", "[plant", ["line 2"]),
    ],
)
def test_mistake_is_told_with_its_key_and_what_is_allowed(tmp_path, old, new, told):
    file = tmp_path / "plant.toml"
    assert old in PLANT
    file.write_text(PLANT.replace(old, new, 1))
    with pytest.raises(PlantError) as error:
        load_plant(file)
    assert str(file) in str(error.value)
    for words in told:
        assert words in str(error.value)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(PlantError, match="No such file"):
        load_plant(tmp_path / "nowhere.toml")
