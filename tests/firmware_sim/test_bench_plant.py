"""The bench: one of each instrument on its own wire, served as a program, its probes moved from outside."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from lms_firmware_sim.errors import StateError
from lms_firmware_sim.plants import load_plant, shipped_plants
from lms_firmware_sim.simulated import SimulatedPlant
from support.patience import until

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class Clock:
    """A clock that the test sets."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now.timestamp()


@pytest.fixture
def clock():
    return Clock(NOW)


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
