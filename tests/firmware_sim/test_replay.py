"""A recorded run on the wires: what the file says is what a client reads, at its time."""

from datetime import UTC, datetime, timedelta

import pytest
from lms_firmware_sim.errors import PlantError, RecordingError
from lms_firmware_sim.history import history
from lms_firmware_sim.plants import load_plant, shipped_plants
from lms_firmware_sim.plants.description import ReplayDescription
from lms_firmware_sim.replay.recording import Column, load_recording
from lms_firmware_sim.simulated import SimulatedPlant
from pymodbus.client import AsyncModbusTcpClient
from support.set_clocks import SetTime

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

LONG = """taken_at,bioreactor,tag,value,unit,quality
2025-01-01T00:00:00.000Z,R1,pH/PV,7.10,pH,GOOD
2025-01-01T00:00:10.000Z,R1,pH/PV,6.90,pH,GOOD
2025-01-01T00:00:20.000Z,R1,pH/PV,,pH,BAD
2025-01-01T00:00:05.000Z,R1,Weight/PV,1500,g,GOOD
2025-01-01T00:00:15.000Z,R1,Weight/PV,NaN,g,BAD
2025-01-01T00:00:30.000Z,R1,pH/PV,6.80,pH,GOOD
2025-01-01T00:00:00.000Z,R2,pH/PV,3.00,pH,GOOD
"""
WIDE = """time,pH/PV,DO/PV
0,7.1,90
10,6.9,
20,6.8,70
"""


@pytest.fixture
def clock():
    return SetTime(NOW)


@pytest.fixture
def written(tmp_path):
    """`written(text)`: a file that holds it."""

    def write(text: str):
        file = tmp_path / "run.csv"
        file.write_text(text, encoding="utf-8")
        return file

    return write


def demo_with(file, **settings):
    return load_plant(shipped_plants()["demo"]).with_replay("R1", ReplayDescription(file=file, **settings))


def test_readings_hold_until_the_next_and_other_bioreactors_are_left_out(written):
    recording = load_recording(written(LONG), "R1")
    assert [recording.value("pH/PV", at_s) for at_s in (-5, 0, 9.9, 10, 25, 30, 99)] == [
        7.1,
        7.1,
        7.1,
        6.9,
        6.9,
        6.8,
        6.8,
    ]
    assert recording.value("Weight/PV", 0) == recording.value("Weight/PV", 20) == 1.5, "kg, as the simulator has it"
    assert recording.duration_s == 30.0
    assert set(recording.tracks) == {"pH/PV", "Weight/PV"}


def test_table_with_a_tag_a_column_is_read_too(written):
    recording = load_recording(written(WIDE), "R1")
    assert [recording.value("DO/PV", at_s) for at_s in (0, 10, 20)] == [90.0, 90.0, 70.0]


def test_names_of_another_make_are_told(written):
    file = written("timestamp,pO2 [%],Weight [g]\n2025-01-01 08:00:00,55,1000\n2025-01-01 08:00:05,50,1001\n")
    columns = {"pO2 [%]": Column("DO/PV"), "Weight [g]": Column("Weight/PV", 0.001)}
    recording = load_recording(file, "R1", columns)
    assert (recording.value("DO/PV", 5), recording.value("Weight/PV", 5)) == (50.0, pytest.approx(1.001))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1: no column tells the time: one must be taken_at, time, timestamp"),
        ("when,pH/PV\n", "no column tells the time"),
        ("time,pO2\n0,1\n", "line 1: 'pO2' are no tags: say with [[bioreactor.replay.column]]"),
        ("time,pH/PV\n0,7\nyesterday,7\n", "line 3: 'yesterday' is no time: allowed are ISO 8601"),
        ("time,pH/PV\n0,7,8\n", "line 2: it has 3 fields; the header names 2"),
        ("taken_at,tag,value\n0,pH/PV\n", "line 2: it has 2 fields; the header names 3"),
        ("taken_at,tag,value,unit\n0,pH/PV,7,mV\n", "line 2: pH/PV is in 'mV'; pH/PV is in 'pH' here"),
        ("time,pH/PV\n0,\n", "it has no reading of bioreactor R1"),
        ("taken_at,bioreactor,tag,value\n0,R9,pH/PV,7\n", "it has no reading of bioreactor R1"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_line(written, text, told):
    file = written(text)
    with pytest.raises(RecordingError) as error:
        load_recording(file, "R1")
    assert str(error.value).startswith(str(file))
    assert told in str(error.value)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(RecordingError, match="No such file"):
        load_recording(tmp_path / "nowhere.csv", "R1")


async def test_client_reads_the_recorded_run(written, clock):
    async with SimulatedPlant(demo_with(written(LONG)), clock=clock) as plant:
        host, port = plant.wires["str-1"].address.split(":")
        client = AsyncModbusTcpClient(host, port=int(port), timeout=5)
        assert await client.connect()

        async def ph() -> float:
            words = (await client.read_holding_registers(0, count=2, device_id=1)).registers
            return client.convert_from_registers(words, client.DATATYPE.FLOAT32)

        seen = []
        for seconds in (0, 12, 20, 29, 31):
            clock.now = NOW + timedelta(seconds=seconds)
            seen.append(round(await ph(), 3))
        assert seen == [7.1, 6.9, 6.9, 6.9, 7.1], "and begins again at its end"
        assert plant.bioreactors["R1"].reading("Agitation/PV") > 0.0, "what was not recorded is modelled"
        client.close()


def test_speed_and_end(written, clock):
    plant = SimulatedPlant(demo_with(written(LONG), speed=10.0, repeat=False), clock=clock)
    values = []
    for seconds in (0.0, 1.0, 3.0, 100.0):
        clock.now = NOW + timedelta(seconds=seconds)
        values.append(plant.feel("R1", "pH/PV"))
    assert values == [7.1, 6.9, 6.8, 6.8]


def test_set_point_that_is_written_is_no_longer_the_recorded_one(written, clock):
    file = written("time,Temperature/SP,Temperature/PV\n0,30,30.5\n100,31,31.5\n")
    plant = SimulatedPlant(demo_with(file), clock=clock)
    assert plant.feel("R1", "Temperature/SP") == 30.0
    plant.act("R1", "Temperature/SP", 36.0)
    clock.now += timedelta(seconds=50)
    assert plant.feel("R1", "Temperature/SP") == 36.0
    assert plant.feel("R1", "Temperature/PV") == 30.5, "a recording cannot be steered"
    again = SimulatedPlant(plant.plant, started_at=plant.started_at, clock=clock)
    again.restore(plant.to_json())
    assert again.feel("R1", "Temperature/SP") == 36.0


@pytest.mark.parametrize("bioreactor", ["R1", "R3"])
async def test_history_of_a_run_replayed_is_that_run(demo_plant, lms_sim, tmp_path, bioreactor):
    file = tmp_path / "run.csv"
    times = [at.isoformat() for at in (NOW, NOW, NOW + timedelta(minutes=1))]
    options = zip(("--started-at", "--from", "--to"), times, strict=True)
    flat = [part for option in options for part in option]
    code, _, errors = await lms_sim("history", "demo", "--bioreactor", bioreactor, *flat, "--units", "--output", file)
    assert (code, errors) == (0, "")
    window = {"started_at": NOW, "begin": NOW, "end": NOW + timedelta(minutes=1), "period_s": 5.0}
    replayed = demo_plant.with_replay(bioreactor, ReplayDescription(file=file, repeat=False))
    assert list(history(replayed, bioreactor, **window)) == list(history(demo_plant, bioreactor, **window))


def test_file_of_a_plant_lies_beside_it_and_its_tags_are_known(written, tmp_path):
    written(WIDE)
    plant = shipped_plants()["bench"].read_text(encoding="utf-8")
    head = "set_points = { ph = 7.0, do_percent = 30, temperature_c = 37, agitation_rpm = 600, air_l_min = 1.5 }\n"
    assert head in plant
    file = tmp_path / "bench.toml"
    file.write_text(plant.replace(head, head + '[bioreactor.replay]\nfile = "run.csv"\n'))
    simulated = SimulatedPlant(load_plant(file))
    assert simulated.feel("R1", "DO/PV") == 90.0
    column = 'file = "run.csv"\n[[bioreactor.replay.column]]\nname = "a"\ntag = "pH/XX"\n'
    file.write_text(plant.replace(head, f"{head}[bioreactor.replay]\n{column}"))
    with pytest.raises(PlantError, match=r"bioreactor\[R1\].replay.column\[0\].*'pH/XX' is not known"):
        load_plant(file)


async def test_run_is_served_from_the_command_line(written, serving, lms_sim):
    file = written("time,pH/PV\n0,6.66\n")
    async with serving("demo", "--replay", f"R1={file}") as (_, wires):
        host, port = wires["str-1"].split(":")
        client = AsyncModbusTcpClient(host, port=int(port), timeout=5)
        assert await client.connect()
        words = (await client.read_holding_registers(0, count=2, device_id=1)).registers
        assert client.convert_from_registers(words, client.DATATYPE.FLOAT32) == pytest.approx(6.66)
        client.close()
    for replay, told in ((f"R9={file}", "allowed is ID=FILE"), ("R1", "allowed is ID=FILE"), ("R1=no.csv", "no.csv")):
        code, _, errors = await lms_sim("serve", "demo", "--replay", replay)
        assert (code, told in errors) == (2, True), errors
