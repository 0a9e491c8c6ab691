"""Pumps: one status for everything, and orders that only the status confirms."""

import pytest
from lms_agent.errors import NotWritable, ReplyRefused
from lms_agent.settings.dialects.watson_marlow import PumpPoint, WatsonMarlowInstrument
from lms_firmware_sim.instruments.watson_marlow import Pump
from lms_firmware_sim.wires import Fault, TextWire

SPEED = PumpPoint(tag="Base/SP", field="speed", access="write")
RUNNING = PumpPoint(tag="Base/On", field="running", access="write")
DIRECTION = PumpPoint(tag="Base/Direction", field="direction", access="write")
TACHO = PumpPoint(tag="Base/Turns", field="tacho")
ALL = (SPEED, RUNNING, DIRECTION, TACHO)


def pump(number=1, **more):
    return Pump(number=number, clock=lambda: 0.0, **more)


def said(wire):
    return [request.function for request in wire.requests]


@pytest.mark.parametrize("echo", [False, True])
async def test_one_question_gives_everything(echo, speaking):
    async with TextWire([pump()], echo=echo) as wire:
        outcome = await speaking(WatsonMarlowInstrument, wire, *ALL).read()
        assert said(wire) == ["1RS"]
    assert outcome.failures == []
    assert [reading.value for reading in outcome.readings] == [110.0, False, "CW", 0]


@pytest.mark.parametrize("echo", [False, True])
async def test_status_without_a_line_end_is_whole(echo, speaking):
    bare = pump()
    bare.end = b""
    async with TextWire([bare], echo=echo) as wire:
        driver = speaking(WatsonMarlowInstrument, wire, *ALL)
        for _ in range(2):
            assert [reading.value for reading in (await driver.read()).readings] == [110.0, False, "CW", 0]
        assert (await driver.write(0, 50.0)).confirmed


async def test_small_pump_has_no_tacho(speaking):
    async with TextWire([pump(model="323Du", max_rpm=400.0)]) as wire:
        outcome = await speaking(WatsonMarlowInstrument, wire, *ALL).read()
    assert [reading.value for reading in outcome.readings] == [200.0, False, "CW"]
    ((tags, error),) = outcome.failures
    assert tags == (103,)
    assert "this pump has no tacho" in str(error)


async def test_small_pump_is_told_whole_rpm(speaking):
    async with TextWire([pump(model="323Du", max_rpm=400.0)]) as wire:
        driver = speaking(WatsonMarlowInstrument, wire, SPEED)
        assert await driver.write(0, 55.4) == (True, 55.0, 55.0, "")
        assert said(wire) == ["1RS", "1SP055", "1RS"]


@pytest.mark.parametrize("echo", [False, True])
async def test_orders_are_confirmed_by_the_status(echo, speaking):
    async with TextWire([pump(), pump(2)], echo=echo) as wire:
        driver = speaking(WatsonMarlowInstrument, wire, *ALL, unit=2)
        assert await driver.write(0, 55.24) == (True, 55.2, 55.2, "")
        assert await driver.write(1, True) == (True, True, True, "")
        assert await driver.write(2, "CCW") == (True, "CCW", "CCW", "")
        assert await driver.write(1, False) == (True, False, False, "")
        assert said(wire) == ["2RS", "2SP055.2", "2RS", "2GO", "2RS", "2RL", "2RS", "2ST", "2RS"]
        assert wire.instruments[0].speed_rpm == 110.0


@pytest.mark.parametrize(("index", "value"), [(0, 20.0), (1, True), (2, "CCW")])
async def test_first_thing_that_a_pump_is_asked_may_be_an_order(index, value, speaking):
    async with TextWire([pump()]) as wire:
        assert await speaking(WatsonMarlowInstrument, wire, *ALL).write(index, value) == (True, value, value, "")


async def test_no_order_goes_through_a_port_that_was_opened_again(speaking, line_on):
    async with TextWire([pump()]) as wire:
        line = line_on(wire)
        driver = speaking(WatsonMarlowInstrument, line, *ALL)
        await driver.read()
        line._stream.close()
        assert (await driver.read()).failures == []
        assert (await driver.write(1, True)).confirmed


async def test_speed_beyond_the_pump_is_in_doubt_with_what_holds(speaking):
    async with TextWire([pump()]) as wire:
        written = await speaking(WatsonMarlowInstrument, wire, SPEED).write(0, 300.0)
    assert written == (False, 300.0, 220.0, "the pump says 220.0 afterwards")


async def test_order_to_a_silent_pump_is_in_doubt_and_sent_once(speaking):
    async with TextWire([pump()]) as wire:
        driver = speaking(WatsonMarlowInstrument, wire, SPEED, timeout_s=0.1)
        await driver.read()
        wire.fault = Fault.silence()
        written = await driver.write(0, 50.0)
        assert said(wire) == ["1RS", "1SP050.0", "1RS"]
    assert (written.confirmed, written.read_back) == (False, None)
    assert "no reply from unit 1" in written.doubt


@pytest.mark.parametrize(
    ("index", "value"), [(0, -1.0), (0, 1000.0), (0, True), (1, 1.0), (2, "left"), (3, 5), (0, None), (0, float("nan"))]
)
async def test_what_a_pump_does_not_understand_is_never_sent(index, value, speaking):
    async with TextWire([pump()]) as wire:
        with pytest.raises(NotWritable, match="cannot be written"):
            await speaking(WatsonMarlowInstrument, wire, *ALL).write(index, value)
        assert set(said(wire)) <= {"1RS"}


async def test_pump_with_another_number_is_not_believed(speaking):
    class Liar(Pump):
        def status(self):
            return super().status().replace("P/N 1", "P/N 3")

    async with TextWire([Liar(number=1, clock=lambda: 0.0)]) as wire:
        ((_, error),) = (await speaking(WatsonMarlowInstrument, wire, SPEED).read()).failures
    assert isinstance(error, ReplyRefused)


async def test_no_fault_becomes_a_value(speaking, line_on, fault_kind):
    pumps = [pump(1), pump(2)]
    async with TextWire(pumps, seed=3) as wire:
        line = line_on(wire, timeout_s=0.04)
        drivers = [speaking(WatsonMarlowInstrument, line, SPEED, unit=unit) for unit in (1, 2)]
        for number in range(12):
            wire.fault = None if number < 1 else Fault.of(fault_kind, delay_s=0.1, share=0.5)
            for offset, (one, driver) in enumerate(zip(pumps, drivers, strict=True)):
                one.speed_rpm = 50.0 * (1 + offset) + number
                for reading in (await driver.read()).readings:
                    assert reading.value == one.speed_rpm
