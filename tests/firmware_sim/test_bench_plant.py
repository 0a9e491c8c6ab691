"""The bench: one of each instrument on its own wire, served as a program, its probes moved from outside."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from lms_firmware_sim.errors import SimulatorError, StateError
from lms_firmware_sim.plants import load_plant, shipped_plants
from lms_firmware_sim.simulated import SimulatedPlant
from support.patience import until
from support.set_clocks import SetTime

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def clock():
    return SetTime(NOW)


@pytest.fixture(scope="module")
def bench():
    return load_plant(shipped_plants()["bench"])


async def test_instrument_in_the_vessel_shows_the_process(bench, clock, raw_line):
    async with SimulatedPlant(bench, clock=clock) as plant:
        oxygen = plant.instruments.on_text_wires["ezo-do"][0]
        oxygen.reading_s = 0.0
        truth = plant.bioreactors["R1"].reading("DO/PV")
        line = raw_line(plant.wires["ezo-do"].address)
        line.write(b"C,0\rO,mg,0\rO,%,1\rR\r")
        heard = await line.read(len(b"*RS\r*RE\r" + 3 * b"*OK\r"))
        assert heard == b"*RS\r*RE\r" + 3 * b"*OK\r"
        shown = float((await line.read(8)).split(b"\r")[0])
        assert shown == pytest.approx(0.6 + 0.94 * truth, abs=0.4)


async def test_place_and_calibration_are_kept_over_a_restart(bench, clock):
    async with SimulatedPlant(bench, clock=clock) as plant:
        plant.instruments.place("ezo-ph", "7.00")
        clock.now += timedelta(minutes=5)
        circuit = plant.instruments.on_text_wires["ezo-ph"][0]
        circuit.hear("Cal,mid,7.00")
        saved = json.loads(json.dumps(plant.to_json()))
    again = SimulatedPlant(bench, started_at=plant.started_at, clock=clock)
    again.restore(saved)
    assert again.instruments.places()["ezo-ph"] == "7.00"
    reading = float(again.instruments.on_text_wires["ezo-ph"][0].hear("R").lines[0])
    assert reading == pytest.approx(7.0, abs=0.01)
    saved["instruments"]["kept"]["ezo-ph"]["points"]["mid"] = ["acid"]
    with pytest.raises(StateError, match="calibration"):
        again.restore(saved)


async def test_probe_of_a_served_bench_is_moved_from_the_command_line(serving, lms_sim, tmp_path):
    async with serving("bench", "--state-dir", tmp_path):
        code, output, _ = await lms_sim("place", "--json", "--state-dir", tmp_path)
        assert code == 0
        assert set(json.loads(output).values()) == {"vessel"}
        code, output, _ = await lms_sim("place", "ezo-ph", "4.01", "--state-dir", tmp_path)
        assert code == 0
        assert ["ezo-ph", "4.01"] in [line.split() for line in output.splitlines()]
        for arguments, told in (
            (("ezo-ph", "cellar"), "allowed are vessel, or a buffer's pH"),
            (("ezo-99", "air"), "known are balance, ezo-ph, ezo-do, m80, hamilton/1, hamilton/2"),
            (("ezo-ph",), "Where to?"),
        ):
            code, _, errors = await lms_sim("place", *arguments, "--state-dir", tmp_path)
            assert (code, told in errors) == (2, True), errors

        def kept() -> str:
            return json.loads((tmp_path / "bench.json").read_text())["instruments"]["places"]["ezo-ph"]

        await until(lambda: kept() == "4.01", "the place is saved")


async def test_weight_on_the_balance_is_restless_at_first(bench, clock, raw_line):
    async with SimulatedPlant(bench, clock=clock) as plant:
        line = raw_line(plant.wires["balance"].address)
        line.write(b"SI\r\n")
        state, value = (await line.read_line()).split()[1:3]
        truth_g = 1000.0 * plant.bioreactors["R1"].reading("Weight/PV")
        assert (state, float(value)) == (b"S", pytest.approx(truth_g, abs=0.06))
        plant.instruments.place("balance", "250")
        line.write(b"SI\r\n")
        assert (await line.read_line()).split()[1] == b"D"
        clock.now += timedelta(seconds=30)
        line.write(b"SI\r\n")
        assert await line.read_line() == b"S S      250.0 g\r\n"


def test_state_from_before_an_instrument_was_there_is_still_good(bench, clock):
    plant = SimulatedPlant(bench, clock=clock)
    saved = plant.to_json()
    del saved["instruments"]
    SimulatedPlant(bench, started_at=plant.started_at, clock=clock).restore(saved)
    saved["instruments"] = {"kept": {"flux-compensator": {}}}
    with pytest.raises(StateError, match="not those of this plant"):
        SimulatedPlant(bench, started_at=plant.started_at, clock=clock).restore(saved)


async def test_probe_grows_old_and_that_is_kept(bench, clock):
    plant = SimulatedPlant(bench, clock=clock)
    circuit = plant.instruments.on_text_wires["ezo-ph"][0]
    plant.instruments.wear("ezo-ph", {"slope_percent": 100.0, "offset_mv": 0.0})
    plant.instruments.place("ezo-ph", "4.01")
    clock.now += timedelta(minutes=5)
    assert float(circuit.hear("R").lines[0]) == pytest.approx(4.01, abs=0.02), "as good as new"
    plant.instruments.wear("hamilton/2", {"broken": 1.0})
    again = SimulatedPlant(bench, started_at=plant.started_at, clock=clock)
    again.restore(json.loads(json.dumps(plant.to_json())))
    assert again.instruments.ages() == plant.instruments.ages()
    with pytest.raises(StateError, match="age"):
        again.restore(plant.to_json() | {"instruments": {"ages": {"m80": {"gain": 1.0}}}})


@pytest.mark.parametrize(
    ("probe", "changes", "told"),
    [
        ("ezo-ph", {"slope_percent": 500.0}, "allowed are 10 to 110"),
        ("ezo-ph", {"slope_percent": 90.0, "gain": 1.0}, "no gain: allowed are slope_percent, offset_mv, broken"),
        ("hamilton/2", {"zero_percent": float("nan")}, "allowed are -10 to 10"),
        ("balance", {"gain": 1.0}, "known are ezo-ph, ezo-do, m80"),
    ],
)
def test_age_that_cannot_be_is_refused_whole(bench, clock, probe, changes, told):
    plant = SimulatedPlant(bench, clock=clock)
    before = plant.instruments.ages()
    with pytest.raises(SimulatorError, match=told):
        plant.instruments.wear(probe, changes)
    assert plant.instruments.ages() == before


async def test_probe_is_worn_from_the_command_line(serving, lms_sim, tmp_path):
    async with serving("bench", "--state-dir", tmp_path):
        code, output, errors = await lms_sim("wear", "hamilton/1", "--slope", "85", "--broken", "--state-dir", tmp_path)
        assert (code, errors) == (0, "")
        assert "hamilton/1       slope_percent 85, offset_mv 12, broken 1" in output
        code, output, _ = await lms_sim("wear", "hamilton/1", "--mended", "--json", "--state-dir", tmp_path)
        assert json.loads(output)["hamilton/1"] == {"slope_percent": 85.0, "offset_mv": 12.0, "broken": 0.0}
        code, _, errors = await lms_sim("wear", "ezo-do", "--slope", "85", "--state-dir", tmp_path)
        assert (code, "has no slope_percent" in errors) == (2, True)


def test_pump_that_turns_is_nothing_that_was_told(bench, clock):
    plant = SimulatedPlant(bench, clock=clock)
    pump = plant.instruments.on_text_wires["pumps"][0]
    pump.hear("1GO")
    before, counted = plant.told(), plant.to_json()
    clock.now += timedelta(seconds=10)
    assert plant.told() == before, "it need not be saved every second"
    assert plant.to_json() != counted
    pump.hear("1SP5")
    assert plant.told() != before
