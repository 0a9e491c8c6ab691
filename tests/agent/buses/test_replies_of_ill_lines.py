"""Whatever an ill line or instrument sends, no value that was not asked for is ever taken.

Every word that the simulated units hold says its unit, its address and at which request it was read, so that a reply
to any other request is seen at once. faults.md, rows 1 to 11 and 17.
"""

import asyncio
import random

import pytest
from lms_agent.buses.modbus_frames import ReadRequest, crc16
from lms_agent.errors import InstrumentBusy, InstrumentError, ReplyOutOfStep, ReplyRefused, ReplyTimeout
from lms_firmware_sim.wires import Fault, FaultKind
from support.patience import awaiting

ROUNDS = 30
SAME_SHAPE = [(0, 10), (20, 10), (40, 10)]
OTHER_SHAPES = [(0, 10), (20, 4), (40, 1), (50, 1)]
FAULTS = {
    "silence": Fault.silence(),
    "silence at times": Fault.silence(share=0.3),
    "late": Fault.late(0.05),
    "late at times": Fault.late(0.05, share=0.3),
    "very late at times": Fault.late(0.2, share=0.2),
    "just in time or not": Fault.late(0.03, share=0.5),
    "shifted": Fault.shifted(),
    "bad check sum": Fault.bad_crc(share=0.4),
    "truncated": Fault.truncated(share=0.4),
    "truncated much": Fault.truncated(12, share=0.4),
    "garbage before": Fault.garbage_before(share=0.4),
    "garbage after": Fault.garbage_after(share=0.4),
    "garbage after every reply": Fault.garbage_after(1),
    "wrong unit": Fault.of(FaultKind.WRONG_UNIT, share=0.4),
    "wrong function": Fault.of(FaultKind.WRONG_FUNCTION, share=0.4),
    "always wrong function": Fault.of(FaultKind.WRONG_FUNCTION),
    "too few": Fault.of(FaultKind.WRONG_COUNT, share=0.4),
    "too many": Fault.of(FaultKind.WRONG_COUNT, size=2, share=0.4),
    "busy": Fault.busy(share=0.4),
    "echo": Fault.of(FaultKind.ECHO, share=0.4),
    "one byte at a time": Fault.of(FaultKind.SLOW_BYTES, delay_s=0.02, share=0.2),
}


@pytest.mark.parametrize("blocks", [SAME_SHAPE, SAME_SHAPE[:1], OTHER_SHAPES], ids=["alike", "single", "mixed"])
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
@pytest.mark.parametrize("kind", ["rtu", "tcp", "tcp-zero"])
async def test_no_foreign_reply_becomes_a_value(kind, fault, blocks, *, wire_of, stamped, master_on):
    twins = blocks is SAME_SHAPE  # with and without the twin registers that probes ask for
    units = [stamped(1, twins=twins), stamped(2, twins=twins)]
    wrong = []
    async with wire_of(kind, *units, seed=len(blocks)) as wire:
        master = master_on(wire)
        chance = random.Random(7)
        for number in range(ROUNDS):
            if number == 5:
                wire.fault = fault
            unit = chance.choice(units)
            unit.stamp = number
            address, count = chance.choice(blocks)
            request = ReadRequest(unit.unit, 3, address, count)
            try:
                reply = await master.read(request)
            except InstrumentError:
                continue
            if reply.data != unit.expected(address, count):
                wrong.append((number, address, reply.data))
        assert wrong == []
        wire.fault = None
        for unit in units:
            assert await recovered(master, unit) == unit.expected(0, 10)


async def recovered(master, unit) -> bytes:
    """The first value after a fault's end; faults.md allows 60 s."""
    async with awaiting("a value after the fault"):
        while True:
            unit.stamp += 1
            try:
                return (await master.read(ReadRequest(unit.unit, 3, 0, 10))).data
            except InstrumentError:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("kind", ["rtu", "tcp"])
async def test_shifted_replies_are_never_believed_and_named(kind, wire_of, stamped, master_on):
    unit = stamped()
    async with wire_of(kind, unit) as wire:
        master = master_on(wire, timeout_s=0.3)
        wire.fault = Fault.shifted()
        errors = []
        for number in range(6):
            unit.stamp = number
            with pytest.raises(InstrumentError) as caught:
                await master.read(ReadRequest(1, 3, 0, 10))
            errors.append(caught.value)
    assert isinstance(errors[0], ReplyTimeout)
    if kind == "rtu":
        assert any(isinstance(error, ReplyOutOfStep) for error in errors)


async def test_late_reply_is_waited_out_and_costs_the_next_request_nothing(wire_of, stamped, master_on):
    unit = stamped()
    async with wire_of("rtu", unit) as wire:
        master = master_on(wire, timeout_s=0.4, silence_s=2.0)
        wire.fault = Fault.late(0.8, times=1)
        with pytest.raises(ReplyTimeout):
            await master.read(ReadRequest(1, 3, 0, 10))
        unit.stamp = 1
        assert (await master.read(ReadRequest(1, 3, 0, 10))).data == unit.expected(0, 10)
        assert len(wire.requests) == 2, "the late reply had been seen, so no probe was needed"


async def test_echoed_request_that_looks_like_a_reply_is_not_taken_for_one(wire_of, stamped, master_on):
    # 20 coils from address 0x0300: the request's own bytes are a well-formed reply of three data bytes.
    unit = stamped()
    unit.registers.tables["coil"].update({0x0300 + step: 1 for step in range(20)})
    async with wire_of("rtu", unit) as wire:
        wire.fault = Fault.of(FaultKind.ECHO)
        master = master_on(wire, timeout_s=1.0)
        assert (await master.read(ReadRequest(1, 1, 0x0300, 20))).data == b"\xff\xff\x0f"


async def test_busy_unit_is_asked_once_more(wire_of, stamped, master_on):
    unit = stamped()
    async with wire_of("tcp", unit) as wire:
        master = master_on(wire, timeout_s=1.0)
        wire.fault = Fault.busy(times=1)
        assert (await master.read(ReadRequest(1, 3, 0, 2))).data == unit.expected(0, 2)
        wire.fault = Fault.busy()
        with pytest.raises(InstrumentBusy, match="unit 1"):
            await master.read(ReadRequest(1, 3, 0, 2))


async def test_device_that_numbers_every_reply_zero_is_refused_unless_configured(stamped, master_on):
    from lms_firmware_sim.wires import ModbusTcpWire

    unit = stamped()
    async with ModbusTcpWire({1: unit.registers}, zero_transactions=True) as wire:
        with pytest.raises(ReplyRefused, match="transaction 0, not 1; see zero_transactions"):
            await master_on(wire, timeout_s=1.0, zero_transactions=False).read(ReadRequest(1, 3, 0, 2))


async def test_refusals_name_what_is_wrong(wire_of, stamped, master_on):
    told = {
        Fault.bad_crc(): "check sum",
        Fault.of(FaultKind.WRONG_UNIT): "comes from unit 2",
        Fault.of(FaultKind.WRONG_FUNCTION): "function 4, not 3",
        Fault.of(FaultKind.WRONG_COUNT): "20 bytes after the unit, not 22",
    }
    for fault, words in told.items():
        async with wire_of("rtu", stamped()) as wire:
            wire.fault = fault
            with pytest.raises(ReplyRefused, match=words):
                await master_on(wire, timeout_s=1.0).read(ReadRequest(1, 3, 0, 10))


async def test_reply_after_a_cancelled_read_is_nobodys(wire_of, stamped, master_on):
    for kind in ("rtu", "tcp", "tcp-zero"):
        unit = stamped()
        async with wire_of(kind, unit) as wire:
            master = master_on(wire, timeout_s=1.0, **({"silence_s": 0.05} if kind == "rtu" else {}))
            wire.fault = Fault.late(0.1, times=3)
            for number in range(3):
                unit.stamp = number
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.02):
                        await master.read(ReadRequest(1, 3, 0, 10))
            assert await recovered(master, unit) == unit.expected(0, 10)


async def test_of_two_replies_at_once_neither_is_taken(wire_of, stamped, master_on):
    unit = stamped()
    async with wire_of("rtu", unit) as wire:
        master = master_on(wire, timeout_s=2.0)
        transmit = wire._transmit
        wire._transmit = lambda fault, data, **more: transmit(fault, data + data, **more)
        with pytest.raises(ReplyRefused, match="more than one reply"):
            await master.read(ReadRequest(1, 3, 0, 10))


async def test_reply_that_comes_again_later_puts_the_next_one_in_doubt(wire_of, stamped, master_on):
    unit = stamped()
    async with wire_of("rtu", unit) as wire:
        master = master_on(wire, timeout_s=2.0)
        await master.read(ReadRequest(1, 3, 0, 10))
        frame = bytes([1, 3, 20]) + unit.expected(0, 10)
        wire._terminal.write(frame + crc16(frame))
        await asyncio.sleep(0.05)
        asked = len(wire.requests)
        unit.stamp = 1
        assert (await master.read(ReadRequest(1, 3, 0, 10))).data == unit.expected(0, 10)
        assert len(wire.requests) == asked + 2, "a probe went before"


async def test_late_reply_in_pieces_is_seen_as_one(wire_of, stamped, master_on):
    unit = stamped()
    async with wire_of("rtu", unit) as wire:
        master = master_on(wire, timeout_s=0.4, silence_s=2.0)
        wire.fault = Fault.silence(times=1)
        with pytest.raises(ReplyTimeout):
            await master.read(ReadRequest(1, 3, 0, 10))
        frame = bytes([1, 3, 20]) + unit.expected(0, 10)
        frame += crc16(frame)
        unit.stamp = 1
        reading = asyncio.create_task(master.read(ReadRequest(1, 3, 0, 10)))
        for at in range(0, len(frame), 2):
            await asyncio.sleep(0.01)
            wire._terminal.write(frame[at : at + 2])
        assert (await reading).data == unit.expected(0, 10)
        assert len(wire.requests) == 2, "the late reply was known for what it was, so no probe was needed"
