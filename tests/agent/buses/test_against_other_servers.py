"""The agent's masters against servers of two further makes, uModbus and Modbus TestKit, on TCP and on a serial line.

Their word is their own: what they answer was laid out by their code, not by ours.
"""

import asyncio
import random
import struct
import threading
from contextlib import asynccontextmanager, contextmanager
from socketserver import TCPServer, ThreadingMixIn

import pytest
import serial
from lms_agent.buses.opening import make_bus
from lms_agent.clock import SystemClock
from lms_agent.drivers.choosing import make_driver
from lms_agent.drivers.driver import Written
from lms_agent.errors import InstrumentRefused
from lms_agent.settings.dialects.modbus import ModbusInstrument, RegisterPoint
from lms_agent.settings.model import ModbusRtuBus, ModbusTcpBus
from modbus_tk import defines, modbus_rtu, modbus_tcp
from support.patience import until
from support.terminals import joined_terminals
from umodbus.server import tcp as umodbus_tcp
from umodbus.server.serial import get_server as umodbus_serial_server
from umodbus.server.serial.rtu import RTUServer

# Modbus TestKit is written for older Pythons, too.
pytestmark = pytest.mark.filterwarnings("ignore:.* is deprecated, .*:DeprecationWarning")

UNIT = 5
SLOW_BAUD = 1200
"""Of the servers' ports only: they take a pause of 1.5 characters for the end of a frame, and may be kept waiting."""

WORDS = {address: (address * 257 + 12_345) & 0xFFFF for address in range(40)}
FLOAT = struct.unpack(">2H", struct.pack(">f", 7.25))
WORDS |= {10: FLOAT[0], 11: FLOAT[1], 20: FLOAT[1], 21: FLOAT[0]}
BITS = {address: address % 3 == 0 for address in range(16)}

POINTS = (
    RegisterPoint(tag="A/PV", address=10, kind="float32"),
    RegisterPoint(tag="B/PV", address=20, kind="float32", word_order="little"),
    RegisterPoint(tag="C/PV", address=30),
    RegisterPoint(tag="D/PV", address=31, register="input"),
    RegisterPoint(tag="E/On", address=6, kind="bool", register="coil"),
    RegisterPoint(tag="F/On", address=7, kind="bool", register="discrete"),
)
EXPECTED = [7.25, 7.25, WORDS[30], WORDS[31] ^ 0xFFFF, True, False]


@contextmanager
def running(serve, stop):
    """A server in a thread of its own until the end of the block."""
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop()
        thread.join()


def route_all(server):
    """uModbus: one function for each kind of table, and one for each that can be written."""
    words, coils = dict(WORDS), dict(BITS)

    @server.route(slave_ids=[UNIT], function_codes=[6, 16], addresses=list(WORDS))
    def take_word(slave_id, function_code, address, value):
        words[address] = value

    @server.route(slave_ids=[UNIT], function_codes=[5, 15], addresses=list(BITS))
    def take_bit(slave_id, function_code, address, value):
        coils[address] = bool(value)

    @server.route(slave_ids=[UNIT], function_codes=[3], addresses=list(WORDS))
    def holding(slave_id, function_code, address):
        return words[address]

    @server.route(slave_ids=[UNIT], function_codes=[4], addresses=list(WORDS))
    def inputs(slave_id, function_code, address):
        return WORDS[address] ^ 0xFFFF

    @server.route(slave_ids=[UNIT], function_codes=[1], addresses=list(BITS))
    def bits(slave_id, function_code, address):
        return coils[address]

    @server.route(slave_ids=[UNIT], function_codes=[2], addresses=list(BITS))
    def inputs_of_one_bit(slave_id, function_code, address):
        return BITS[address]


def fill(server):
    """Modbus TestKit: a slave with four blocks."""
    slave = server.add_slave(UNIT)
    for name, kind, values in (
        ("words", defines.HOLDING_REGISTERS, [WORDS[address] for address in range(40)]),
        ("inputs", defines.ANALOG_INPUTS, [WORDS[address] ^ 0xFFFF for address in range(40)]),
        ("coils", defines.COILS, [int(BITS[address]) for address in range(16)]),
        ("bits", defines.DISCRETE_INPUTS, [int(BITS[address]) for address in range(16)]),
    ):
        slave.add_block(name, kind, 0, len(values))
        slave.set_values(name, 0, values)


class UmodbusTcp(ThreadingMixIn, TCPServer):
    """A server whose connections end with it."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False


@asynccontextmanager
async def umodbus_on_tcp():
    server = umodbus_tcp.get_server(UmodbusTcp, ("127.0.0.1", 0), umodbus_tcp.RequestHandler)
    route_all(server)
    with running(lambda: server.serve_forever(poll_interval=0.05), server.shutdown):
        yield ModbusTcpBus(id="b", kind="modbus-tcp", host="127.0.0.1", port=server.server_address[1], timeout_s=5.0)
    server.server_close()


@asynccontextmanager
async def umodbus_on_a_line():
    async with joined_terminals() as (ours, theirs):
        with serial.Serial(theirs, SLOW_BAUD) as port:
            server = umodbus_serial_server(RTUServer, port)
            route_all(server)
            with running(lambda: server.serve_forever(poll_interval=0.05), server.shutdown):
                yield ModbusRtuBus(id="b", kind="modbus-rtu", port=ours, timeout_s=5.0)


@asynccontextmanager
async def modbus_tk_on_tcp(free_port):
    server = modbus_tcp.TcpServer(port=free_port, address="127.0.0.1")
    fill(server)
    server.start()
    try:
        await until(lambda: server._sockets, "the server's thread listens")
        yield ModbusTcpBus(id="b", kind="modbus-tcp", host="127.0.0.1", port=free_port, timeout_s=5.0)
    finally:
        await asyncio.to_thread(server.stop)


@asynccontextmanager
async def modbus_tk_on_a_line():
    async with joined_terminals() as (ours, theirs):
        server = modbus_rtu.RtuServer(serial.Serial(theirs, SLOW_BAUD))
        fill(server)
        server.start()
        try:
            yield ModbusRtuBus(id="b", kind="modbus-rtu", port=ours, timeout_s=5.0)
        finally:
            await asyncio.to_thread(server.stop)


@pytest.fixture(params=["umodbus on TCP", "umodbus on a line", "testkit on TCP", "testkit on a line"])
async def bus_settings(request, free_port):
    """How the agent reaches the server."""
    make = {
        "umodbus on TCP": umodbus_on_tcp,
        "umodbus on a line": umodbus_on_a_line,
        "testkit on TCP": lambda: modbus_tk_on_tcp(free_port),
        "testkit on a line": modbus_tk_on_a_line,
    }[request.param]
    async with make() as settings:
        yield settings


@pytest.fixture
async def driver_of(bus_settings):
    """`driver_of(*points)`: a driver of the agent's on the server."""
    bus = make_bus(bus_settings, SystemClock(), random.Random(1))

    def make(*points, **more):
        instrument = ModbusInstrument(id="i", bus="b", bioreactor="R1", unit=UNIT, point=points, **more)
        return make_driver(instrument, bus, range(len(points)))

    yield make
    await bus.close()


async def test_every_kind_of_table_is_read(driver_of):
    driver = driver_of(*POINTS)
    for _ in range(5):
        outcome = await driver.read()
        assert outcome.failures == []
        assert [each.value for each in sorted(outcome.readings, key=lambda each: each.tag)] == EXPECTED


async def test_address_that_is_not_there_is_refused_and_hides_nothing(driver_of):
    outcome = await driver_of(POINTS[0], RegisterPoint(tag="G/PV", address=500)).read()
    assert [each.value for each in outcome.readings] == [7.25]
    ((tags, error),) = outcome.failures
    assert tags == (1,)
    assert isinstance(error, InstrumentRefused)


@pytest.mark.parametrize("single", [True, False], ids=["one register a write", "many"])
async def test_value_is_written_and_is_what_the_server_then_holds(driver_of, single):
    driver = driver_of(
        RegisterPoint(tag="A/SP", address=10, kind="float32", access="write"),
        RegisterPoint(tag="B/SP", address=20, kind="float32", word_order="little", access="write"),
        RegisterPoint(tag="C/SP", address=30, kind="int16", scale=0.1, access="write"),
        RegisterPoint(tag="D/On", address=4, kind="bool", register="coil", access="write"),
        single_writes=single,
    )
    for index, value in ((0, -2.5), (1, 1e6), (2, -40.5), (3, True)):
        assert await driver.write(index, value) == Written(confirmed=True, sent=value, read_back=value)
    outcome = await driver.read()
    assert [each.value for each in sorted(outcome.readings, key=lambda each: each.tag)] == [-2.5, 1e6, -40.5, True]
