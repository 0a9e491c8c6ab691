"""Every fault on every wire of the bench: what comes is not what should come, and the wire is well again afterwards."""

import asyncio
import random
from datetime import UTC, datetime

import pytest
from lms_firmware_sim.plants import load_plant, shipped_plants
from lms_firmware_sim.simulated import SimulatedPlant
from lms_firmware_sim.wires import Fault, FaultKind
from lms_firmware_sim.wires.modbus_rtu import crc16
from support.patience import until

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def rtu(*body: int) -> bytes:
    return bytes(body) + crc16(bytes(body))


ASKED = {
    "ezo-ph": b"R\r",
    "ezo-do": b"R\r",
    "alicat": b"A\r",
    "alicat-modbus": rtu(1, 3, *(1202).to_bytes(2), 0, 8),
    "pumps": b"1RS\r",
    "pump-323": b"1RS\r",
    "m80": rtu(1, 3, 0, 100, 0, 8),
    "hamilton": rtu(1, 3, *(2089).to_bytes(2), 0, 10),
    "balance": b"SI\r\n",
}
WITHOUT_A_WORD = {("pumps", FaultKind.BUSY), ("pump-323", FaultKind.BUSY)}
RIGHT_BUT_SLOW = {FaultKind.LATE, FaultKind.SLOW_BYTES}
OF_THE_SECOND = {FaultKind.STUCK, FaultKind.SHIFTED}


@pytest.fixture
async def bench():
    """The bench, its clock standing still, its EZO circuits quick and quiet."""
    plant = SimulatedPlant(load_plant(shipped_plants()["bench"]), clock=NOW.timestamp)
    for name in ("ezo-ph", "ezo-do"):
        circuit = plant.instruments.on_text_wires[name][0]
        circuit.reading_s = circuit.streaming_s = 0.0
        circuit.says_codes = False
    async with plant:
        yield plant


def test_every_wire_but_the_tcp_server_is_asked():
    wires = {wire.id for wire in load_plant(shipped_plants()["bench"]).wire}
    assert wires == {*ASKED, "generic"}


def garbage_to_come(wire) -> bytes:
    """The eight bytes of garbage that the wire will draw next: they end what is heard, and cannot be mistaken."""
    twin = random.Random()
    twin.setstate(wire.random.getstate())
    return twin.randbytes(8)


@pytest.mark.parametrize("name", ASKED)
async def test_every_fault_shows_and_passes(bench, raw_line, name):
    wire = bench.wires[name]
    line = raw_line(wire.address)

    async def answer(size: int) -> bytes:
        line.write(ASKED[name])
        return await line.read(size)

    line.write(ASKED[name])
    await until(lambda: len(line.unread) > 3)
    sound = await line.read(len(line.unread))
    for kind in sorted(set(FaultKind) - OF_THE_SECOND - {FaultKind.UNPLUGGED}):
        wire.fault = Fault.of(kind, delay_s=0.001, times=1)
        line.write(ASKED[name])
        await until(lambda: wire.fault is None, f"{kind} is over")
        end = sound + garbage_to_come(wire)
        wire.fault = Fault.garbage_after(8, times=1)
        line.write(ASKED[name])
        await until(lambda end=end: line.unread.endswith(end), f"a sound answer after {kind}")
        heard = (await line.read(len(line.unread))).removesuffix(end)
        if kind in RIGHT_BUT_SLOW or (name, kind) in WITHOUT_A_WORD:
            assert heard == sound, kind
        else:
            assert heard != sound, kind
    wire.fault = Fault.shifted()
    line.write(ASKED[name])
    assert await answer(len(sound)) == sound, "of the question before"
    wire.fault = None
    assert await answer(len(sound)) == sound


async def test_one_of_two_on_a_line_is_ill_alone(bench, raw_line):
    line = raw_line(bench.wires["alicat"].address)
    bench.wires["alicat"].fault = Fault.silence(unit="A")
    line.write(b"A\rB\r")
    assert (await line.read(1)) == b"B"
    pumps = raw_line(bench.wires["pumps"].address)
    bench.wires["pumps"].fault = Fault.silence(unit=2)
    pumps.write(b"2ZY\r1ZY\r")
    assert await pumps.read(2) == b"0\r"


async def test_fault_of_a_letter_is_switched_from_the_command_line(serving, lms_sim, tmp_path):
    async with serving("bench", "--state-dir", tmp_path):
        place = ("--plant", "bench", "--state-dir", tmp_path)
        code, output, errors = await lms_sim("fault", "alicat", "silence", "--unit", "a", *place)
        assert (code, errors) == (0, "")
        assert "silence (unit A)" in output
        code, output, _ = await lms_sim("fault", "pumps", "silence", "--unit", "2", *place)
        assert (code, "silence (unit 2)" in output) == (0, True)


@pytest.mark.parametrize("name", [name for name, asked in ASKED.items() if asked.endswith((b"\r", b"\n"))])
async def test_noise_on_a_text_line_never_breaks_the_instrument(bench, raw_line, name):
    wire = bench.wires[name]
    line = raw_line(wire.address)
    line.write(ASKED[name])
    await until(lambda: len(line.unread) > 3)
    sound = await line.read(len(line.unread))
    noise = random.Random(11)
    for _ in range(40):
        line.write(noise.randbytes(noise.randrange(1, 200)))
        await asyncio.sleep(0)
    # The line end closes what noise has left half said.
    line.write(b"\r\n")
    line.write(ASKED[name])
    await until(lambda: line.unread.endswith(sound), "a sound answer after the noise")
