"""Every fault, byte by byte, on both Modbus wires: what a client really gets."""

import asyncio
import os
import random

import pytest
from lms_firmware_sim.wires import Fault, FaultKind, ModbusTcpWire, RegisterMap, RtuWire
from lms_firmware_sim.wires.modbus_rtu import crc16
from support.patience import awaiting

REQUEST = bytes((1, 3, 0, 0, 0, 2))
REPLY = bytes((1, 3, 4, 0, 7, 0, 8))


def rtu(body: bytes) -> bytes:
    return body + crc16(body)


def tcp(body: bytes, transaction: int = 1) -> bytes:
    return transaction.to_bytes(2) + b"\0\0" + len(body).to_bytes(2) + body


def registers() -> RegisterMap:
    return RegisterMap(holding={0: 7, 1: 8, 2: 9})


def test_crc_is_that_of_the_specification():
    # Modbus over Serial Line V1.02, appendix B: 02 07 gives 41 12.
    assert crc16(b"\x02\x07") == b"\x41\x12"


@pytest.fixture
async def line(raw_line):
    """An RTU line with units 1 and 2, and a raw client on it."""
    async with RtuWire({1: registers(), 2: registers()}, seed=5) as wire:
        yield wire, raw_line(wire.address)


@pytest.fixture
async def connection():
    """A TCP server with unit 1, and a raw client on it."""
    async with ModbusTcpWire({1: registers()}, seed=5) as wire:
        host, port = wire.address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        yield wire, reader, writer
        writer.close()


@pytest.mark.parametrize(
    ("fault", "bytes_out"),
    [
        (None, rtu(REPLY)),
        (Fault.bad_crc(), REPLY + bytes((crc16(REPLY)[0] ^ 1, crc16(REPLY)[1]))),
        (Fault.truncated(3), rtu(REPLY)[:-3]),
        (Fault.of("wrong-unit"), rtu(b"\x02" + REPLY[1:])),
        (Fault.of("wrong-function"), rtu(bytes((1, 4)) + REPLY[2:])),
        (Fault.of("wrong-count"), rtu(bytes((1, 3, 2, 0, 7)))),
        (Fault.of("wrong-count", size=1), rtu(bytes((1, 3, 6, 0, 7, 0, 8, 0, 0)))),
        (Fault.of("out-of-range"), rtu(bytes((1, 3, 4)) + b"\x7f" * 4)),
        (Fault.of("not-a-number"), rtu(bytes((1, 3, 4)) + b"\xff" * 4)),
        (Fault.busy(), rtu(bytes((1, 0x83, 6)))),
        (Fault.of("echo"), rtu(REQUEST) + rtu(REPLY)),
        (Fault.late(0.05), rtu(REPLY)),
        (Fault.of("slow-bytes", delay_s=0.01), rtu(REPLY)),
    ],
)
async def test_fault_shows_on_the_rtu_line(line, fault, bytes_out):
    wire, client = line
    wire.fault = fault
    client.write(rtu(REQUEST))
    assert await client.read(len(bytes_out)) == bytes_out
    wire.fault = None
    client.write(rtu(REQUEST))
    assert await client.read(len(rtu(REPLY))) == rtu(REPLY), "nothing of the fault may be left on the line"


@pytest.mark.parametrize("kind", [FaultKind.GARBAGE_BEFORE, FaultKind.GARBAGE_AFTER])
async def test_garbage_stands_beside_a_whole_reply(line, kind):
    wire, client = line
    wire.fault = Fault.of(kind, size=4)
    client.write(rtu(REQUEST))
    heard = await client.read(len(rtu(REPLY)) + 4)
    whole = heard[4:] if kind is FaultKind.GARBAGE_BEFORE else heard[:-4]
    assert whole == rtu(REPLY)


async def test_silence_is_silence_until_it_ends(line):
    wire, client = line
    wire.fault = Fault.silence(unit=1)
    client.write(rtu(REQUEST))
    other = bytes((2, 3, 0, 2, 0, 1))
    client.write(rtu(other))
    answer = rtu(bytes((2, 3, 2, 0, 9)))
    assert await client.read(len(answer)) == answer, "unit 2 answers; unit 1 never did"


async def test_shifted_reply_answers_the_request_before(line):
    wire, client = line
    wire.fault = Fault.shifted()
    client.write(rtu(bytes((1, 3, 0, 0, 0, 1))))
    client.write(rtu(bytes((1, 3, 0, 2, 0, 1))))
    answer = rtu(bytes((1, 3, 2, 0, 7)))
    assert await client.read(len(answer)) == answer


async def test_share_of_ill_replies_is_drawn_from_the_seed():
    async def heard(seed: int) -> list[bool]:
        async with ModbusTcpWire({1: registers()}, seed=seed) as wire:
            wire.fault = Fault.busy(share=0.5)
            host, port = wire.address.split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            ill = []
            for _ in range(40):
                writer.write(tcp(REQUEST))
                header = await reader.readexactly(6)
                ill.append((await reader.readexactly(header[5]))[1] == 0x83)
            writer.close()
            return ill

    once, again, other = await heard(1), await heard(1), await heard(2)
    assert once == again != other
    assert 8 < sum(once) < 32


async def test_late_reply_comes_when_the_next_request_waits(line):
    wire, client = line
    wire.fault = Fault.late(0.05, times=1)
    client.write(rtu(bytes((1, 3, 0, 0, 0, 1))))
    client.write(rtu(bytes((1, 3, 0, 2, 0, 1))))
    first, second = rtu(bytes((1, 3, 2, 0, 7))), rtu(bytes((1, 3, 2, 0, 9)))
    assert await client.read(len(first + second)) == first + second


async def test_unplugged_line_hangs_up_and_comes_back_under_its_link(raw_line, tmp_path):
    link = tmp_path / "by-id" / "line-1"
    async with RtuWire({1: registers()}, link=link) as wire:
        client = raw_line(wire.address)
        wire.fault = Fault.unplugged()
        async with awaiting("the line hangs up"):
            await client.hung_up.wait()
        assert not os.path.lexists(link)
        wire.fault = None
        again = raw_line(str(link))
        again.write(rtu(REQUEST))
        assert await again.read(len(rtu(REPLY))) == rtu(REPLY)
    assert not os.path.lexists(link)


async def test_broken_request_is_dropped_after_a_silence(line):
    wire, client = line
    client.write(rtu(REQUEST)[:-1] + b"\0")
    await asyncio.sleep(0.2)
    client.write(rtu(REQUEST))
    assert await client.read(len(rtu(REPLY))) == rtu(REPLY)
    assert len(wire.requests) == 1


async def test_request_in_pieces_is_understood(line):
    _, client = line
    for piece in (rtu(REQUEST)[:3], rtu(REQUEST)[3:]):
        client.write(piece)
        await asyncio.sleep(0)
    assert await client.read(len(rtu(REPLY))) == rtu(REPLY)


async def test_broadcast_is_obeyed_and_not_answered(line):
    wire, client = line
    client.write(rtu(bytes((0, 6, 0, 0, 0, 42))))
    client.write(rtu(bytes((2, 3, 0, 0, 0, 1))))
    answer = rtu(bytes((2, 3, 2, 0, 42)))
    assert await client.read(len(answer)) == answer
    assert wire.units[1].holding[0] == 42


@pytest.mark.parametrize(
    ("fault", "bytes_out"),
    [
        (None, tcp(REPLY)),
        (Fault.bad_crc(), b"\0\x01\0\x01" + tcp(REPLY)[4:]),
        (Fault.truncated(2), tcp(REPLY)[:-2]),
        (Fault.of("wrong-unit"), tcp(b"\x02" + REPLY[1:])),
        (Fault.of("wrong-count"), tcp(bytes((1, 3, 2, 0, 7)))),
        (Fault.of("echo"), tcp(REQUEST) + tcp(REPLY)),
        (Fault.of("slow-bytes", delay_s=0.01), tcp(REPLY)),
    ],
)
async def test_fault_shows_on_the_tcp_connection(connection, fault, bytes_out):
    wire, reader, writer = connection
    wire.fault = fault
    writer.write(tcp(REQUEST))
    async with awaiting(f"{bytes_out!r}"):
        assert await reader.readexactly(len(bytes_out)) == bytes_out


async def test_careless_device_answers_transaction_0():
    async with ModbusTcpWire({1: registers()}, zero_transactions=True) as wire:
        host, port = wire.address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(tcp(REQUEST, transaction=77))
        assert await reader.readexactly(len(tcp(REPLY))) == tcp(REPLY, transaction=0)
        writer.close()


async def test_unplugged_server_cuts_refuses_and_comes_back_on_its_port(connection):
    wire, reader, _ = connection
    host, port = wire.address.split(":")
    wire.fault = Fault.unplugged()
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    with pytest.raises(ConnectionError):
        await asyncio.open_connection(host, int(port))
    wire.fault = None
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(tcp(REQUEST))
    assert await reader.readexactly(len(tcp(REPLY))) == tcp(REPLY)
    writer.close()


async def test_garbled_header_ends_the_connection(connection):
    _, reader, writer = connection
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)


def test_unknown_kind_of_fault_is_refused():
    with pytest.raises(ValueError, match="sulking"):
        Fault.of("sulking")


async def test_noise_on_the_line_never_breaks_the_server(line):
    _, client = line
    noise = random.Random(7)
    for _ in range(30):
        client.write(noise.randbytes(noise.randrange(1, 40)))
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.2)
    while client.unread:
        await client.read(1)
    client.write(rtu(REQUEST))
    assert await client.read(len(rtu(REPLY))) == rtu(REPLY)
