"""`lms-agent read` shows every value once, and says in plain words what could not be read."""

import fcntl
import math
import os

from lms_firmware_sim.wires import Fault


async def test_values_are_shown_with_unit_quality_and_time(plant, lms_agent):
    answer = await lms_agent("read", plant.config)
    assert answer.code == 0, answer.err
    rows = {line.split()[1]: line.split() for line in answer.out.splitlines()}
    assert rows["pH/PV"][2:5] == ["7.01", "pH", "good"]
    assert rows["Temperature/PV"][2:5] == ["37.2", "°C", "good"]
    assert rows["Weight/PV"][2:5] == ["812.5", "g", "good"]


async def test_readings_are_exact_for_programs(plant, lms_agent):
    answer = await lms_agent("read", "--json", plant.config)
    values = {reading["tag"]: reading["value"] for reading in answer.json["readings"]}
    assert values == {"pH/PV": 7.010000228881836, "Temperature/PV": 37.2, "Weight/PV": 812.5}
    assert all(reading["quality"] == "GOOD" and reading["taken_at_ms"] > 1.7e12 for reading in answer.json["readings"])


async def test_silent_instrument_is_named_and_the_others_are_shown(plant, lms_agent):
    plant.rtu.fault = Fault.silence()
    answer = await lms_agent("read", plant.config)
    assert answer.code == 1
    expected = f"temperature: no reply from unit 3 on {plant.rtu.address} within 1 s (no value for Temperature/PV)"
    assert expected in answer.out
    assert "7.01" in answer.out
    answer = await lms_agent("read", plant.config, "--json")
    assert answer.code == 1
    by_id = {one["instrument"]: one["errors"] for one in answer.json["instruments"]}
    assert by_id["temperature"][0]["tags"] == ["Temperature/PV"]
    assert by_id["str-1"] == []


async def test_one_instrument_can_be_chosen(plant, lms_agent):
    answer = await lms_agent("read", plant.config, "--instrument", "balance")
    assert answer.code == 0
    assert "Weight/PV" in answer.out
    assert "pH/PV" not in answer.out
    assert not plant.tcp.requests
    answer = await lms_agent("read", plant.config, "--instrument", "balanse")
    assert answer.code == 2
    assert "no instrument 'balanse'; the configuration has str-1, temperature, balance" in answer.err


async def test_port_of_another_program_is_named(plant, lms_agent):
    other = os.open(plant.rtu.address, os.O_RDWR | os.O_NOCTTY)
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        answer = await lms_agent("read", plant.config)
    finally:
        os.close(other)
    assert answer.code == 1
    assert f"temperature: {plant.rtu.address} is in use by " in answer.out
    assert f"(process {os.getpid()})" in answer.out


async def test_no_number_is_text_in_json(plant, lms_agent):
    plant.tcp.units[1].put(0, math.nan, "float32")
    answer = await lms_agent("read", plant.config, "--json", "--instrument", "str-1")
    (reading,) = answer.json["readings"]
    assert (reading["value"], reading["quality"]) == ("nan", "UNCERTAIN")
