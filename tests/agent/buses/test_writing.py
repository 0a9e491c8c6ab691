"""Writes: sent once, confirmed only by their own confirmation, and read back in the same turn."""

import asyncio
import struct

import pytest
from lms_agent.buses.modbus_frames import ReadRequest, WriteRequest
from lms_agent.errors import (
    InstrumentBusy,
    InstrumentError,
    InstrumentRefused,
    PortError,
    PortLost,
    ReplyRefused,
    ReplyTimeout,
)
from lms_firmware_sim.wires import Fault, FaultKind, ModbusTcpWire, RegisterMap, RtuWire
from lms_firmware_sim.wires.registers import IllegalValue

KINDS = ["rtu", "tcp", "tcp-zero"]


def setter(**more) -> RegisterMap:
    """A unit with a float set point at 10, a word at 20 and coils at 0."""
    return RegisterMap(holding={10: 0, 11: 0, 20: 0}, coil=dict.fromkeys(range(16), False), **more)


def laid(kind, registers, **more):
    if kind == "rtu":
        return RtuWire({1: registers}, **more)
    return ModbusTcpWire({1: registers}, zero_transactions=kind == "tcp-zero", **more)


def writes(wire) -> int:
    return sum(request.function in (5, 6, 15, 16) for request in wire.requests)


SET_37 = WriteRequest.registers(1, 10, struct.pack(">f", 37.5))
READ_SET_POINT = ReadRequest(1, 3, 10, 2)


@pytest.mark.parametrize("kind", KINDS)
async def test_each_write_function_arrives_and_is_confirmed_and_read_back(kind, master_on):
    registers = setter()
    async with laid(kind, registers) as wire:
        master = master_on(wire, timeout_s=2.0)
        done = await master.write(SET_37, read_back=READ_SET_POINT)
        assert done.confirmed
        assert struct.unpack(">f", done.read_back.data) == (37.5,)
        assert (await master.write(WriteRequest.registers(1, 20, b"\x12\x34", single=True))).confirmed
        assert (await master.write(WriteRequest.coils(1, 3, [True], single=True))).confirmed
        assert (await master.write(WriteRequest.coils(1, 8, [True, False, True]))).confirmed
    assert registers.holding[20] == 0x1234
    assert [at for at, bit in registers.tables["coil"].items() if bit] == [3, 8, 10]


@pytest.mark.parametrize("kind", KINDS)
async def test_refused_write_says_so_and_changes_nothing(kind, master_on):
    def refuse(*_):
        raise IllegalValue

    registers = setter(on_write=refuse)
    async with laid(kind, registers) as wire:
        with pytest.raises(InstrumentRefused, match="refuses a value"):
            await master_on(wire, timeout_s=2.0).write(SET_37)
    assert registers.holding[10] == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "fault",
    [
        Fault.silence(times=1),
        Fault.bad_crc(times=1),
        Fault.truncated(times=1),
        Fault.of(FaultKind.WRONG_FUNCTION, times=1),
        Fault.of(FaultKind.WRONG_COUNT, times=1),
        Fault.of(FaultKind.WRONG_UNIT, times=1),
    ],
    ids=lambda fault: str(fault.kind),
)
async def test_unconfirmed_write_is_sent_once_and_read_back(kind, fault, master_on):
    async with laid(kind, setter()) as wire:
        master = master_on(wire, timeout_s=0.2)
        await master.read(READ_SET_POINT)
        wire.fault = fault
        done = await master.write(SET_37, read_back=READ_SET_POINT)
        assert not done.confirmed
        assert isinstance(done.doubt, ReplyTimeout | ReplyRefused)
        assert struct.unpack(">f", done.read_back.data) == (37.5,)
        assert writes(wire) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_write_to_a_unit_that_stays_silent_is_not_confirmed_and_has_no_read_back(kind, master_on):
    async with laid(kind, setter()) as wire:
        master = master_on(wire, timeout_s=0.05)
        await master.read(READ_SET_POINT)
        wire.fault = Fault.silence()
        done = await master.write(SET_37, read_back=READ_SET_POINT)
        assert (done.confirmed, done.read_back) == (False, None)
        assert writes(wire) == 1


async def test_busy_unit_is_asked_to_write_once_more_and_then_not_again(master_on):
    async with laid("tcp", setter()) as wire:
        master = master_on(wire, timeout_s=2.0)
        wire.fault = Fault.busy(times=1)
        assert (await master.write(SET_37)).confirmed
        wire.fault = Fault.busy()
        with pytest.raises(InstrumentBusy):
            await master.write(SET_37)
        assert writes(wire) == 4


async def test_write_that_became_void_while_the_unit_was_busy_is_not_sent_again(master_on):
    asked = 0

    class Void(Exception):
        pass

    def go():
        nonlocal asked
        asked += 1
        if asked > 1:
            raise Void

    async with laid("tcp", setter()) as wire:
        master = master_on(wire, timeout_s=2.0)
        wire.fault = Fault.busy(times=1)
        with pytest.raises(Void):
            await master.write(SET_37, go=go)
        assert writes(wire) == 1
        assert wire.units[1].holding[10] == 0
        assert (await master.read(READ_SET_POINT)).data == bytes(4), "the line is free for others"


async def test_late_confirmation_of_an_older_write_confirms_no_newer_one(master_on):
    """Function 16 repeats only address and count, so the same set point with another value is confirmed alike."""
    registers = setter()
    async with laid("rtu", registers) as wire:
        master = master_on(wire, timeout_s=0.1, silence_s=0.01)
        await master.read(READ_SET_POINT)
        wire.fault = Fault.shifted()
        assert not (await master.write(SET_37)).confirmed
        for _ in range(3):
            with pytest.raises(InstrumentError):
                await master.write(WriteRequest.registers(1, 10, struct.pack(">f", 30.0)))
        assert writes(wire) == 1, "nothing is written while replies are out of step"
        assert struct.unpack(">f", struct.pack(">HH", registers.holding[10], registers.holding[11])) == (37.5,)


async def test_line_that_is_gone_takes_no_write_and_says_that_nothing_was_sent(tmp_path, master_on):
    async with RtuWire({1: setter()}, link=tmp_path / "by-id") as wire:
        master = master_on(wire, timeout_s=2.0)
        await master.read(READ_SET_POINT)
        wire.fault = Fault.unplugged()
        with pytest.raises(PortLost):
            await master.read(READ_SET_POINT)
        with pytest.raises(PortError):
            await master.write(SET_37)
        assert writes(wire) == 0


async def test_line_lost_after_sending_leaves_the_write_unconfirmed(master_on):
    async with laid("tcp", setter()) as wire:
        master = master_on(wire, timeout_s=5.0)
        await master.read(READ_SET_POINT)
        wire.fault = Fault.late(3.0)
        writing = asyncio.create_task(master.write(SET_37, read_back=READ_SET_POINT))
        while not writes(wire):
            await asyncio.sleep(0.005)
        wire.fault = Fault.unplugged()
        done = await writing
        assert isinstance(done.doubt, PortLost)
        assert done.read_back is None


@pytest.mark.parametrize("echoes", [False, True])
@pytest.mark.parametrize(
    "request_",
    [
        WriteRequest.registers(1, 20, b"\x12\x34", single=True),
        WriteRequest.coils(1, 3, [True], single=True),
        SET_37,
    ],
    ids=["6", "5", "16"],
)
async def test_echo_alone_confirms_nothing(request_, echoes, master_on):
    """Confirmations of functions 5 and 6 are their requests, byte by byte."""
    async with laid("rtu", setter()) as wire:
        if echoes:
            wire._received = echoing(wire)
        master = master_on(wire, timeout_s=0.1)
        assert (await master.write(request_)).confirmed
        wire.units.clear()  # the unit is silent from here on; the adapter is not
        assert not (await master.write(request_)).confirmed


def echoing(wire):
    """An adapter that hears itself, in front of the wire's own end."""
    received = wire._received

    def hear(data):
        wire._terminal.write(data)
        received(data)

    wire._terminal._received = hear
    return hear


async def test_first_write_on_a_line_is_preceded_by_a_read_that_shows_whether_it_echoes(master_on):
    async with laid("rtu", setter()) as wire:
        master = master_on(wire, timeout_s=2.0)
        await master.write(SET_37)
        await master.write(SET_37)
        assert [request.function for request in wire.requests] == [4, 16, 16]


async def test_write_goes_before_polls_that_wait_and_its_read_back_follows_at_once(master_on):
    async with laid("rtu", setter()) as wire:
        master = master_on(wire, timeout_s=2.0)
        await master.read(READ_SET_POINT)
        wire.requests.clear()
        wire.fault = Fault.late(0.1, times=1)
        polls = [asyncio.create_task(master.read(ReadRequest(1, 3, 20, 1))) for _ in range(3)]
        while not wire.requests:
            await asyncio.sleep(0.005)
        done = await master.write(SET_37, read_back=READ_SET_POINT)
        await asyncio.gather(*polls)
        assert done.confirmed
        heard = [(request.function, request.address) for request in wire.requests]
        assert heard == [(3, 20), (16, 10), (3, 10), (3, 20), (3, 20)]


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (lambda: WriteRequest.registers(1, 0, b""), 0),
        (lambda: WriteRequest.registers(1, 0, b"\0"), 1),
        (lambda: WriteRequest.registers(1, 0, bytes(248)), 124),
        (lambda: WriteRequest.registers(1, 0, bytes(4), single=True), 2),
        (lambda: WriteRequest.coils(1, 0, []), 0),
        (lambda: WriteRequest.coils(1, 0, [True] * 1969), 1969),
        (lambda: WriteRequest.coils(1, 0, [True] * 2, single=True), 2),
    ],
)
def test_more_than_a_function_takes_is_refused_before_it_is_sent(make, size):
    with pytest.raises(ValueError, match="function"):
        make()


def test_requests_are_those_of_the_specification():
    """Modbus Application Protocol V1.1b3, sections 6.5, 6.6, 6.11, 6.12."""
    assert WriteRequest.coils(17, 0x00AC, [True], single=True).pdu == bytes.fromhex("05 00AC FF00")
    assert WriteRequest.registers(17, 1, b"\0\3", single=True).pdu == bytes.fromhex("06 0001 0003")
    bits = [bit == "1" for bit in "1011001110"]
    assert WriteRequest.coils(17, 0x0013, bits).pdu == bytes.fromhex("0F 0013 000A 02 CD01")
    assert WriteRequest.registers(17, 1, bytes.fromhex("000A0102")).pdu == bytes.fromhex("10 0001 0002 04 000A 0102")
