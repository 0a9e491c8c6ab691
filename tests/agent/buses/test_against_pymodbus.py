"""The agent's masters against servers of other hands: pymodbus over TCP, and over RTU on a pair of terminals."""

import random
import struct

import pytest
from lms_agent.buses.opening import make_bus
from lms_agent.clock import SystemClock
from lms_agent.drivers.choosing import make_driver
from lms_agent.settings.dialects.modbus import ModbusInstrument, RegisterPoint
from lms_agent.settings.model import ModbusRtuBus, ModbusTcpBus
from pymodbus import FramerType
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
from support.terminals import joined_terminals

WORDS = list(struct.unpack(">6H", struct.pack(">fd", 7.25, -0.0)))


def device() -> SimDevice:
    bits = [SimData(0, values=[True, False, False, True] * 4, datatype=DataType.BITS)]
    words = [SimData(100, values=WORDS, datatype=DataType.REGISTERS)]
    other = [SimData(100, values=[word ^ 0xFFFF for word in WORDS], datatype=DataType.REGISTERS)]
    return SimDevice(id=5, simdata=(bits, bits, words, other))


@pytest.fixture
async def terminals():
    async with joined_terminals() as ends:
        yield ends


async def values_of(bus_settings):
    bus = make_bus(bus_settings, SystemClock(), random.Random(1))
    points = (
        RegisterPoint(tag="A/PV", address=100, kind="float32"),
        RegisterPoint(tag="B/PV", address=102, kind="float64"),
        RegisterPoint(tag="C/PV", address=100, register="input"),
        RegisterPoint(tag="D/On", address=3, kind="bool", register="coil"),
        RegisterPoint(tag="E/On", address=2, kind="bool", register="discrete"),
    )
    instrument = ModbusInstrument(id="i", bus="b", bioreactor="R1", unit=5, point=points)
    try:
        outcome = await make_driver(instrument, bus, range(5)).read()
    finally:
        await bus.close()
    assert outcome.failures == []
    return [value for _, value in sorted((reading.tag, reading.value) for reading in outcome.readings)]


EXPECTED = [7.25, -0.0, WORDS[0] ^ 0xFFFF, True, False]


async def test_tcp_server_of_pymodbus_is_read():
    server = ModbusTcpServer(device(), address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    try:
        port = server.transport.sockets[0].getsockname()[1]
        settings = ModbusTcpBus(id="b", kind="modbus-tcp", host="127.0.0.1", port=port, timeout_s=5.0)
        assert await values_of(settings) == EXPECTED
    finally:
        await server.shutdown()


async def test_rtu_server_of_pymodbus_is_read(terminals):
    ours, theirs = terminals
    server = ModbusSerialServer(device(), framer=FramerType.RTU, port=theirs, baudrate=19200)
    await server.serve_forever(background=True)
    try:
        settings = ModbusRtuBus(id="b", kind="modbus-rtu", port=ours, timeout_s=5.0)
        assert await values_of(settings) == EXPECTED
    finally:
        await server.shutdown()
