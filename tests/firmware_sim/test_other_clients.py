"""Clients of other makes read and set the simulated instruments: minimalmodbus, PyPI alicat, mbpoll.

They were written against the real instruments, or against the standard; none knows of our agent.
"""

import asyncio
from datetime import UTC, datetime

import minimalmodbus
import pytest
from alicat import FlowController
from lms_firmware_sim.plants import load_plant, shipped_plants
from lms_firmware_sim.simulated import SimulatedPlant
from support.mbpoll import MISSING, mbpoll, program

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PATIENT_S = 20.0

needs_mbpoll = pytest.mark.skipif(program() is None, reason=MISSING)


@pytest.fixture
async def bench():
    """The bench on its wires; its clock stands still."""
    plant = SimulatedPlant(load_plant(shipped_plants()["bench"]), clock=NOW.timestamp)
    async with plant:
        yield plant


@pytest.fixture
async def demo():
    """The demonstration's plant on its wires; its clock stands still."""
    plant = SimulatedPlant(load_plant(shipped_plants()["demo"]), clock=NOW.timestamp)
    async with plant:
        yield plant


@pytest.fixture
async def minimal():
    """`minimal(wire, unit)`: minimalmodbus on a wire."""
    masters = []

    def connect(wire, unit=1):
        master = minimalmodbus.Instrument(wire.address, unit, close_port_after_each_call=False)
        master.serial.baudrate = wire.baud
        master.serial.timeout = PATIENT_S
        masters.append(master)
        return master

    yield connect
    for master in masters:
        master.serial.close()


async def test_minimalmodbus_reads_a_hamilton_sensor(bench, minimal):
    master = minimal(bench.wires["hamilton"])
    words = await asyncio.to_thread(master.read_registers, 2090 - 1, 10)
    assert words[:2] == [0x1000, 0]
    text = await asyncio.to_thread(master.read_string, 1032 - 1, 8)
    assert text.rstrip("\0")[:6] == "PEUH0M", "it takes the first character from the high byte"


async def test_minimalmodbus_reads_the_m80(bench, minimal):
    master = minimal(bench.wires["m80"])
    temperature = await asyncio.to_thread(master.read_float, 102)
    assert temperature == pytest.approx(bench.bioreactors["R1"].reading("pH/Temperature"), abs=0.01)


async def test_minimalmodbus_sets_an_alicat(bench, minimal):
    master = minimal(bench.wires["alicat-modbus"])
    await asyncio.to_thread(master.write_float, 1010 - 1, 2.5)
    assert bench.bioreactors["R1"].reading("AirFlow/SP") == 2.5
    assert await asyncio.to_thread(master.read_float, 1010 - 1) == 2.5


async def test_alicats_own_users_client_reads_and_sets_it(bench):
    wire = bench.wires["alicat"]
    async with FlowController(wire.address, "A", timeout=PATIENT_S) as controller:
        state = await controller.get()
        assert state["control_point"] == "mass flow"
        assert (state["setpoint"], state["gas"]) == (1.5, "Air")
        flow = bench.bioreactors["R1"].reading("AirFlow/PV")
        assert state["mass_flow"] == pytest.approx(flow + 0.012, abs=0.001)
        assert state["pressure"] == pytest.approx(14.5038 * bench.bioreactors["R1"].reading("Pressure/PV"), abs=0.01)
        await controller.set_flow_rate(3.25)
        assert bench.bioreactors["R1"].reading("AirFlow/SP") == 3.25
        await controller.set_flow_rate(99.0)
        assert bench.bioreactors["R1"].reading("AirFlow/SP") == 3.25, "refused, which this client does not notice"
        await controller.set_gas("N2")
        assert (await controller.get())["gas"] == "N2"
        await controller.lock()
        assert await controller.is_locked()
        async with FlowController(wire.address, "B", timeout=PATIENT_S) as other:
            assert (await other.get())["setpoint"] == 3.25, "both act on the same air"


@needs_mbpoll
async def test_mbpoll_reads_the_demonstrations_line(demo):
    line = demo.wires["str-2"]
    rtu = ["-m", "rtu", "-b", "19200", "-P", "none", "-a", "1", "-0", "-1"]
    shown = await mbpoll(*rtu, "-r", "2092", "-c", "1", "-t", "4:float", line.address)
    assert shown[2092] == pytest.approx(demo.bioreactors["R2"].reading("pH/PV"), abs=0.02)


@needs_mbpoll
async def test_mbpoll_reads_and_writes_over_tcp(bench):
    host, port = bench.wires["generic"].address.split(":")
    tcp = ["-m", "tcp", "-p", port, "-a", "1", "-0", "-1"]
    shown = await mbpoll(*tcp, "-r", "0", "-c", "2", "-t", "4", host)
    assert shown == {0: round(10 * bench.bioreactors["R1"].reading("Temperature/PV")), 1: 370}
    shown = await mbpoll(*tcp, "-r", "12", "-t", "4:float", host)
    assert shown[12] == 600.0
    await mbpoll(*tcp, "-r", "1", "-t", "4", host, "355")
    assert bench.bioreactors["R1"].reading("Temperature/SP") == 35.5


@needs_mbpoll
async def test_mbpoll_reads_the_m80_and_the_alicat(bench):
    rtu = ["-m", "rtu", "-P", "none", "-a", "1", "-0", "-1", "-B", "-t", "4:float"]
    shown = await mbpoll(*rtu, "-b", "38400", "-r", "100", "-c", "4", bench.wires["m80"].address)
    assert shown[102] == pytest.approx(bench.bioreactors["R1"].reading("pH/Temperature"), abs=0.01)
    shown = await mbpoll(*rtu, "-b", "19200", "-r", 1203 - 1, "-c", "4", bench.wires["alicat-modbus"].address)
    assert shown[1209 - 1] == pytest.approx(bench.bioreactors["R1"].reading("AirFlow/PV"), abs=0.001)
