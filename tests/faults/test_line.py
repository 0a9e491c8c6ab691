"""Rows 1 to 17: what an instrument and its cable do to the agent, on a serial line, and where it differs on TCP."""

import asyncio
import fcntl
import os
import struct
import time
from typing import Any

import pytest
from lms_agent.log.reader import LogReader
from lms_firmware_sim.wires import Fault, FaultKind, RtuWire
from support.ill_replies import IllReplies
from support.proving import Proof
from support.reconciling import head

PERIOD_S, TIMEOUT_S = 0.2, 0.1
REPLIES = 15
"""Requests for which a fault that lets replies through lasts."""
ATTEMPTS = 4
"""Requests for which a fault that silences the unit lasts; it is asked less and less often."""


def row(number: int, name: str, fault: Fault, *, silencing: bool = False, quick: bool = False) -> Any:
    marks = [pytest.mark.fault(row=number), *([pytest.mark.quick] if quick else [])]
    return pytest.param(fault, ATTEMPTS if silencing else REPLIES, marks=marks, id=name)


SERIAL = [
    row(1, "silence", Fault.silence(), silencing=True),
    row(2, "late reply", Fault.late(0.15, share=0.5), quick=True),
    row(2, "every reply late", Fault.late(0.15), silencing=True),
    row(3, "replies shifted by one for ever", Fault.shifted(), silencing=True, quick=True),
    row(4, "bad check sum", Fault.bad_crc(share=0.5)),
    row(5, "truncated", Fault.truncated(share=0.5)),
    row(6, "garbage before", Fault.garbage_before(share=0.5)),
    row(6, "garbage after", Fault.garbage_after(share=0.5)),
    row(7, "wrong unit", Fault.of(FaultKind.WRONG_UNIT, share=0.5)),
    row(8, "wrong function", Fault.of(FaultKind.WRONG_FUNCTION, share=0.5)),
    row(9, "too few registers", Fault.of(FaultKind.WRONG_COUNT, share=0.5)),
    row(9, "too many registers", Fault.of(FaultKind.WRONG_COUNT, size=2, share=0.5)),
    row(10, "busy", Fault.busy(share=0.5)),
    row(11, "echo", Fault.of(FaultKind.ECHO)),
    row(17, "one byte a second", Fault.of(FaultKind.SLOW_BYTES, delay_s=1.0), silencing=True),
]
TCP = [
    row(2, "late reply on TCP", Fault.late(0.15, share=0.5)),
    row(3, "replies shifted by one on TCP", Fault.shifted(), silencing=True),
    row(4, "bad protocol number on TCP", Fault.bad_crc(share=0.5)),
    row(5, "truncated on TCP", Fault.truncated(share=0.5)),
    row(6, "garbage before on TCP", Fault.garbage_before(share=0.5)),
    row(7, "wrong unit on TCP", Fault.of(FaultKind.WRONG_UNIT, share=0.5)),
    row(17, "one byte a second on TCP", Fault.of(FaultKind.SLOW_BYTES, delay_s=1.0), silencing=True),
]


def values_since(proof: Proof, number: int) -> int:
    """Readings with a value in the batches after `number`."""
    with LogReader.open(proof.chain.log) as reader:
        return sum(reading.value is not None for batch in reader.after(number) for reading in batch.readings)


async def reads_again(proof: Proof) -> float:
    """Wait until the agent reads values again, and they are acknowledged; for how long, in seconds."""
    began_s, known = time.monotonic(), head(proof.chain.log)
    await proof.until(lambda: values_since(proof, known) > 0, "values are read again")
    took_s = time.monotonic() - began_s
    await proof.recovers()
    return took_s


async def inject(proof: Proof, fault: Fault, requests: int) -> None:
    """Let the wire be ill until it was asked so often."""
    wire = proof.chain.wire
    replies, asked = IllReplies(wire), len(wire.requests)
    wire.fault = fault
    await proof.until(lambda: len(wire.requests) >= asked + requests and replies.count > 1, "the ill wire is asked")
    wire.fault = None
    if fault.kind is FaultKind.SLOW_BYTES and isinstance(wire, RtuWire):
        wire._outbox.drop()  # whole replies wait there, for minutes; a unit has only one on its way
    proof.row.injected += replies.count


@pytest.mark.parametrize(("fault", "requests"), SERIAL)
async def test_serial_line(prove: Any, full: bool, fault: Fault, requests: int) -> None:
    async with prove(rtu=True, period_s=PERIOD_S, line_timeout_s=TIMEOUT_S, tags=4) as proof:
        for _ in range(5 if full else 1):
            await inject(proof, fault, requests)
            await reads_again(proof)
        await proof.holds(least=50)


@pytest.mark.parametrize(("fault", "requests"), TCP)
async def test_modbus_tcp(prove: Any, full: bool, fault: Fault, requests: int) -> None:
    async with prove(period_s=PERIOD_S, line_timeout_s=TIMEOUT_S, tags=4) as proof:
        for _ in range(5 if full else 1):
            await inject(proof, fault, requests)
            await reads_again(proof)
        await proof.holds(least=50)


@pytest.mark.fault(row=12)
async def test_dead_slave_of_five_costs_the_others_less_than_a_twentieth(prove: Any) -> None:
    async with prove(rtu=True, neighbours=4, period_s=PERIOD_S, line_timeout_s=TIMEOUT_S, tags=4) as proof:
        before = await rate_of_neighbours(proof, 30.0)
        proof.chain.wire.fault = Fault.silence(unit=3)
        proof.row.injected += 1
        during = await rate_of_neighbours(proof, 60.0)
        proof.chain.wire.fault = None
        proof.row.notes.append(f"{during / before:.1%} of the rate before")
        assert during >= 0.95 * before
        await reads_again(proof)
        await proof.until(lambda: proof.status()["instruments"]["unit-3"]["failing_since_ms"] is None, "unit 3 is read")
        await proof.holds()


async def rate_of_neighbours(proof: Proof, seconds: float) -> float:
    """Readings a second of the slowest of the units 1, 2, 4 and 5."""
    known, began_s = head(proof.chain.log), time.monotonic()
    await asyncio.sleep(seconds)
    counts = dict.fromkeys(("T1/PV", "U2/PV", "U4/PV", "U5/PV"), 0)
    with LogReader.open(proof.chain.log) as reader:
        names = {tag.number: tag.name for tag in reader.tags()}
        for batch in reader.after(known):
            for reading in batch.readings:
                if reading.value is not None and names[reading.tag] in counts:
                    counts[names[reading.tag]] += 1
    return min(counts.values()) / (time.monotonic() - began_s)


@pytest.mark.fault(row=13)
async def test_unplugged_adapter_is_told_and_its_tags_are_bad(prove: Any) -> None:
    async with prove(rtu=True, period_s=PERIOD_S, line_timeout_s=TIMEOUT_S, tags=4) as proof:
        proof.chain.wire.fault = Fault.unplugged()
        proof.row.injected += 1
        state = {}

        def is_told() -> bool:
            state.update(proof.status()["instruments"]["unit"])
            return state["failing_since_ms"] is not None

        await proof.until(is_told, "the status says so")
        assert "usb-adapter was lost" in state["reason"] or "is the adapter plugged in?" in state["reason"]
        latest = (
            "select r.quality from readings r join series s on s.id = r.series_id join entities t on t.id = s.tag_id"
        )
        await proof.until(
            lambda: (0,) in proof.query(f"{latest} where t.name = 'T1/PV' order by r.taken_at desc limit 1"),
            "the cloud has a BAD reading",
        )
        proof.chain.wire.fault = None
        await reads_again(proof)
        await proof.holds(least=50)


@pytest.mark.fault(row=14)
@pytest.mark.quick
async def test_adapter_plugged_in_again_under_another_name_is_read_within_seconds(prove: Any, full: bool) -> None:
    async with prove(rtu=True, period_s=PERIOD_S, line_timeout_s=TIMEOUT_S, tags=4) as proof:
        wire = proof.chain.wire
        took = []
        for _ in range(5 if full else 1):
            failures = proof.status()["instruments"]["unit"]["failures"]
            wire.fault = Fault.unplugged()
            proof.row.injected += 1
            await proof.until(
                lambda known=failures: proof.status()["instruments"]["unit"]["failures"] > known, "the loss is seen"
            )
            await asyncio.sleep(6.0 if full else 1.0)
            taken_name = os.openpty()  # so that the terminal comes back under another one
            wire.fault = None
            took.append(await reads_again(proof))
            for end in taken_name:
                os.close(end)
        proof.row.notes.append(f"read again after {max(took):.1f} s at most (5 s allowed)")
        await proof.holds(least=50)


@pytest.mark.fault(row=15)
async def test_port_that_another_program_has_is_told_with_that_program(prove: Any) -> None:
    async with prove(rtu=True, period_s=PERIOD_S, line_timeout_s=TIMEOUT_S, tags=4) as proof:
        proof.chain.kill("agent")
        other = os.open(proof.chain.wire.address, os.O_RDWR | os.O_NOCTTY)
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        proof.row.injected += 1
        proof.chain.again("agent")
        await proof.until(
            lambda: f"(process {os.getpid()})" in proof.status()["instruments"]["unit"]["reason"], "the status names us"
        )
        assert "Stop it, or give it another port" in proof.status()["instruments"]["unit"]["reason"]
        os.close(other)
        await reads_again(proof)
        await proof.holds(least=50)


@pytest.mark.fault(row=16)
@pytest.mark.parametrize("kind", [FaultKind.NOT_A_NUMBER, FaultKind.OUT_OF_RANGE])
async def test_no_number_and_what_is_out_of_range_is_stored_and_flagged(prove: Any, kind: FaultKind) -> None:
    async with prove(rtu=True, period_s=PERIOD_S, line_timeout_s=TIMEOUT_S, tags=4) as proof:
        word = b"\xff\xff" if kind is FaultKind.NOT_A_NUMBER else b"\x7f\x7f"
        (value,) = struct.unpack(">f", 2 * word)
        proof.truth.ill.add(struct.pack(">d", value))
        await inject(proof, Fault.of(kind), REPLIES)
        await reads_again(proof)
        (found,) = proof.query("select count(*) from readings where quality = 64")
        assert found[0] >= 4 * (REPLIES - 2), "each of the four tags, at each scan"
        await proof.holds(least=50)
