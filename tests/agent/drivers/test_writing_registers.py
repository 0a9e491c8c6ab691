"""A value goes out once, at its turn, as exact as the registers hold it; what they hold then is read back."""

import random

import pytest
from lms_agent.buses.opening import make_bus
from lms_agent.clock import SystemClock
from lms_agent.drivers.choosing import make_driver
from lms_agent.drivers.driver import Written
from lms_agent.errors import InstrumentRefused, NotWritable, PortError
from lms_agent.settings.dialects.modbus import ModbusInstrument, RegisterPoint
from lms_agent.settings.model import ModbusTcpBus
from lms_firmware_sim.wires import Fault, ModbusTcpWire, RegisterMap

POINTS = (
    RegisterPoint(tag="pH/SP", address=0, kind="float32", word_order="little", access="write"),
    RegisterPoint(tag="Temperature/SP", address=2, kind="int16", scale=0.1, access="write"),
    RegisterPoint(tag="Pump/On", address=5, kind="bool", register="coil", access="write"),
    RegisterPoint(tag="Total/SP", address=3, kind="uint64", byte_order="little", access="write"),
    RegisterPoint(tag="pH/PV", address=7, kind="float32"),
    RegisterPoint(tag="Far/SP", address=500, kind="uint16", access="write"),
)
PH, TEMPERATURE, PUMP, TOTAL, READ_ONLY, FAR = range(6)


class CalledOff(Exception):
    pass


def call_off():
    raise CalledOff


@pytest.fixture
async def wire():
    async with ModbusTcpWire({1: RegisterMap(coil={5: False}, holding=dict.fromkeys(range(9), 0))}) as laid:
        yield laid


@pytest.fixture
async def driver_on(wire):
    buses = []

    def make(**more):
        bus_settings = ModbusTcpBus(id="b", kind="modbus-tcp", host=wire.host, port=wire.port, timeout_s=0.2)
        buses.append(make_bus(bus_settings, SystemClock(), random.Random(1)))
        instrument = ModbusInstrument(id="i", bus="b", bioreactor="R1", point=POINTS, **more)
        return make_driver(instrument, buses[-1], range(len(POINTS)))

    yield make
    for bus in buses:
        await bus.close()


@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize(
    ("index", "value", "held"),
    [
        (PH, 7.1, 7.099999904632568),
        (TEMPERATURE, 37.24, 37.2),
        (TEMPERATURE, -3, -3.0),
        (PUMP, True, True),
        (TOTAL, 2**64 - 1, 2**64 - 1),
    ],
)
async def test_value_is_written_and_read_back(driver_on, index, value, held, single):
    driver = driver_on(single_writes=single)
    assert await driver.write(index, value) == Written(confirmed=True, sent=held, read_back=held)
    outcome = await driver.read()
    assert next(reading.value for reading in outcome.readings if reading.tag == index) == held


async def test_function_is_what_the_instrument_knows(driver_on, wire):
    for single, functions in ((True, {5, 6, 16}), (False, {15, 16})):
        driver = driver_on(single_writes=single)
        wire.requests.clear()
        for index, value in ((PH, 7.0), (TEMPERATURE, 30.0), (PUMP, True)):
            await driver.write(index, value)
        assert {request.function for request in wire.requests} - {1, 3} == functions


async def test_write_that_is_called_off_at_its_turn_is_not_sent(driver_on, wire):
    driver = driver_on()
    with pytest.raises(CalledOff):
        await driver.write(PH, 7.0, call_off)
    assert not [request for request in wire.requests if request.function in (5, 6, 15, 16)]
    assert (await driver.write(PH, 7.0)).confirmed


async def test_silence_is_no_confirmation_and_nothing_is_sent_twice(driver_on, wire):
    driver = driver_on()
    await driver.read()
    wire.fault = Fault.silence()
    wire.requests.clear()
    written = await driver.write(PH, 7.0)
    assert (written.confirmed, written.read_back) == (False, None)
    assert "no reply" in written.doubt
    assert len([request for request in wire.requests if request.function == 16]) <= 1


async def test_instrument_that_refuses_is_heard(driver_on):
    with pytest.raises(InstrumentRefused):
        await driver_on().write(FAR, 1)


@pytest.mark.parametrize(
    ("index", "value"),
    [(READ_ONLY, 7.0), (PH, "7"), (PH, True), (PH, None), (TEMPERATURE, 4000.0), (PUMP, 1.0), (TOTAL, -1)],
)
async def test_what_does_not_fit_is_not_sent(driver_on, wire, index, value):
    with pytest.raises(NotWritable, match=POINTS[index].tag):
        await driver_on().write(index, value)
    assert not wire.requests


async def test_line_that_is_not_there_is_no_doubt(driver_on, wire):
    driver = driver_on()
    await wire.__aexit__(None, None, None)
    with pytest.raises(PortError):
        await driver.write(PH, 7.0)
