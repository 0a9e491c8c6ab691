"""A line of text is believed only if it has the form of a reply to what was asked."""

import re

import pytest
from lms_agent.buses.text_commands import Command
from lms_agent.errors import InstrumentError, ReplyOutOfStep, ReplyRefused, ReplyTimeout
from lms_firmware_sim.wires import BalanceWire, Fault, FaultKind
from lms_firmware_sim.wires.text_wire import TextWire

WEIGHT = Command(b"SI", re.compile(rb"S [SD] (?P<weight>[ \-0-9.]{10}) g"))
SERIAL = Command(b"I4", re.compile(rb'I4 A ".*"|E[STL]'))


class Pan:
    """Every look at it weighs another hundredth of a gram more."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self) -> float:
        return self.looks / 100


@pytest.mark.parametrize(
    "fault",
    [
        Fault.late(0.1, share=0.4),
        Fault.late(0.06),
        Fault.shifted(),
        Fault.truncated(2, share=0.4),
        Fault.truncated(5, share=0.4),
        Fault.garbage_before(share=0.4),
        Fault.garbage_after(share=0.4),
        Fault.bad_crc(share=0.4),
        Fault.silence(share=0.4),
        Fault.of(FaultKind.WRONG_FUNCTION, share=0.4),
        Fault.of(FaultKind.WRONG_COUNT, share=0.4),
        Fault.of(FaultKind.WRONG_UNIT, share=0.4),
        Fault.of(FaultKind.ECHO, share=0.4),
        Fault.of(FaultKind.SLOW_BYTES, delay_s=0.02, share=0.3),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.share}-{fault.size}-{fault.delay_s}",
)
async def test_no_foreign_line_becomes_a_weight(fault, master_on):
    pan = Pan()
    async with BalanceWire(pan) as wire:
        line = master_on(wire, timeout_s=0.04)
        for number in range(40):
            if number == 5:
                wire.fault = fault
            pan.looks = number
            try:
                match, _ = await line.ask(WEIGHT, [SERIAL])
            except InstrumentError:
                continue
            assert float(match["weight"]) == number / 100


async def test_lines_that_lag_behind_are_named(master_on):
    async with BalanceWire() as wire:
        line = master_on(wire, timeout_s=0.4)
        wire.fault = Fault.shifted()
        with pytest.raises(ReplyTimeout, match="no reply on"):
            await line.ask(WEIGHT, [SERIAL])
        with pytest.raises(ReplyOutOfStep, match="does not fit its command"):
            await line.ask(WEIGHT, [SERIAL])
        with pytest.raises(ReplyRefused):
            await line.ask(WEIGHT, [SERIAL])


async def test_echo_is_taken_off(master_on):
    async with BalanceWire(12.5) as wire:
        wire.fault = Fault.of(FaultKind.ECHO)
        match, _ = await master_on(wire, timeout_s=2.0).ask(WEIGHT, [SERIAL])
    assert float(match["weight"]) == 12.5


async def test_line_that_only_echoes_is_named(master_on):
    async with TextWire([], echo=True) as wire:
        with pytest.raises(ReplyRefused, match="only the command itself came back"):
            await master_on(wire).ask(WEIGHT, [SERIAL])
