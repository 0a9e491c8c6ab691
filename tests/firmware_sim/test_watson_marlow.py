"""Watson-Marlow pumps, byte by byte."""

import pytest
from lms_firmware_sim.errors import StateError
from lms_firmware_sim.instruments.watson_marlow import PULSES_PER_REVOLUTION, Pump
from lms_firmware_sim.wires import Fault, FaultKind, TextWire
from support.set_clocks import SetSeconds


@pytest.fixture
def clock():
    return SetSeconds(0.0)


@pytest.fixture
def pump(clock):
    return Pump(number=1, clock=clock)


def said(pump, command):
    reply = pump.hear(command)
    return None if reply is None else reply.lines[0]


def test_status_is_that_of_the_manual(pump, clock):
    for command in ("1SP220", "1GO"):
        assert said(pump, command) is None, "a setting is not answered"
    clock.now = 60.0
    pulses = 220 * PULSES_PER_REVOLUTION
    assert said(pump, "1RS") == f"520Du 15.84 520R 9.6MM 220.0 CW P/N 1 {pulses} 1 !"
    assert (said(pump, "1RT"), said(pump, "1ZY")) == (str(pulses), "1")


def test_small_pump_says_less(clock):
    pump = Pump(model="323Du", max_rpm=400.0, clock=clock)
    for command in ("1SP110", "1RL", "1GO"):
        said(pump, command)
    assert said(pump, "1RS") == "323Du 110 CCW 1 !"
    assert said(pump, "1RT") is None
    assert said(pump, "1ZY") == "1"


def test_speed_direction_and_limits(pump):
    said(pump, "1SP12.5")
    said(pump, "1SI")
    assert pump.speed_rpm == 13.5
    said(pump, "1SD")
    said(pump, "1SP999")
    assert pump.speed_rpm == 220.0
    said(pump, "1RC")
    assert not pump.is_clockwise
    said(pump, "1SPfast")
    assert pump.speed_rpm == 220.0


def test_dose_ends_by_itself(pump, clock):
    said(pump, "1SP60")
    said(pump, f"1DO{10 * PULSES_PER_REVOLUTION}")
    clock.now = 5.0
    assert (pump.is_running, pump.flow_ml_min) == (True, 60 * 15.84)
    clock.now = 100.0
    assert (pump.is_running, pump.pulses) == (False, 10 * PULSES_PER_REVOLUTION)
    said(pump, "1TC")
    assert pump.pulses == 0


async def test_pumps_share_a_line_and_obey_a_broadcast(clock, raw_line):
    pumps = [Pump(number=number, clock=clock) for number in (1, 2, 12)]
    async with TextWire(pumps) as wire:
        line = raw_line(wire.address)
        line.write(b"#SP20\r#GO\r#RS\r2ST\r2ZY\r12ZY\r7ZY\r1ZY\r")
        assert await line.read(6) == b"0\r1\r1\r"
        assert {pump.speed_rpm for pump in pumps} == {20.0}


async def test_echo_sends_every_byte_back(pump, raw_line):
    async with TextWire([pump], echo=True) as wire:
        line = raw_line(wire.address)
        line.write(b"1ZY\r")
        assert await line.read(6) == b"1ZY\r0\r"


@pytest.mark.parametrize(
    ("fault", "heard"),
    [
        ("wrong-unit", "520Du 15.84 520R 9.6MM 110.0 CW P/N 2 0 0 !"),
        ("wrong-function", "0"),
        ("wrong-count", "520Du 15.84 520R 9.6MM 110.0 CW P/N 1 0 !"),
        ("out-of-range", "520Du 15.84 520R 9.6MM 9999.9 CW P/N 1 0 0 !"),
        ("not-a-number", "520Du 15.84 520R 9.6MM ---.- CW P/N 1 0 0 !"),
        ("echo", "1RS\r520Du 15.84 520R 9.6MM 110.0 CW P/N 1 0 0 !"),
        ("truncated", "520Du 15.84 520R 9.6MM 110.0 CW P/N 1 0 0"),
    ],
)
async def test_fault_shows_on_the_line(pump, raw_line, fault, heard):
    async with TextWire([pump]) as wire:
        line = raw_line(wire.address)
        wire.fault = Fault.of(fault)
        line.write(b"1RS\r")
        expected = heard.encode() + (b"" if fault == "truncated" else b"\r")
        assert await line.read(len(expected)) == expected


@pytest.mark.parametrize("kind", [FaultKind.OUT_OF_RANGE, FaultKind.NOT_A_NUMBER, FaultKind.WRONG_FUNCTION])
def test_short_answers_can_be_wrong_too(pump, kind):
    assert pump.spoiled(kind, "1") != "1"


def test_what_is_kept_is_restored_at_rest(pump, clock):
    for command in ("1SP33.3", "1RL", "1GO"):
        said(pump, command)
    clock.now = 6.0
    again = Pump(number=1, clock=clock)
    again.restore(pump.to_json())
    assert (again.speed_rpm, again.is_clockwise, again.pulses) == (33.3, False, pump.pulses)
    assert not again.is_running
    with pytest.raises(StateError):
        again.restore({"speed_rpm": "fast"})
