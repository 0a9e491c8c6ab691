"""A hundred thousand ill transactions: no foreign value is taken, and no write is said to be done that was not.

The agent's own masters in this process, many lines at a time, on simulated wires. Rows 1 to 11 and 17; `make faults`
lets 100,000 replies be ill, `make test` a few hundred.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from lms_agent.buses.modbus import ModbusMaster
from lms_agent.buses.modbus_frames import ReadRequest, WriteRequest
from lms_agent.buses.opening import make_bus
from lms_agent.clock import SystemClock
from lms_agent.errors import InstrumentError
from lms_agent.settings.model import ModbusRtuBus, ModbusTcpBus
from lms_firmware_sim.wires import Fault, FaultKind, ModbusTcpWire, RtuWire
from support.ill_replies import IllReplies
from support.proving import FaultRow
from support.stamped import Stamped

TIMEOUT_S = 0.03
KINDS = ("rtu", "tcp", "tcp-zero")
LINES_AT_A_TIME = 24
WRITTEN = 100
"""Address of the set points; the stamped words lie below."""
BLOCKS = ((0, 10), (20, 10), (40, 10), (30, 4), (50, 1))


def row_of(number: int, name: str, fault: Fault, *, quick: bool = False) -> Any:
    marks = [pytest.mark.fault(row=number), *([pytest.mark.quick] if quick else [])]
    return pytest.param(fault, marks=marks, id=name)


FAULTS = [
    row_of(1, "silence", Fault.silence(share=0.5)),
    row_of(2, "late", Fault.late(0.05)),
    row_of(2, "late at times", Fault.late(0.05, share=0.5)),
    row_of(2, "very late at times", Fault.late(0.2, share=0.3)),
    row_of(2, "later than many timeouts", Fault.late(0.6, share=0.2), quick=True),
    row_of(2, "just in time or not", Fault.late(0.03, share=0.7)),
    row_of(3, "shifted", Fault.shifted(), quick=True),
    row_of(4, "bad check sum", Fault.bad_crc(share=0.5)),
    row_of(5, "truncated", Fault.truncated(share=0.5)),
    row_of(5, "truncated much", Fault.truncated(12, share=0.5)),
    row_of(6, "garbage before", Fault.garbage_before(share=0.5)),
    row_of(6, "garbage after", Fault.garbage_after(share=0.5)),
    row_of(6, "a byte of garbage after every reply", Fault.garbage_after(1)),
    row_of(7, "wrong unit", Fault.of(FaultKind.WRONG_UNIT, share=0.5)),
    row_of(8, "wrong function", Fault.of(FaultKind.WRONG_FUNCTION, share=0.5)),
    row_of(9, "too few registers", Fault.of(FaultKind.WRONG_COUNT, share=0.5)),
    row_of(9, "too many registers", Fault.of(FaultKind.WRONG_COUNT, size=2, share=0.5)),
    row_of(10, "busy", Fault.busy(share=0.5)),
    row_of(11, "echo", Fault.of(FaultKind.ECHO)),
    row_of(11, "echo at times", Fault.of(FaultKind.ECHO, share=0.5)),
    row_of(17, "one byte at a time", Fault.of(FaultKind.SLOW_BYTES, delay_s=0.02, share=0.3)),
]
ILL_REPLIES = 100_000 // len(FAULTS)
SEEDS = 16
"""Lines of each kind for each fault, where all of it is run."""


@dataclass
class Tally:
    """What came of the transactions of one fault.

    Attributes:
        ill: replies that suffered the fault.
        asked, values: reads, and those of them that gave a value.
        written, confirmed: writes, and those of them that the unit confirmed.
        wrong: values that were not what was asked for, and writes whose outcome was not what was said.
    """

    ill: int = 0
    asked: int = 0
    values: int = 0
    written: int = 0
    confirmed: int = 0
    wrong: list[str] | None = None

    def found(self, what: str) -> None:
        self.wrong = [*(self.wrong or []), what]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("fault", FAULTS)
async def test_nothing_foreign_is_believed(fault: Fault, row: FaultRow, full: bool, chance: random.Random) -> None:
    lines = [(kind, chance.randrange(1 << 32)) for kind in KINDS for _ in range(SEEDS if full else 2)]
    wanted = -(-ILL_REPLIES // len(lines)) if full else 12
    tally = Tally()
    free = asyncio.Semaphore(LINES_AT_A_TIME)

    async def one(kind: str, seed: int) -> None:
        async with free:
            await modbus_line(kind, fault, seed, wanted, tally)

    await asyncio.gather(*(one(kind, seed) for kind, seed in lines))
    row.injected, row.compared, row.wrong = tally.ill, tally.values + tally.confirmed, len(tally.wrong or [])
    row.notes.append(
        f"{tally.asked} reads gave {tally.values} values; of {tally.written} writes {tally.confirmed} were confirmed"
    )
    assert not tally.wrong, tally.wrong[:10]
    assert tally.ill >= wanted * len(lines)


async def modbus_line(kind: str, fault: Fault, seed: int, wanted: int, tally: Tally) -> None:
    """Read and write on one line until so many replies were ill."""
    chance = random.Random(seed)
    units = [Stamped(unit, twins=chance.random() < 0.5) for unit in (1, 2)]
    for unit in units:
        unit.registers.tables["holding"].update({WRITTEN: 0, WRITTEN + 1: 0})
    blocks = BLOCKS if chance.random() < 0.5 else BLOCKS[:1]
    async with laid(kind, units, fault, seed, tally) as (ill, master):
        number = 0
        while ill.count < wanted:
            number += 1
            unit = chance.choice(units)
            unit.stamp += 1
            if number % 8 == 0:
                await write(master, unit, chance.randbytes(4), chance.random() < 0.3, tally)
            else:
                await read(master, unit, *chance.choice(blocks), tally)


async def read(master: ModbusMaster, unit: Stamped, address: int, count: int, tally: Tally) -> None:
    tally.asked += 1
    try:
        reply = await master.read(ReadRequest(unit.unit, 3, address, count))
    except InstrumentError:
        return
    tally.values += 1
    if reply.data != unit.expected(address, count):
        tally.found(f"unit {unit.unit}, {count} from {address}: {reply.data.hex()}, stamp {unit.stamp}")


async def write(master: ModbusMaster, unit: Stamped, data: bytes, single: bool, tally: Tally) -> None:
    """What is said of a write, and what is read back, must be what the unit's registers hold."""
    data = data[:2] if single else data
    tally.written += 1
    before = held(unit, len(data))
    request = WriteRequest.registers(unit.unit, WRITTEN, data, single=single)
    try:
        done = await master.write(request, read_back=ReadRequest(unit.unit, 3, WRITTEN, len(data) // 2))
    except InstrumentError as error:  # it says that nothing was written
        if held(unit, len(data)) != before:
            tally.found(f"{error}, but it was written")
        return
    tally.confirmed += done.confirmed
    if done.confirmed and held(unit, len(data)) != data:
        tally.found(f"confirmed, but not written: {data.hex()}")
    if done.read_back is not None and done.read_back.data != held(unit, len(data)):
        tally.found(f"read back {done.read_back.data.hex()}, but there is {held(unit, len(data)).hex()}")


def held(unit: Stamped, size: int) -> bytes:
    """What the unit's set point is now."""
    return b"".join(unit.registers.holding[WRITTEN + at].to_bytes(2) for at in range(size // 2))


@asynccontextmanager
async def laid(
    kind: str, units: list[Stamped], fault: Fault, seed: int, tally: Tally
) -> AsyncIterator[tuple[IllReplies, ModbusMaster]]:
    """An ill wire that counts its ill replies, and the agent's own master on it."""
    maps = {unit.unit: unit.registers for unit in units}
    if kind == "rtu":
        wire: RtuWire | ModbusTcpWire = RtuWire(maps, seed=seed)
    else:
        wire = ModbusTcpWire(maps, seed=seed, zero_transactions=kind == "tcp-zero")
    ill = IllReplies(wire)
    async with wire:
        master = make_bus(settings_of(kind, wire), SystemClock(), random.Random(seed))
        assert isinstance(master, ModbusMaster)
        wire.fault = fault
        try:
            yield ill, master
        finally:
            tally.ill += ill.count
            await master.close()


def settings_of(kind: str, wire: Any) -> ModbusRtuBus | ModbusTcpBus:
    common = {"id": "line", "timeout_s": TIMEOUT_S}
    if kind == "rtu":
        return ModbusRtuBus(kind="modbus-rtu", port=wire.address, baud=115200, **common)
    zero = kind == "tcp-zero"
    return ModbusTcpBus(kind="modbus-tcp", host=wire.host, port=wire.port, zero_transactions=zero, **common)
