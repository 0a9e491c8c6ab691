"""The balance on its serial line, spoken to by pyserial and by bare bytes."""

import asyncio

import pytest
import serial
from lms_firmware_sim.wires import BalanceWire, Fault, Request
from support.patience import awaiting


@pytest.fixture
async def balance():
    async with BalanceWire(100.0, serial_number="B42") as wire:
        yield wire


async def test_pyserial_reads_a_weight(balance):
    def read() -> bytes:
        with serial.Serial(balance.address, 9600, timeout=10) as port:
            port.write(b"SI\r\n")
            return port.readline()

    assert await asyncio.to_thread(read) == b"S S     100.00 g\r\n"
    assert list(balance.requests) == [Request(0, "SI", 0, 0)]


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"S\r\n", b"S S     100.00 g\r\n"),
        (b"I4\r\n", b'I4 A "B42"\r\n'),
        (b"@\r\n", b'I4 A "B42"\r\n'),
        (b"Z\r\n", b"Z A\r\n"),
        (b"T\r\n", b"T S     100.00 g\r\n"),
        (b"TA\r\n", b"TA A       0.00 g\r\n"),
        (b"si\r\n", b"ES\r\n"),
        (b"HELLO\r\n", b"ES\r\n"),
        (b"SI 5\r\n", b"EL\r\n"),
        (b"\xff\xfe\r\n", b"ES\r\n"),
    ],
)
async def test_command_has_its_answer(balance, raw_line, said, answer):
    line = raw_line(balance.address)
    line.write(said)
    assert await line.read_line() == answer


async def test_zero_and_tare_are_taken_off(balance, raw_line):
    line = raw_line(balance.address)
    line.write(b"Z\r\n")
    await line.read_line()
    balance.weight_g = 150.5
    line.write(b"SI\r\n")
    assert await line.read_line() == b"S S      50.50 g\r\n"
    line.write(b"T\r\n")
    assert await line.read_line() == b"T S      50.50 g\r\n"
    line.write(b"S\r\n")
    assert await line.read_line() == b"S S       0.00 g\r\n"


async def test_restless_weight_is_dynamic_at_once_and_busy_in_the_end(raw_line):
    async with BalanceWire(1.0, is_stable=False, stable_within_s=0.1) as wire:
        line = raw_line(wire.address)
        for said, answer in ((b"SI", b"S D       1.00 g"), (b"S", b"S I"), (b"Z", b"Z I"), (b"T", b"T I")):
            line.write(said + b"\r\n")
            assert await line.read_line() == answer + b"\r\n"


async def test_overload_and_underload_are_told(raw_line):
    async with BalanceWire(500.0, capacity_g=400.0) as wire:
        line = raw_line(wire.address)
        line.write(b"SI\r\n")
        assert await line.read_line() == b"S +\r\n"
        wire.weight_g = -50.0
        line.write(b"SI\r\n")
        assert await line.read_line() == b"S -\r\n"


async def test_repeating_goes_on_until_reset(raw_line):
    async with BalanceWire(1.0, repeat_s=0.01, serial_number="B42") as wire:
        line = raw_line(wire.address)
        line.write(b"SIR\r\n")
        assert [await line.read_line() for _ in range(5)] == [b"S S       1.00 g\r\n"] * 5
        line.write(b"@\r\n")
        while (answer := await line.read_line()) != b'I4 A "B42"\r\n':
            assert answer == b"S S       1.00 g\r\n"
        await asyncio.sleep(0.05)
        assert line.unread == b""


@pytest.mark.parametrize(
    ("fault", "bytes_out"),
    [
        (Fault.truncated(4), b"S S     100.00"),
        (Fault.busy(), b"S I\r\n"),
        (Fault.of("out-of-range"), b"S +\r\n"),
        (Fault.of("not-a-number"), b"S S ---------- g\r\n"),
        (Fault.of("wrong-unit"), b"S S     100.00 lb\r\n"),
        (Fault.of("wrong-function"), b"Z A\r\n"),
        (Fault.of("wrong-count"), b"S S     100.00\r\n"),
        (Fault.of("bad-crc"), b"S S     qpp.pp g\r\n"),
        (Fault.of("echo"), b"SI\r\nS S     100.00 g\r\n"),
        (Fault.late(0.05), b"S S     100.00 g\r\n"),
        (Fault.of("slow-bytes", delay_s=0.005), b"S S     100.00 g\r\n"),
    ],
)
async def test_fault_shows_on_the_line(balance, raw_line, fault, bytes_out):
    line = raw_line(balance.address)
    balance.fault = fault
    line.write(b"SI\r\n")
    assert await line.read(len(bytes_out)) == bytes_out


async def test_stuck_balance_repeats_its_first_weight(balance, raw_line):
    line = raw_line(balance.address)
    balance.fault = Fault.of("stuck")
    for weight_g in (100.0, 200.0, 300.0):
        balance.weight_g = weight_g
        line.write(b"SI\r\n")
        assert await line.read_line() == b"S S     100.00 g\r\n"


async def test_unplugged_balance_hangs_up(balance, raw_line):
    line = raw_line(balance.address)
    balance.fault = Fault.unplugged()
    async with awaiting("the line hangs up"):
        await line.hung_up.wait()


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"I2\r\n", b'I2 A "XSR32001L 32 kg"\r\n'),
        (b"K 2\r\n", b"K A\r\n"),
        (b"K 9\r\n", b"K L\r\n"),
        (b'D "HELLO"\r\n', b"D A\r\n"),
        (b"D HELLO\r\n", b"D L\r\n"),
        (b"DW\r\n", b"DW A\r\n"),
        (b"ZI\r\n", b"ZI S\r\n"),
        (b"TI\r\n", b"TI S     100.00 g\r\n"),
        (b"TA 12.5 g\r\n", b"TA A      12.50 g\r\n"),
        (b"TA 0.5 kg\r\n", b"TA A     500.00 g\r\n"),
        (b"TA 12.5 stone\r\n", b"TA L\r\n"),
        (b"TAC\r\n", b"TAC A\r\n"),
    ],
)
async def test_rest_of_the_reference_has_its_answers(balance, raw_line, said, answer):
    line = raw_line(balance.address)
    line.write(said)
    assert await line.read_line() == answer


async def test_balance_lists_what_it_understands(balance, raw_line):
    line = raw_line(balance.address)
    line.write(b"I0\r\n")
    named = {}
    while True:
        head, more, level, name = (await line.read_line()).split()
        assert head == b"I0"
        named[name.strip(b'"').decode()] = int(level)
        if more == b"A":
            break
    assert {"S", "SI", "SIR", "Z", "@", "I4"} <= {name for name, level in named.items() if level == 0}
    assert {"T", "TI", "TA", "TAC", "SR", "D", "DW", "K"} <= {name for name, level in named.items() if level == 1}


async def test_what_is_too_much_cannot_be_zeroed_nor_tared(raw_line):
    async with BalanceWire(50.0, capacity_g=400.0) as wire:
        line = raw_line(wire.address)
        for weight_g, said, answer in ((50.0, b"Z", b"Z +"), (-50.0, b"ZI", b"ZI -"), (500.0, b"T", b"T +")):
            wire.weight_g = weight_g
            line.write(said + b"\r\n")
            assert await line.read_line() == answer + b"\r\n"


async def test_balance_that_shows_kilograms_says_so(raw_line):
    async with BalanceWire(1234.5, unit_shown="kg", decimals=4) as wire:
        line = raw_line(wire.address)
        line.write(b"S\r\n")
        assert await line.read_line() == b"S S     1.2345 kg\r\n"


async def test_weight_is_sent_again_when_it_has_changed(balance, raw_line):
    line = raw_line(balance.address)
    line.write(b"SR 5 g\r\n")
    assert await line.read_line() == b"S S     100.00 g\r\n"
    balance.weight_g = 104.0
    balance.weight_g = 110.0
    assert await line.read_line() == b"S S     110.00 g\r\n"
    line.write(b"SI\r\n")
    assert await line.read_line() == b"S S     110.00 g\r\n"


async def test_weight_that_comes_to_rest_is_told_then(raw_line):
    async with BalanceWire(1.0, is_stable=False) as wire:
        line = raw_line(wire.address)
        line.write(b"S\r\n")
        line.write(b"I4\r\n")
        assert (await line.read_line()).startswith(b"I4 A"), "other commands are heard meanwhile"
        wire.is_stable = True
        assert await line.read_line() == b"S S       1.00 g\r\n"
