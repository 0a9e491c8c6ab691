"""The Alicat controller in both dialects: one thing flows, and both show it."""

import pytest
from lms_firmware_sim.errors import SetPointRefused, StateError
from lms_firmware_sim.instruments.alicat_ascii import AlicatAscii
from lms_firmware_sim.instruments.alicat_modbus import AlicatRegisters
from lms_firmware_sim.instruments.flow_controller import FlowController, GasStream
from lms_firmware_sim.wires import Fault, RtuWire, TextWire
from pymodbus.client import AsyncModbusSerialClient


class Gas:
    """Gas that flows as it is told, at once, at 1.2 bar."""

    def __init__(self) -> None:
        self.flow = 1.5

    def write(self, value: float) -> None:
        if value > 4.0:
            raise SetPointRefused("AirFlow/SP", value, 0.0, 4.0)
        self.flow = value

    def stream(self) -> GasStream:
        return GasStream(lambda: self.flow, lambda: self.flow, self.write, lambda: 1.2, temperature_c=23.0)


@pytest.fixture
def gas():
    return Gas()


@pytest.fixture
def controller(gas):
    return FlowController(gas.stream(), full_scale_l_min=5.0)


@pytest.fixture
async def line(controller, raw_line):
    """A line with controllers A and B, and a raw client."""
    other = FlowController(Gas().stream(), full_scale_l_min=5.0)
    instruments = [AlicatAscii(controller, unit="A"), AlicatAscii(other, unit="B")]
    async with TextWire(instruments, baud=19_200) as wire:
        yield wire, raw_line(wire.address)


FRAME = "A +017.405 +023.000 +001.258 +001.500 +001.500     Air"


def said(controller, command):
    reply = AlicatAscii(controller).hear(command)
    return None if reply is None else list(reply.lines)


def test_poll_gives_the_frame_that_the_manual_describes(controller):
    assert said(controller, "A") == [FRAME]
    assert said(controller, "a") == [FRAME]
    assert said(controller, "B") is None
    described = said(controller, "A??D*")
    names = [row[10:36].strip() for row in described[1:]]
    assert names == ["Unit ID", "Pressure", "Flow Temp", "Volu Flow", "Mass Flow", "Mass Flow Setpt", "Gas"]
    assert len(names) == len(FRAME.split())
    assert "A M04 Model Number MC-5SLPM-D" in said(controller, "A??M*")


@pytest.mark.parametrize("command", ["AS2.5", "AS 2.5", "A$$S2.5", "ALS 2.5"])
def test_set_point_is_taken_over(controller, gas, command):
    reply = said(controller, command)[0].split()
    assert gas.flow == 2.5
    assert reply[5 if "L" not in command else 2] == "+002.500"


@pytest.mark.parametrize("command", ["AS9", "AS4.5", "AS-1", "AS1.2.3", "AG99", "AX", "A??", "AS", "ALS nothing"])
def test_what_cannot_be_is_answered_with_a_question_mark(controller, gas, command):
    assert said(controller, command) == ["?"]
    assert gas.flow == 1.5


def test_gas_tare_lock_and_hold(controller, gas):
    assert said(controller, "AG8")[0].split()[-1] == "N2"
    assert said(controller, "A$$R46") == ["A   046 = 8"]
    gas.flow, controller.zero_l_min = 0.0, 0.02
    assert said(controller, "A")[0].split()[4] == "+000.020"
    assert said(controller, "AV")[0].split()[4] == "+000.000"
    assert said(controller, "A$$L")[0].endswith("LCK")
    assert said(controller, "AHC")[0].endswith("HLD LCK")
    gas.flow = 7.0
    assert "MOV" in said(controller, "A")[0]


async def test_two_letters_share_a_line(line):
    _, client = line
    client.write(b"BS2.0\rA\rB\r")
    heard = (await client.read(3 * 55)).decode().split("\r")
    assert [(each.split()[0], each.split()[5]) for each in heard if each] == [
        ("B", "+002.000"),
        ("A", "+001.500"),
        ("B", "+002.000"),
    ]


@pytest.mark.parametrize(
    ("fault", "heard"),
    [
        (Fault.busy(), "?"),
        (Fault.of("wrong-unit"), "B" + FRAME[1:]),
        (Fault.of("wrong-function"), "A +001.500 +001.500 7 SLPM"),
        (Fault.of("wrong-count"), FRAME.rsplit(" ", 1)[0]),
        (Fault.of("out-of-range"), "A +017.405 +023.000 +999.999 +999.999 +001.500 Air MOV"),
        (Fault.of("not-a-number"), "A +017.405 +023.000 -------- -------- +001.500 Air"),
        (Fault.of("echo"), "A\r" + FRAME),
        (Fault.truncated(10), FRAME[:-9]),
        (Fault.silence(unit="B"), FRAME),
    ],
)
async def test_fault_shows_on_the_line(line, fault, heard):
    wire, client = line
    wire.fault = fault
    client.write(b"A\r")
    expected = heard.encode() + (b"" if fault.kind == "truncated" else b"\r")
    assert await client.read(len(expected)) == expected


async def test_fault_of_one_letter_leaves_the_other(line):
    wire, client = line
    wire.fault = Fault.silence(unit="A")
    client.write(b"A\rB\r")
    assert (await client.read(55)).startswith(b"B ")


def test_what_is_kept_is_restored(controller, gas):
    said(controller, "AG4")
    gas.flow = 0.1
    said(controller, "AV")
    again = FlowController(gas.stream(), full_scale_l_min=5.0)
    again.restore(controller.to_json())
    assert said(again, "A") == said(controller, "A")
    for broken in ({}, {"gas": 77, "locked": False, "tare_l_min": 0}):
        with pytest.raises(StateError):
            again.restore(broken)


@pytest.fixture
async def master(controller):
    """The controller's registers on an RTU line, and a client of another make."""
    async with RtuWire({1: AlicatRegisters(controller)}) as wire:
        client = AsyncModbusSerialClient(wire.address, baudrate=19200, timeout=5)
        assert await client.connect()
        yield client
        client.close()


async def floats(client, address, count):
    words = (await client.read_holding_registers(address, count=2 * count, device_id=1)).registers
    return client.convert_from_registers(words, client.DATATYPE.FLOAT32)


async def test_registers_lie_one_below_the_manual(master, controller):
    pressure, temperature, volume, mass = await floats(master, 1203 - 1, 4)
    assert (temperature, mass) == (23.0, 1.5)
    assert pressure == pytest.approx(17.405, abs=0.001)
    assert volume == pytest.approx(1.258, abs=0.001)
    assert await floats(master, 1010 - 1, 1) == 1.5
    assert (await master.read_holding_registers(1200 - 1, count=3, device_id=1)).registers == [0, 0, 0]
    assert (await master.read_holding_registers(1211 - 1, count=2, device_id=1)).exception_code == 2


async def test_set_point_over_modbus(master, gas):
    words = master.convert_to_registers(2.25, master.DATATYPE.FLOAT32)
    assert not (await master.write_registers(1010 - 1, words, device_id=1)).isError()
    assert gas.flow == 2.25
    for value, code in ((4.5, 3), (float("nan"), 3)):
        words = master.convert_to_registers(value, master.DATATYPE.FLOAT32)
        assert (await master.write_registers(1010 - 1, words, device_id=1)).exception_code == code
    assert (await master.write_register(1010 - 1, 0, device_id=1)).exception_code == 2, "half a set point"
    assert (await master.write_registers(1209 - 1, [0, 0], device_id=1)).exception_code == 2, "a reading"
    assert gas.flow == 2.25


@pytest.mark.parametrize(
    ("command", "argument", "result"),
    [(1, 8, 0), (1, 99, 32_770), (4, 2, 0), (4, 9, 32_770), (7, 1, 0), (77, 0, 32_769)],
)
async def test_command_register_answers_its_result(master, command, argument, result):
    assert not (await master.write_registers(1000 - 1, [command, argument], device_id=1)).isError()
    assert (await master.read_holding_registers(1000 - 1, count=2, device_id=1)).registers == [command, result]


async def test_gas_and_status_over_modbus(master, controller, gas):
    assert not (await master.write_register(1200 - 1, 4, device_id=1)).isError()
    assert controller.gas == 4
    assert (await master.write_register(1200 - 1, 99, device_id=1)).exception_code == 3
    gas.flow, controller.is_held = 9.0, True
    assert (await master.read_holding_registers(1201 - 1, count=2, device_id=1)).registers == [0, 1 << 4 | 1 << 8]
