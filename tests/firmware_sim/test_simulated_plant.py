"""The demonstration plant on its wires, read and steered by clients of another make."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import chain

import pytest
import serial
from lms_firmware_sim.history import history
from lms_firmware_sim.plants import load_plant, shipped_plants
from lms_firmware_sim.simulated import SimulatedPlant
from lms_firmware_sim.wires import Fault
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from support.set_clocks import SetTime

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def clock():
    return SetTime(NOW)


@pytest.fixture(scope="module")
def begun():
    """The demonstration's state at NOW, worked out once: hours of three cultivations."""
    simulated = SimulatedPlant(load_plant(shipped_plants()["demo"]), clock=SetTime(NOW))
    simulated.advance()
    return simulated.to_json()


@pytest.fixture
async def plant(demo_plant, begun, clock, tmp_path):
    simulated = SimulatedPlant(demo_plant, clock=clock, wires_dir=tmp_path / "wires")
    simulated.restore(begun)
    async with simulated:
        yield simulated


@pytest.fixture
async def tcp_client(plant):
    """Opens pymodbus clients on the plant's TCP wires."""
    clients = []

    async def connect(wire: str) -> AsyncModbusTcpClient:
        host, port = plant.wires[wire].address.split(":")
        client = AsyncModbusTcpClient(host, port=int(port), timeout=5)
        clients.append(client)
        assert await client.connect()
        return client

    yield connect
    for client in clients:
        client.close()


async def floats(client, count, order):
    registers = (await client.read_holding_registers(0, count=2 * count, device_id=1)).registers
    return client.convert_from_registers(registers, client.DATATYPE.FLOAT32, word_order=order)


async def test_controller_shows_the_cultivation(plant, tcp_client):
    values = await floats(await tcp_client("str-1"), 18, "big")
    reactor = plant.bioreactors["R1"]
    assert values[0] == pytest.approx(reactor.reading("pH/PV"), rel=1e-6)
    assert values[1] == 7.0
    assert values[7] == 37.0
    assert values[16] == pytest.approx(reactor.reading("Weight/PV"), rel=1e-6)
    assert values[16] == pytest.approx(4.5, abs=0.2)


async def test_low_word_first_controller_shows_the_same_way(plant, tcp_client):
    values = await floats(await tcp_client("str-3"), 18, "little")
    assert values[1] == pytest.approx(6.9)
    assert values[16] == 0.0, "the weight is not here but on the balance"
    assert values[17] == pytest.approx(plant.bioreactors["R3"].reading("BasePumped/PV"), rel=1e-6)


async def test_set_point_over_the_wire_moves_the_process(plant, tcp_client, clock):
    client = await tcp_client("str-1")
    kind = client.DATATYPE.FLOAT32
    words = client.convert_to_registers(34.0, kind, word_order="big")
    assert not (await client.write_registers(14, words, device_id=1)).isError()
    clock.now += timedelta(hours=1)
    values = await floats(client, 18, "big")
    assert values[7] == 34.0
    assert values[6] == pytest.approx(34.0, abs=0.2)


@pytest.mark.parametrize(
    ("address", "value", "exception"),
    [(14, 99.0, 3), (14, float("nan"), 3), (0, 7.0, 2), (13, 1.0, 2)],
    ids=["beyond its limits", "no number", "a process value", "half of two"],
)
async def test_wrong_set_point_is_refused_and_changes_nothing(plant, tcp_client, address, value, exception):
    client = await tcp_client("str-1")
    before = (await floats(client, 18, "big"))[7]
    words = client.convert_to_registers(value, client.DATATYPE.FLOAT32, word_order="big")
    assert (await client.write_registers(address, words, device_id=1)).exception_code == exception
    assert (await floats(client, 18, "big"))[7] == before


async def test_block_write_with_one_wrong_value_changes_nothing(plant, tcp_client):
    client = await tcp_client("str-1")
    kind = client.DATATYPE.FLOAT32
    # From pH/SP up to DO/SP: the outputs and process values between them cannot be written.
    words = client.convert_to_registers([6.0, 0.0, 0.0, 40.0], kind, word_order="big")
    assert (await client.write_registers(2, words, device_id=1)).exception_code == 2
    assert plant.bioreactors["R1"].reading("pH/SP") == 7.0


async def test_three_units_share_one_line(plant):
    client = AsyncModbusSerialClient(plant.wires["str-2"].address, baudrate=19200, timeout=5)
    assert await client.connect()
    try:
        kinds = client.DATATYPE
        ph = (await client.read_holding_registers(2090, count=10, device_id=1)).registers
        assert client.convert_from_registers(ph[0:2], kinds.UINT32, word_order="little") == 0x1000
        assert client.convert_from_registers(ph[2:4], kinds.FLOAT32, word_order="little") == pytest.approx(5.0, abs=0.2)
        assert client.convert_from_registers(ph[4:6], kinds.UINT32, word_order="little") == 0
        assert client.convert_from_registers(ph[6:10], kinds.FLOAT32, word_order="little") == [0.0, 14.0]
        oxygen = (await client.read_input_registers(2090, count=2, device_id=2)).exception_code
        assert oxygen == 2, "the probes' blocks are holding registers"
        temperature = (await client.read_holding_registers(0, count=3, device_id=3)).registers
        assert temperature[:2] == pytest.approx([300, 300], abs=3)
        assert not (await client.write_register(1, 285, device_id=3)).isError()
        assert plant.bioreactors["R2"].reading("Temperature/SP") == 28.5
    finally:
        client.close()


async def test_balance_weighs_the_vessel_in_grams(plant):
    def read() -> str:
        with serial.Serial(plant.wires["str-3-balance"].address, 9600, timeout=10) as port:
            port.write(b"S\r\n")
            return port.readline().decode()

    head, state, value, unit = (await asyncio.to_thread(read)).split()
    assert (head, state, unit) == ("S", "S", "g")
    assert float(value) == pytest.approx(1000.0 * plant.bioreactors["R3"].reading("Weight/PV"), abs=0.06)


async def test_fault_of_a_demo_wire_can_be_switched(plant, tcp_client):
    client = await tcp_client("str-1")
    plant.wires["str-1"].fault = Fault.busy()
    assert (await client.read_holding_registers(0, count=2, device_id=1)).exception_code == 6
    plant.wires["str-1"].fault = None
    assert not (await client.read_holding_registers(0, count=2, device_id=1)).isError()


async def test_history_ends_in_what_the_wire_then_shows(demo_plant, plant, tcp_client, clock):
    client = await tcp_client("str-1")
    live = []
    for _ in range(3):
        live.append(await floats(client, 18, "big"))
        clock.now += timedelta(seconds=5)
    past = list(
        history(
            demo_plant,
            "R1",
            started_at=plant.started_at,
            begin=NOW - timedelta(seconds=5),
            end=NOW + timedelta(seconds=15),
            period_s=5.0,
        )
    )
    assert past[0].taken_at_ms == round((NOW.timestamp() - 5) * 1000)
    assert [reading.value for reading in past[18:]] == list(chain.from_iterable(live))


async def test_history_of_a_balance_is_in_grams_and_of_a_controller_in_its_counts(demo_plant):
    def values(bioreactor: str, tag: str) -> list[float]:
        found = history(demo_plant, bioreactor, started_at=NOW, begin=NOW - timedelta(minutes=1), end=NOW, period_s=5.0)
        return [reading.value for reading in found if reading.tag == tag]

    weights = values("R3", "Weight/PV")
    assert len(weights) == 12
    assert all(8_900 < weight < 9_200 for weight in weights)
    temperatures = values("R2", "Temperature/PV")
    assert all(temperature == round(temperature, 1) for temperature in temperatures)
