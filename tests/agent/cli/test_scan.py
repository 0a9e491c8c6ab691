"""`lms-agent scan`: what hangs on a line that nobody has described, on wires."""

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lms_agent.drivers.register_coding import encode
from lms_agent.log.lock import WriterLock
from lms_agent.scanning.interpreting import interpretations
from lms_agent.scanning.seeking import Wanted, addresses_meant
from lms_agent.scanning.settings_order import to_try
from lms_agent.scanning.surveying import survey
from lms_agent.settings import load_settings
from lms_agent.settings.dialects.modbus import RegisterPoint
from lms_firmware_sim.wires import Fault, ModbusTcpWire, RegisterMap, RtuWire
from lms_protocol.instruments.registers import WIDTHS
from support.terminal import in_terminal

HOLDING, INPUT = 3, 4


@pytest.fixture
async def line():
    """Unit 3 with a small integer, unit 9 with floats that have the low word first, far up and as input registers."""
    small, floats = RegisterMap(), RegisterMap(input={0: 0})
    small.put(0, 372, "int16")
    for at, value in enumerate((7.012, 36.98, 0.25, 1013.2)):
        floats.put(2090 + 2 * at, value, "float32", word_order="little")
    async with RtuWire({3: small, 9: floats}) as wire:
        yield wire


async def test_units_on_a_line_are_found_with_the_setting_at_which_they_answer(line, lms_agent, tmp_path):
    answer = await lms_agent("scan", line.address, "--units", "1-10", "--config", tmp_path / "none", "--json")
    assert answer.code == 0, answer.err
    assert [unit["unit"] for unit in answer.json["units"]] == [3, 9]
    assert {(unit["baud"], unit["parity"], unit["stop_bits"]) for unit in answer.json["units"]} == {(19200, "none", 2)}
    assert all(request.function == HOLDING for request in line.requests), "a scan only reads"


async def test_screen_names_unit_and_next_step(line, lms_agent, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    answer = await lms_agent("scan", line.address, "--units", "3", "--baud", "9600")
    lines = answer.out.splitlines()
    assert "9600 baud 8N2 (or 8N1), unit 3: unknown; holding register 0 holds 372" in lines[1]
    assert lines[2].strip().endswith(f"`lms-agent scan {line.address} --unit 3`")


async def test_unit_that_answers_late_is_found_all_the_same(line, lms_agent):
    line.fault = Fault.late(0.3, unit=3)
    answer = await lms_agent("scan", line.address, "--units", "3-8", "--baud", "19200", "--timeout", "0.2", "--json")
    assert answer.code == 0, answer.err
    assert [unit["unit"] for unit in answer.json["units"]] == [3]


async def test_line_without_units_says_what_was_asked_and_ends_with_1(line, lms_agent):
    arguments = ("--units", "20-21", "--timeout", "0.02", "--parity", "none", "--baud", "9600", "--baud", "19200")
    answer = await lms_agent("scan", line.address, *arguments)
    assert answer.code == 1
    assert "no unit answers; asked: units 20 to 21 at 2 settings from 9600 baud 8N2 on" in answer.out


async def test_line_that_speaks_something_else_is_told_apart_from_a_silent_one(plant, lms_agent):
    arguments = ("--units", "1-2", "--timeout", "0.1", "--baud", "38400", "--parity", "none")
    answer = await lms_agent("scan", plant.balance.address, *arguments, "--config", plant.config)
    assert answer.code == 1
    assert "something is heard at 38400 baud 8N2" in answer.out


async def test_value_from_a_display_is_found_with_its_word_order(line, lms_agent):
    answer = await lms_agent("scan", line.address, "--unit", "9", "--value", "7.01", "--register", "2091")
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert lines[1].split()[:3] == ["holding", "2090", "7.012"]
    assert "low word first" in lines[1]
    assert [line.strip() for line in lines[-5:]] == [
        "[[instrument.point]]",
        'tag = "Name/PV"',
        "address = 2090",
        'kind = "float32"',
        'word_order = "little"',
    ]


async def test_map_of_an_unknown_unit_tells_its_word_order(line, lms_agent):
    answer = await lms_agent("scan", line.address, "--unit", "9", "--register", "2080", "--upto", "30", "--json")
    holding = answer.json["holding"]
    assert holding["word_order"] == "little"
    assert {int(address): round(value, 3) for address, value in holding["numbers"].items()} == {
        2090: 7.012,
        2092: 36.98,
        2094: 0.25,
        2096: 1013.2,
    }
    assert holding["spans"] == [[2090, 2097]]


@pytest.fixture(scope="module")
def bench_wires(tmp_path_factory):
    """The bench of the simulator, which has one of each instrument, in a process of its own."""
    folder = tmp_path_factory.mktemp("bench")
    simulator_program = Path(sys.executable).with_name("lms-sim")
    command = [simulator_program, "serve", "bench", "--state-dir", folder, "--wires-dir", folder / "w"]
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True) as simulator:
        assert simulator.stdout is not None
        yield json.loads(simulator.stdout.readline())["wires"]
        simulator.terminate()


@pytest.mark.parametrize(
    ("wire", "baud", "found"),
    [
        ("hamilton", 19200, [("hamilton-arc-ph", 1), ("hamilton-visiferm-do", 2)]),
        ("ezo-ph", 9600, [("atlas-ezo-ph", None)]),
        ("ezo-do", 9600, [("atlas-ezo-do", None)]),
        ("balance", 9600, [("mt-sics-balance", None)]),
        ("alicat", 19200, [("alicat-ascii", "A"), ("alicat-ascii", "B")]),
        ("pumps", 9600, [("watson-marlow-520", 1), ("watson-marlow-520", 2)]),
        ("pump-323", 9600, [("watson-marlow-323", 1)]),
        ("alicat-modbus", 19200, [("alicat-modbus", 1)]),
        ("m80", 38400, [("mettler-m80", 1)]),
    ],
)
async def test_model_of_each_profile_is_recognised(wire, baud, found, bench_wires, lms_agent):
    setting = ("--units", "1-2", "--baud", str(baud), "--parity", "none")
    answer = await lms_agent("scan", bench_wires[wire], *setting, "--json")
    assert [(unit["profile"], unit["unit"]) for unit in answer.json["units"]] == found, answer.out
    assert {unit["sure"] for unit in answer.json["units"]} == {wire not in ("alicat-modbus", "m80")}


async def test_instruments_found_on_a_line_are_set_up_by_a_few_returns(bench_wires, tmp_path):
    typed = [
        ("Port, or host", f"{bench_wires['hamilton']}\n"),
        ("Look what hangs there", "\n"),
        ("Take them?", "\n"),
        ("Another instrument?", "\n"),
    ]
    word = tmp_path / "word"
    word.touch(0o600)
    word.write_text("correct horse")
    given = ("--group", "g", "--agent", "a", "--broker", "mqtt://127.0.0.1", "--account", "a", "--password-file", word)
    command = [Path(sys.executable).with_name("lms-agent"), "init", "-o", tmp_path / "agent.toml", *given]
    shown = await in_terminal([*command, "--bioreactor", "R1"], typed)
    assert shown.code == 0, shown.text
    settings = load_settings(tmp_path / "agent.toml")
    assert [(instrument.id, instrument.unit) for instrument in settings.instruments] == [
        ("hamilton-arc-ph", 1),
        ("hamilton-visiferm-do", 2),
    ]
    assert settings.buses[0].stop_bits == 2


async def test_tcp_instrument_is_looked_into(lms_agent):
    registers = RegisterMap()
    registers.put(12, 37.2, "float32")
    async with ModbusTcpWire({1: registers}) as wire:
        place = f"127.0.0.1:{wire.port}"
        found = await lms_agent("scan", place, "--units", "1-2", "--json")
        seen = await lms_agent("scan", place, "--unit", "1", "--between", "37,38", "--json")
    assert 1 in [unit["unit"] for unit in found.json["units"]]
    assert (seen.json["matches"][0]["address"], seen.json["matches"][0]["kind"]) == (12, "float32")


async def test_line_of_the_running_agent_is_left_alone(plant, lms_agent):
    lock = WriterLock.take(plant.config.parent / "log.sqlite3")
    try:
        answer = await lms_agent("scan", plant.rtu.address, "--config", plant.config)
    finally:
        lock.release()
    assert answer.code == 1
    assert "left alone: the running agent reads it" in answer.out
    assert not plant.rtu.requests


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--units", "5-300"), "allowed: numbers from 0 to 255"),
        (("--units", "9-3"), "allowed: numbers from 0 to 255"),
        (("--parity", "maybe"), "allowed: none, even, odd"),
        (("--value", "7"), "need --unit"),
        (("--unit", "1", "--between", "7"), "such as 6.5,7.5"),
        (("--unit", "1", "--between", "6,7", "--value", "7"), "one or the other"),
    ],
)
async def test_what_cannot_be_meant_is_refused(lms_agent, arguments, words):
    answer = await lms_agent("scan", "127.0.0.1:9", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert words in answer.err


async def test_place_that_cannot_be_used_is_told_with_its_reason(lms_agent):
    answer = await lms_agent("scan", "/dev/none", "127.0.0.1:9")
    assert answer.code == 1
    assert "/dev/none is not there" in answer.out
    assert "127.0.0.1:9 takes no connection" in answer.out


@pytest.mark.parametrize(
    ("number", "likeliest"),
    [
        (2090, (HOLDING, 2089)),
        (0, (HOLDING, 0)),
        (40_013, (HOLDING, 12)),
        (30_001, (INPUT, 0)),
        (400_013, (HOLDING, 12)),
        (50_001, (HOLDING, 50_000)),
    ],
)
def test_number_from_a_manual_is_first_taken_as_manuals_mean_it(number, likeliest):
    assert addresses_meant(number)[0] == likeliest


@given(
    st.sampled_from([kind for kind in WIDTHS if kind not in ("bool", "int64", "uint64")]),
    st.sampled_from(["big", "little"]),
    st.sampled_from(["big", "little"]),
    st.sampled_from([1.0, 0.1, 0.01]),
    st.floats(1.0, 300.0),
)
def test_any_way_in_which_a_value_may_be_stored_is_among_those_that_are_tried(kind, words, byte, scale, value):
    keys = {"kind": kind, "byte_order": byte, "scale": 1.0 if kind.startswith("float") else scale}
    if WIDTHS[kind] > 1:
        keys["word_order"] = words
    point = RegisterPoint(tag="x", address=7, **keys)
    data = encode(value, point)
    held = {7 + at: word for at, (word,) in enumerate(struct.iter_unpack(">H", data))}
    wanted = Wanted(value - 0.51 * point.scale - 1e-3, value + 0.51 * point.scale + 1e-3)
    found = [how for how in interpretations(held, 7) if wanted.has(how.value)]
    assert (kind, byte) in [(how.kind, how.byte_order) for how in found]


@given(st.lists(st.floats(0.01, 2000), min_size=3, max_size=20), st.sampled_from(["big", "little"]), st.booleans())
def test_word_order_that_makes_sense_is_that_in_which_it_was_written(values, order, swapped):
    words = {}
    for at, value in enumerate(values):
        high, low = struct.unpack(">2H", struct.pack(">f", value + 0.0123))
        pair = (high, low) if order == "big" else (low, high)
        words.update(
            {2 * at + step: (word >> 8 | (word & 255) << 8) if swapped else word for step, word in enumerate(pair)}
        )
    found = survey(words)
    if found.order is not None:
        assert found.spans == [(0, 2 * len(values) - 1)]
        assert sum(abs(how.value) > 0 for how in found.numbers.values()) >= 2


@pytest.mark.parametrize("number", ["21", "40021", None])
async def test_half_a_number_with_half_its_neighbour_does_not_pass_for_the_number(number, lms_agent):
    floats = RegisterMap()
    for at, value in enumerate((36.98, 7.012, 0.25)):
        floats.put(18 + 2 * at, value, "float32", word_order="little")
    asked = ("--register", number) if number else ("--upto", "40")
    async with RtuWire({5: floats}) as wire:
        answer = await lms_agent("scan", wire.address, "--unit", "5", "--value", "7.01", *asked, "--json")
    first = answer.json["matches"][0]
    assert (first["address"], first["word_order"]) == (20, "little"), answer.json


def test_two_stop_bits_stand_for_one_as_well():
    settings = list(to_try())
    assert len(settings) == len(set(settings))
    assert {setting.stop_bits for setting in settings if setting.parity == "none"} == {2}
    assert {setting.stop_bits for setting in settings if setting.parity != "none"} == {1}
