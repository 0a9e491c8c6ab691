"""Of an instrument that says it is another model nothing is believed, and nothing is written to it."""

import random

import pytest
from lms_agent.buses.opening import make_bus
from lms_agent.clock import SystemClock
from lms_agent.drivers.choosing import make_driver
from lms_agent.errors import PortLost, ReplyTimeout, WrongInstrument
from lms_agent.settings.dialects.modbus import ModbusInstrument, RegisterPoint
from lms_agent.settings.model import ModbusTcpBus
from lms_firmware_sim.wires import Fault, FaultKind, ModbusTcpWire, RegisterMap
from lms_protocol.instruments.calibration import RegisterWrite, Step
from lms_protocol.instruments.facts import RegisterIdentity

IDENTITY = RegisterIdentity(address=100, count=4, texts=("EPH",), source="manual")


def _registers(text: str, value: float) -> RegisterMap:
    registers = RegisterMap()
    _say(registers, text)
    registers.put(0, value, "float32")
    return registers


def _say(registers: RegisterMap, text: str) -> None:
    for at in range(4):
        registers.put(100 + at, int.from_bytes(text.encode()[2 * at : 2 * at + 2], "big"))


@pytest.fixture
async def driver_on():
    buses = []

    def make(wire, timeout_s=1.0):
        bus = make_bus(
            ModbusTcpBus(id="b", kind="modbus-tcp", host=wire.host, port=wire.port, timeout_s=timeout_s),
            SystemClock(),
            random.Random(1),
        )
        buses.append(bus)
        point = RegisterPoint(tag="pH/PV", address=0, kind="float32", access="write")
        instrument = ModbusInstrument(
            id="i", bus="b", bioreactor="R1", profile="hamilton-arc-ph", identity=IDENTITY, point=(point,)
        )
        return make_driver(instrument, bus, [7])

    yield make
    for bus in buses:
        await bus.close()


async def test_the_right_model_is_read_and_asked_once_who_it_is(driver_on):
    registers = _registers("EPHUM011", 7.0)
    async with ModbusTcpWire({1: registers}) as wire:
        driver = driver_on(wire)
        for _ in range(3):
            assert [reading.value for reading in (await driver.read()).readings] == [7.0]
        assert len(wire.requests) == 4


async def test_another_model_gives_no_reading_and_is_told_by_name(driver_on):
    async with ModbusTcpWire({1: _registers("ODOUM102", 40.0)}) as wire:
        outcome = await driver_on(wire).read()
    assert outcome.readings == []
    ((tags, error),) = outcome.failures
    assert tags == (7,)
    assert isinstance(error, WrongInstrument)
    assert "says it is ODOUM102 or DOUO1M20, which is no hamilton-arc-ph" in str(error)


async def test_a_model_that_cannot_say_what_it_is_is_another_one(driver_on):
    registers = RegisterMap()
    registers.put(0, 7.0, "float32")
    async with ModbusTcpWire({1: registers}) as wire:
        ((_, error),) = (await driver_on(wire).read()).failures
    assert "cannot say what it is, so it is no hamilton-arc-ph" in str(error)


async def test_nothing_is_written_to_another_model(driver_on):
    registers = _registers("ODOUM102", 40.0)
    async with ModbusTcpWire({1: registers}) as wire:
        with pytest.raises(WrongInstrument):
            await driver_on(wire).write(0, 7.0)
        step = Step(write=RegisterWrite(address=0, kind="float32", values=("reference",)))
        with pytest.raises(WrongInstrument):
            await driver_on(wire).tell(step, 7.0)
        assert registers.value(0, "float32") == 40.0


async def test_port_that_was_opened_again_leads_to_somebody_who_is_asked_first(driver_on):
    registers = _registers("EPHUM011", 7.0)
    async with ModbusTcpWire({1: registers}) as wire:
        driver = driver_on(wire)
        assert len((await driver.read()).readings) == 1
        _say(registers, "DOUM0123")
        driver._master._stream.close()
        ((_, error),) = (await driver.read()).failures
        assert isinstance(error, WrongInstrument)


async def test_nothing_is_written_through_a_port_that_was_opened_again(driver_on):
    registers = _registers("EPHUM011", 7.0)
    async with ModbusTcpWire({1: registers}) as wire:
        driver = driver_on(wire)
        assert len((await driver.read()).readings) == 1
        driver._master._stream.close()
        with pytest.raises(PortLost, match="nothing was sent, try again"):
            await driver.write(0, 6.0)
        assert [reading.value for reading in (await driver.read()).readings] == [7.0]
        assert (await driver.write(0, 6.0)).confirmed


async def test_after_a_silence_it_is_asked_again_who_it_is(driver_on):
    units = {1: _registers("EPHUM011", 7.0)}
    async with ModbusTcpWire(units) as wire:
        driver = driver_on(wire, timeout_s=0.3)
        assert (await driver.read()).failures == []
        wire.fault = Fault(FaultKind.SILENCE)
        assert isinstance((await driver.read()).failures[0].error, ReplyTimeout)
        wire.fault = None
        units[1].put(0, 40.0, "float32")
        _say(units[1], "ODOUM102")
        for _ in range(10):
            outcome = await driver.read()
            assert outcome.readings == []
            if isinstance(outcome.failures[0].error, WrongInstrument):
                return
        raise AssertionError(outcome)
