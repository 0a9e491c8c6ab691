"""The simulator's pages tell what the program has: a forgotten fault, option, tag or address fails here."""

import re
import tomllib
from pathlib import Path

import pytest
from lms_firmware_sim.cli import app
from lms_firmware_sim.plants import load_plant, shipped_plants
from lms_firmware_sim.plants.description import plant_from
from lms_firmware_sim.plants.wires import BalanceDescription
from lms_firmware_sim.process.bioreactor import TAGS
from lms_firmware_sim.wires import FaultKind
from typer.main import get_command

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def page():
    return (DOCS / "simulator.md").read_text(encoding="utf-8")


def test_every_fault_command_and_tag_is_described(page):
    for kind in FaultKind:
        assert f"`{kind}`" in page, kind
    for name in get_command(app).commands:
        assert f"lms-sim {name}" in page, name
    for tag in TAGS:
        assert tag in page, tag


def test_every_option_of_serve_is_described(page):
    for parameter in get_command(app).commands["serve"].params:
        for option in parameter.opts:
            assert not option.startswith("--") or option in page, option


def test_example_of_a_plant_is_one(page):
    example = re.search(r"```toml\n(.*?)```", page, re.DOTALL)[1]
    plant = plant_from(tomllib.loads(example), Path("simulator.md"))
    assert [wire.id for wire in plant.wire] == ["controller", "line", "balance", "probe", "gas", "line-2"]


def test_table_of_str_1_is_that_of_the_plant(demo_plant):
    page = (DOCS / "demo-plant.md").read_text(encoding="utf-8")
    section = page.split("## STR-1")[1].split("## STR-2")[0]
    described = re.findall(r"^\| (\d+) \| (\S+) \| (\S+) \|", section, re.MULTILINE)
    points = next(wire for wire in demo_plant.wire if wire.id == "str-1").unit[0].points()
    assert described == [(str(point.address), point.tag, point.unit) for point in points]


def test_every_wire_of_the_demonstration_is_described(demo_plant):
    page = (DOCS / "demo-plant.md").read_text(encoding="utf-8")
    for wire in demo_plant.wire:
        assert f"`{wire.id}`" in page
        if not isinstance(wire, BalanceDescription):
            assert all(point.tag in page for unit in wire.unit for point in unit.points() if point.tag)


def test_every_wire_and_wear_of_the_bench_is_described():
    page = (DOCS / "bench-plant.md").read_text(encoding="utf-8")
    for wire in load_plant(shipped_plants()["bench"]).wire:
        row = next(line for line in page.splitlines() if line.startswith(f"| `{wire.id}` |"))
        for worn in ("slope_percent", "offset_mv"):
            if hasattr(wire, worn):
                assert f"{getattr(wire, worn):g}" in row, wire.id
