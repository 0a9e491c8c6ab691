"""Drivers on real wires: replies become readings with quality and the time that the reply came."""

import math
import random

import pytest
from lms_agent.buses.opening import make_bus
from lms_agent.clock import SystemClock
from lms_agent.drivers.choosing import make_driver
from lms_agent.errors import InstrumentBusy, InstrumentRefused, NotWritable, ReplyRefused, ReplyTimeout
from lms_agent.settings.dialects.modbus import ModbusInstrument, RegisterPoint
from lms_agent.settings.dialects.mt_sics import CommandPoint, MtSicsInstrument
from lms_agent.settings.model import ModbusTcpBus, SerialBus
from lms_firmware_sim.wires import BalanceWire, Fault, FaultKind, ModbusTcpWire, RegisterMap
from lms_firmware_sim.wires.text_wire import Reply
from lms_protocol.reading import Quality

TIMEOUT_S = 1.0


@pytest.fixture
async def driver_on():
    """`driver_on(wire, *points, numbers=None, **instrument)`: a driver on its own bus."""
    buses = []

    def make(wire, *points, timeout_s=TIMEOUT_S, **more):
        common = {"id": "i", "bus": "b", "bioreactor": "R1", "point": points, **more}
        if isinstance(wire, BalanceWire):
            bus_settings = SerialBus(id="b", kind="serial", port=wire.address, timeout_s=timeout_s)
            instrument = MtSicsInstrument(driver="mt-sics", **common)
        else:
            bus_settings = ModbusTcpBus(id="b", kind="modbus-tcp", host=wire.host, port=wire.port, timeout_s=timeout_s)
            instrument = ModbusInstrument(**common)
        bus = make_bus(bus_settings, SystemClock(), random.Random(1))
        buses.append(bus)
        return make_driver(instrument, bus, [100 + number for number in range(len(points))])

    yield make
    for bus in buses:
        await bus.close()


async def test_points_of_all_kinds_become_readings(driver_on):
    registers = RegisterMap(coil={5: True})
    registers.put(0, 7.01, "float32")
    registers.put(2, 40.5, "float64", word_order="little")
    registers.put(6, 372, "int16")
    registers.put(7, 0b100)
    registers.put(8, 2**64 - 1, "uint64")
    async with ModbusTcpWire({1: registers}) as wire:
        driver = driver_on(
            wire,
            RegisterPoint(tag="pH/PV", address=0, kind="float32"),
            RegisterPoint(tag="DO/PV", address=2, kind="float64", word_order="little"),
            RegisterPoint(tag="T/PV", address=6, kind="int16", scale=0.1),
            RegisterPoint(tag="Pump/On", address=7, kind="bool", bit=2),
            RegisterPoint(tag="Total/PV", address=8, kind="uint64"),
            RegisterPoint(tag="Lamp/On", address=5, kind="bool", register="coil"),
        )
        outcome = await driver.read()
    assert outcome.failures == []
    by_tag = {reading.tag: reading for reading in outcome.readings}
    assert [by_tag[100 + number].value for number in range(6)] == [
        7.010000228881836,
        40.5,
        37.2,
        True,
        2**64 - 1,
        True,
    ]
    assert {reading.quality for reading in outcome.readings} == {Quality.GOOD}


@pytest.mark.parametrize(
    ("value", "quality"),
    [(7.0, 192), (0.0, 192), (14.0, 192), (-0.5, 64), (14.5, 64), (math.nan, 64), (math.inf, 64)],
)
async def test_value_out_of_the_measuring_range_is_kept_and_flagged(value, quality, driver_on):
    registers = RegisterMap()
    registers.put(0, value, "float32")
    async with ModbusTcpWire({1: registers}) as wire:
        driver = driver_on(wire, RegisterPoint(tag="pH/PV", address=0, kind="float32", minimum=0.0, maximum=14.0))
        (reading,) = (await driver.read()).readings
    assert reading.quality == quality
    assert reading.value == value or (math.isnan(value) and math.isnan(reading.value))


async def test_refused_block_does_not_hide_the_others(driver_on):
    async with ModbusTcpWire({1: RegisterMap(holding={0: 1, 200: 2})}) as wire:
        points = [RegisterPoint(tag=f"T/{at}", address=at) for at in (0, 100, 200)]
        outcome = await driver_on(wire, *points).read()
    assert [(reading.tag, reading.value) for reading in outcome.readings] == [(100, 1), (102, 2)]
    ((tags, error),) = outcome.failures
    assert tags == (101,)
    assert isinstance(error, InstrumentRefused)


async def test_silent_instrument_is_asked_once_not_for_every_block(driver_on):
    async with ModbusTcpWire({1: RegisterMap(holding={0: 1, 200: 2})}) as wire:
        wire.fault = Fault.silence()
        points = [RegisterPoint(tag=f"T/{at}", address=at) for at in (0, 100, 200)]
        outcome = await driver_on(wire, *points, timeout_s=0.05).read()
        assert len(wire.requests) == 1
    ((tags, error),) = outcome.failures
    assert tags == (100, 101, 102)
    assert isinstance(error, ReplyTimeout)


WEIGHT = CommandPoint(tag="Weight/PV", unit="g", maximum=5000.0)


@pytest.mark.parametrize("stable", [True, False])
@pytest.mark.parametrize("weight", [0.0, 100.0, -3.25, 4999.99])
async def test_weight_is_read_stable_or_moving(weight, stable, driver_on):
    async with BalanceWire(weight, is_stable=stable) as wire:
        (reading,) = (await driver_on(wire, WEIGHT).read()).readings
    assert (reading.tag, reading.value, reading.quality) == (100, weight, Quality.GOOD)


async def test_overload_is_bad_and_beyond_the_range_uncertain(driver_on):
    async with BalanceWire(lambda: weight) as wire:
        driver = driver_on(wire, WEIGHT)
        weight = 40_000.0
        (over,) = (await driver.read()).readings
        assert (over.value, over.quality) == (None, Quality.BAD)
        weight = 5_001.0
        (beyond,) = (await driver.read()).readings
        assert (beyond.value, beyond.quality) == (5001.0, Quality.UNCERTAIN)


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (Fault.of(FaultKind.WRONG_UNIT), ReplyRefused, "the weight is in 'lb', but Weight/PV is configured in 'g'"),
        (Fault.of(FaultKind.NOT_A_NUMBER), ReplyRefused, "is no weight|is no reply"),
        (Fault.of(FaultKind.BUSY), InstrumentBusy, "busy"),
        (Fault.bad_crc(), ReplyRefused, "is no reply to SI"),
        (Fault.of(FaultKind.WRONG_FUNCTION), ReplyRefused, "is no reply to SI"),
    ],
)
async def test_what_is_no_weight_in_the_configured_unit_is_refused(fault, error, words, driver_on):
    async with BalanceWire() as wire:
        wire.fault = fault
        outcome = await driver_on(wire, WEIGHT).read()
    assert outcome.readings == []
    ((tags, found),) = outcome.failures
    assert tags == (100,)
    assert isinstance(found, error)
    import re

    assert re.search(words, str(found)), str(found)


async def test_busy_balance_is_asked_once_more(driver_on):
    async with BalanceWire(12.5) as wire:
        wire.fault = Fault.busy(times=1)
        (reading,) = (await driver_on(wire, WEIGHT).read()).readings
    assert reading.value == 12.5


TARE = CommandPoint(tag="Weight/Tare", unit="g", command="TA", access="write", decimals=2)


async def test_tare_is_set_confirmed_and_taken_off(driver_on):
    async with BalanceWire(100.0) as wire:
        driver = driver_on(wire, WEIGHT, TARE)
        assert await driver.write(1, 12.5) == (True, 12.5, 12.5, "")
        assert [reading.value for reading in (await driver.read()).readings] == [87.5, 12.5]


async def test_tare_that_the_balance_rounds_is_confirmed_as_it_holds_it(driver_on):
    async with BalanceWire(100.0, decimals=1) as wire:
        fine = TARE.model_copy(update={"decimals": 3})
        assert await driver_on(wire, fine).write(0, 12.344) == (True, 12.344, 12.3, "")


@pytest.mark.parametrize(
    ("point", "value", "error", "words"),
    [
        (TARE, 99_999.0, InstrumentRefused, "answers error L: it does not take the value"),
        (TARE, math.nan, NotWritable, "is no tare"),
        (TARE, True, NotWritable, "is no tare"),
        (WEIGHT, 5.0, NotWritable, "cannot be written"),
    ],
)
async def test_what_is_no_tare_is_refused(point, value, error, words, driver_on):
    async with BalanceWire(100.0) as wire:
        with pytest.raises(error, match=words):
            await driver_on(wire, point).write(0, value)


async def test_tare_that_is_not_answered_is_in_doubt_sent_once_and_read_back(driver_on):
    async with BalanceWire(100.0) as wire:
        driver = driver_on(wire, TARE, timeout_s=0.2)
        await driver.read()
        wire.fault = Fault.silence(times=1)
        written = await driver.write(0, 12.5)
        sent = [request.function for request in wire.requests]
    assert (written.confirmed, written.sent, written.read_back) == (False, 12.5, 12.5)
    assert sent.count("TA 12.50 g") == 1


async def test_tare_stays_in_doubt_when_the_balance_is_busy_afterwards(driver_on, monkeypatch):
    async with BalanceWire(100.0) as wire:
        driver = driver_on(wire, TARE, timeout_s=0.2)
        await driver.read()
        hear, wire.fault = wire.balance.hear, Fault.silence(times=1)
        busy = Reply.of("TA I")
        monkeypatch.setattr(wire.balance, "hear", lambda line: busy if line == "TA" else hear(line))
        written = await driver.write(0, 12.5)
    assert (written.confirmed, written.read_back) == (False, None)


async def test_late_weight_is_not_taken_for_the_stable_weight(driver_on):
    """Their replies look alike: after one that was missed the balance is asked something else first."""
    async with BalanceWire(100.0) as wire:
        driver = driver_on(wire, WEIGHT, timeout_s=0.2)
        wire.fault = Fault.silence(times=1)
        assert (await driver.read()).readings == []
        stable = CommandPoint(tag="Weight/Stable", unit="g", command="S")
        other = make_driver(
            MtSicsInstrument(id="j", bus="b", bioreactor="R1", driver="mt-sics", point=[stable]), driver._line, [100]
        )
        assert len((await other.read()).readings) == 1
        assert [request.function for request in wire.requests] == ["SI", "I4", "S"]
