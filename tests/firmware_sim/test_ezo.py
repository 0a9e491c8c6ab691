"""EZO circuits on their serial line, byte by byte, and the calibration of a worn probe."""

import pytest
from lms_firmware_sim.errors import PlaceRefused, StateError
from lms_firmware_sim.instruments.ezo_do import EzoDo
from lms_firmware_sim.instruments.ezo_ph import EzoPh
from lms_firmware_sim.instruments.oxygen_optode import OxygenOptode, saturation_mg_l
from lms_firmware_sim.instruments.ph_electrode import PhElectrode, nernst_mv_per_ph
from lms_firmware_sim.wires import Fault, TextWire
from support.patience import until
from support.set_clocks import SetSeconds

QUICK = {"reading_s": 0.0, "setting_s": 0.0, "streaming_s": 0.0}
LONG_S = 600.0


@pytest.fixture
def clock():
    return SetSeconds(1000.0)


@pytest.fixture
def worn(clock):
    """A circuit with an electrode of 92 % and 12 mV, in a vessel of pH 6.5 at 25 °C."""
    return EzoPh(PhElectrode(lambda: 6.5, lambda: 25.0, slope_percent=92.0, offset_mv=12.0, clock=clock), **QUICK)


@pytest.fixture
def oxygen(clock):
    """A circuit with a probe that shows 6 % too little, in a vessel with 40 % at 25 °C."""
    return EzoDo(OxygenOptode(lambda: 40.0, lambda: 25.0, gain=0.94, zero_percent=0.6, clock=clock), **QUICK)


@pytest.fixture
async def line(raw_line):
    """Lays a wire for a circuit; gives the wire and a raw client that has read `*RS *RE`."""
    wires = []

    async def lay(circuit):
        wire = TextWire([circuit])
        await wire.start()
        wires.append(wire)
        client = raw_line(wire.address)
        if circuit.says_codes:
            assert await client.read(8) == b"*RS\r*RE\r"
        return wire, client

    yield lay
    for wire in wires:
        await wire.stop()


def said(circuit, command):
    """What a circuit says to a command, without the line."""
    reply = circuit.hear(command)
    return None if reply is None else list(reply.lines)


def put(circuit, clock, place):
    """Move the probe and wait until it has followed."""
    circuit.immersion.move(place)
    clock.now += LONG_S


async def test_reading_is_a_line_and_a_code(worn, line):
    _, client = await line(worn)
    client.write(b"i\r")
    assert await client.read(len(b"?i,pH,2.16\r*OK\r")) == b"?i,pH,2.16\r*OK\r"
    client.write(b"R\r")
    value, code = (await client.read(10)).split(b"\r")[:2]
    assert (float(value), code) == (pytest.approx(6.35, abs=0.05), b"*OK")


async def test_circuit_streams_until_it_is_told_not_to(clock, line):
    circuit = EzoPh(PhElectrode(lambda: 7.0, lambda: 25.0, clock=clock), setting_s=0.0, streaming_s=0.01)
    _, client = await line(circuit)
    readings = (await client.read(12)).split(b"\r")
    assert [float(reading) for reading in readings[:2]] == pytest.approx([7.0, 7.0], abs=0.02)
    client.write(b"C,0\r")
    await until(lambda: client.unread.endswith(b"*OK\r"), "the circuit stops")
    assert circuit.streaming_s == 0.0
    assert circuit._next is None


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("C,?", ["?C,0", "*OK"]),
        ("T,?", ["?T,25", "*OK"]),
        ("Slope,?", ["?Slope,100.0,100.0,0.00", "*OK"]),
        ("Cal,?", ["?Cal,0", "*OK"]),
        ("L,?", ["?L,1", "*OK"]),
        ("Name,R1-pH", ["*OK"]),
        ("status", ["?Status,P,5.038", "*OK"]),
        ("*OK,?", ["?*OK,1", "*OK"]),
        ("Cal,mid", ["*ER"]),
        ("Cal,mid,99", ["*ER"]),
        ("T,warm", ["*ER"]),
        ("Hello", ["*ER"]),
        ("O,mg,1", ["*ER"]),
    ],
)
def test_command_has_its_answer(worn, command, answer):
    assert said(worn, command) == answer


def test_codes_can_be_switched_off(worn):
    assert said(worn, "*OK,0") is None
    assert said(worn, "T,?") == ["?T,25"]
    assert said(worn, "nonsense") is None


def test_sleeping_circuit_only_wakes_at_the_first_command(worn):
    assert said(worn, "Sleep") == ["*SL"]
    assert said(worn, "R") == ["*WA"]
    assert said(worn, "R")[1] == "*OK"


def test_worn_electrode_shows_too_little_until_it_is_calibrated(worn, clock):
    put(worn, clock, "7.00")
    wrong = float(said(worn, "R")[0])
    assert wrong == pytest.approx(7.0 - 12.0 / nernst_mv_per_ph(25.0), abs=0.01)
    assert said(worn, "Cal,mid,7.00") == ["*OK"]
    put(worn, clock, "4.00")
    assert float(said(worn, "R")[0]) == pytest.approx(7.0 - 0.92 * 3.0, abs=0.02)
    assert said(worn, "Cal,low,4.00") == ["*OK"]
    put(worn, clock, "10.00")
    assert said(worn, "Cal,high,10.00") == ["*OK"]
    _, acid, base, offset = said(worn, "Slope,?")[0].split(",")
    assert (float(acid), float(base)) == (pytest.approx(92.0, abs=0.3), pytest.approx(92.0, abs=0.3))
    assert float(offset) == pytest.approx(12.0, abs=0.5)
    put(worn, clock, "vessel")
    assert float(said(worn, "R")[0]) == pytest.approx(6.5, abs=0.01)


def test_middle_point_forgets_the_others(worn, clock):
    for name, place in (("mid", "7"), ("low", "4")):
        put(worn, clock, place)
        said(worn, f"Cal,{name},{place}")
    assert said(worn, "Cal,?")[0] == "?Cal,2"
    said(worn, "Cal,mid,7")
    assert said(worn, "Cal,?")[0] == "?Cal,1"
    said(worn, "Cal,clear")
    assert said(worn, "Cal,?")[0] == "?Cal,0"


def test_probe_follows_slowly_when_it_is_moved(worn, clock):
    put(worn, clock, "7")
    worn.immersion.move("4")
    seen = []
    for _ in range(5):
        seen.append(worn.immersion.value("ph"))
        clock.now += 8.0
    assert seen[0] == pytest.approx(7.0)
    assert seen[1] == pytest.approx(4.0 + 3.0 / 2.71828, abs=0.01)
    assert seen == sorted(seen, reverse=True)
    assert worn.immersion.drift_per_min("ph") > 0.0


def test_temperature_that_nobody_tells_makes_the_reading_wrong(clock):
    hot = EzoPh(PhElectrode(lambda: 4.0, lambda: 37.0, clock=clock), **QUICK)
    assert float(said(hot, "R")[0]) == pytest.approx(7.0 - 3.0 * 310.15 / 298.15, abs=0.01)
    assert float(said(hot, "RT,37")[0]) == pytest.approx(4.0, abs=0.01)


@pytest.mark.parametrize("place", ["cellar", "15", "nan", "-1"])
def test_place_that_is_none_is_refused_and_the_probe_stays(worn, place):
    with pytest.raises(PlaceRefused, match="allowed are vessel, or a buffer's pH"):
        worn.immersion.move(place)
    assert worn.immersion.place == "vessel"


def test_oxygen_is_in_mg_per_litre_and_on_demand_in_percent(oxygen):
    percent = 0.6 + 0.94 * 40.0
    assert float(said(oxygen, "R")[0]) == pytest.approx(percent / 100.0 * saturation_mg_l(25.0), abs=0.03)
    assert said(oxygen, "O,?")[0] == "?,O,mg"
    assert said(oxygen, "O,%,1") == ["*OK"]
    mg, share = said(oxygen, "R")[0].split(",")
    assert float(mg) < 10.0 < float(share)
    assert said(oxygen, "O,?")[0] == "?,O,%,mg"
    said(oxygen, "O,mg,0")
    said(oxygen, "O,%,0")
    assert said(oxygen, "R")[0] == "no output"


def test_oxygen_probe_is_calibrated_in_air_and_without_oxygen(oxygen, clock):
    said(oxygen, "O,mg,0")
    said(oxygen, "O,%,1")
    put(oxygen, clock, "air")
    assert said(oxygen, "Cal") == ["*OK"]
    put(oxygen, clock, "zero")
    assert said(oxygen, "Cal,0") == ["*OK"]
    assert said(oxygen, "Cal,?")[0] == "?Cal,2"
    put(oxygen, clock, "vessel")
    assert float(said(oxygen, "R")[0]) == pytest.approx(40.0, abs=0.3)


async def test_power_failure_takes_the_compensation_but_not_the_calibration(oxygen, clock, line, raw_line):
    wire, client = await line(oxygen)
    put(oxygen, clock, "air")
    for command in ("T,37", "S,50000", "Cal"):
        client.write(command.encode() + b"\r")
        assert await client.read(4) == b"*OK\r"
    wire.fault = Fault.unplugged()
    wire.fault = None
    assert (oxygen.temperature_c, oxygen.salinity_us, oxygen.calibration.points) == (25.0, 0.0, 1)
    assert await raw_line(wire.address).read(8) == b"*RS\r*RE\r"


def test_what_is_kept_is_restored(worn, clock):
    put(worn, clock, "7")
    said(worn, "Cal,mid,7")
    said(worn, "Name,probe")
    again = EzoPh(PhElectrode(lambda: 6.5, lambda: 25.0, slope_percent=92.0, offset_mv=12.0, clock=clock), **QUICK)
    again.restore(worn.to_json())
    again.immersion.restore("7")
    assert said(again, "R") == said(worn, "R")
    assert again.name == "probe"
    with pytest.raises(StateError):
        again.restore(worn.to_json() | {"points": 5})


@pytest.mark.parametrize(
    ("fault", "bytes_out"),
    [
        (Fault.truncated(6), b"7.00"),
        (Fault.busy(), b"*ER\r*OK\r"),
        (Fault.of("not-a-number"), b"nan\r*OK\r"),
        (Fault.of("out-of-range"), b"9999.99\r*OK\r"),
        (Fault.of("wrong-function"), b"?T,25\r*OK\r"),
        (Fault.of("wrong-count"), b"7.000,7.000\r*OK\r"),
        (Fault.of("bad-crc"), b"w.ppp\r*OK\r"),
        (Fault.of("echo"), b"R\r7.000\r*OK\r"),
        (Fault.late(0.05), b"7.000\r*OK\r"),
        (Fault.of("slow-bytes", delay_s=0.005), b"7.000\r*OK\r"),
    ],
)
async def test_fault_shows_on_the_line(clock, line, monkeypatch, fault, bytes_out):
    circuit = EzoPh(PhElectrode(lambda: 7.0, lambda: 25.0, clock=clock), **QUICK)
    monkeypatch.setattr(circuit, "reading", lambda: "7.000")
    wire, client = await line(circuit)
    wire.fault = fault
    client.write(b"R\r")
    assert await client.read(len(bytes_out)) == bytes_out


async def test_shifted_and_stuck_replies_and_silence(clock, line, monkeypatch):
    circuit = EzoPh(PhElectrode(lambda: 7.0, lambda: 25.0, clock=clock), **QUICK)
    wire, client = await line(circuit)
    wire.fault = Fault.shifted()
    client.write(b"C,?\rT,?\r")
    assert await client.read(9) == b"?C,0\r*OK\r"
    wire.fault = Fault.of("stuck")
    for ph in ("6.000", "5.000"):
        monkeypatch.setattr(circuit, "reading", lambda ph=ph: ph)
        client.write(b"R\r")
        assert await client.read(10) == b"6.000\r*OK\r"
    wire.fault = Fault.silence(times=1)
    client.write(b"R\rC,?\r")
    assert await client.read(9) == b"?C,0\r*OK\r"
