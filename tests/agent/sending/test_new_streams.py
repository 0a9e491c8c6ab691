"""A new stream in the middle of sending: every batch is in the cloud once, under the old stream or the new one."""

import asyncio
import os
import shutil
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from lms_agent.clock import SystemClock
from lms_agent.log.care import Care
from lms_agent.log.errors import LogWriteFailed
from lms_agent.log.renewal.predecessor import Predecessor
from lms_agent.log.renewal.predecessors import Entry, Kind, State
from lms_agent.log.sqlite_log import SqliteLog
from lms_agent.registering import to_be_born
from lms_protocol.batches import record_encode
from lms_protocol.delivery import SendingWindow
from lms_protocol.host_events import DataReceived, NodeBorn
from lms_protocol.ranges import NumberRanges
from lms_protocol.reading import Batch, Gap, Origin, Reading


@pytest.fixture
async def cared(bench: Any) -> Any:
    """The bench's log is looked after, as by the agent."""

    @asynccontextmanager
    async def looked_after() -> Any:
        care = Care(bench.log, SystemClock(), look_every_s=0.05)
        task = asyncio.create_task(care.run())
        try:
            yield care
        finally:
            task.cancel()
            await asyncio.wait((task,))

    return looked_after


class StrictHost:
    """The cloud's rule for batches: the first content of a number counts, any other under it is refused."""

    def __init__(self, host: Any, node: str) -> None:
        self.host = host
        self.node = node
        self.refused: list[tuple[Any, int]] = []
        host.take = self.take

    async def take(self, event: DataReceived) -> None:
        host = self.host
        batch = Batch(
            event.number or 0, event.device or "", tuple(event.readings), tuple(event.gaps), origin=event.origin
        )
        known = host.batches.setdefault((event.stream, event.number), batch)
        if known != batch:
            self.refused.append((event.stream, event.number))
            await host.publish(host.session.refusal("test-org", self.node, event.number, 1, stream=event.stream))
            return
        ledger = host.ledgers.setdefault(event.stream, host.new_ledger())
        ledger.commit(event.number)
        await host.publish(
            host.session.acknowledgement(
                "test-org",
                self.node,
                *ledger.acknowledgement(),
                1,
                stream=event.stream,
                settled=NumberRanges([(event.number, event.number)]),
            )
        )

    def values(self) -> list[Any]:
        """All values in the cloud, sorted, with what is doubled twice."""
        batches = self.host.batches.values()
        return sorted(reading.value for batch in batches for reading in batch.readings)


@pytest.fixture
def strict(host: Any, node: str) -> StrictHost:
    return StrictHost(host, node)


def values_of(batches: list[Batch]) -> list[Any]:
    return sorted(reading.value for batch in batches for reading in batch.readings)


def settled(log: SqliteLog) -> bool:
    return bool(log.predecessors) and all(entry.state is State.SENT for entry in log.predecessors.values())


async def kept(bench: Any, count: int, device: str = "R1") -> list[Batch]:
    """Append, again and again while a new log is being begun, as `Keeping` does."""
    made: list[Batch] = []
    while len(made) < count:
        try:
            made += await bench.append(1, device)
        except LogWriteFailed:
            await asyncio.sleep(0.02)
    return made


async def test_refused_batch_begins_a_new_stream_and_nothing_is_lost_or_doubled(
    host: Any, strict: StrictHost, bench: Any, make_sender: Any, running: Any, cared: Any
) -> None:
    """As after an old image was brought back: numbers 6 to 10 stand in the cloud with other readings."""
    stream = bench.log.stream
    real = await bench.append(5)
    foreign = {n: Batch(n, "R1", (Reading(1, n, -float(n)),)) for n in range(6, 11)}
    host.batches |= {(stream, n): batch for n, batch in foreign.items()}
    ledger = host.ledgers.setdefault(stream, host.new_ledger())
    for n in foreign:
        ledger.commit(n)
    real += await bench.append(10)
    await host.say(online=True)
    async with cared():
        running(make_sender())
        await host.until(lambda: bench.log.stream != stream)
        real += await kept(bench, 5)
        await host.until(lambda: settled(bench.log) and bench.log.acked == bench.log.head)
    theirs = [-float(n) for n in foreign]
    assert strict.values() == sorted(values_of(real) + theirs)
    entry = next(iter(bench.log.predecessors.values()))
    assert (entry.stream, entry.head, entry.acked) == (str(stream), 15, 15)
    assert {number for _, number in strict.refused} == set(foreign)
    origins = [batch.origin for (of, _), batch in sorted(host.batches.items(), key=str) if of != stream]
    assert sorted(filter(None, origins)) == [Origin(stream, number) for number in foreign]


async def test_batch_logged_anew_is_sent_although_its_tag_is_no_longer_configured(
    host: Any, strict: StrictHost, bench: Any, make_sender: Any, running: Any, cared: Any
) -> None:
    stream = bench.log.stream
    real = await bench.append(5)
    foreign = {n: Batch(n, "R1", (Reading(1, n, -float(n)),)) for n in range(1, 6)}
    host.batches |= {(stream, n): batch for n, batch in foreign.items()}
    await host.say(online=True)
    sender = make_sender()
    task = running(sender)
    await host.until(lambda: strict.refused)
    async with cared():
        await host.until(lambda: bench.log.stream != stream)
        sender.stop()
        await task
        assert bench.log.acked == bench.log.head, "else the births would name all that the log knows"
        bench.tags = to_be_born(bench.log, [tag for tag in bench.tags if tag.name != "DO/PV"])
        running(make_sender())
        await host.until(lambda: settled(bench.log) and bench.log.acked == bench.log.head)
    assert strict.values() == sorted(values_of(real) + [-float(n) for n in foreign])


async def test_batch_logged_anew_twice_keeps_its_first_origin(bench: Any) -> None:
    first, batch = Origin(UUID(int=7), 7), Batch(1, "R1", (Reading(1, 1, 1.0),))
    await bench.log.append_again(replace(batch, origin=first), first.stream, first.number)
    entry = Entry("log.sqlite3.restored-1", None, "an older copy", State.READY, 1, 1, 0, 0, None)
    predecessor = Predecessor(entry, bench.log.path, bench.log)
    try:
        assert await predecessor.refused(bench.log.head)
    finally:
        predecessor.close()
    assert bench.log.get(bench.log.head).origin == first


async def test_cloud_that_insists_on_batches_beyond_the_log_means_an_older_copy(
    host: Any, strict: StrictHost, bench: Any, make_sender: Any, running: Any, cared: Any, node: str
) -> None:
    stream = bench.log.stream
    real = await bench.append(5)
    for batch in [*real, *(Batch(n, "R1", (Reading(1, n, -float(n)),)) for n in range(6, 41))]:
        host.batches[stream, batch.number] = batch
        host.ledgers.setdefault(stream, host.new_ledger()).commit(batch.number)
    host.on_birth = lambda event: host.session.acknowledgement(
        "test-org",
        node,
        *host.ledgers.setdefault(event.stream, host.new_ledger()).acknowledgement(),
        1,
        stream=event.stream,
    )
    await host.say(online=True)
    async with cared():
        running(make_sender())
        await host.until(lambda: bench.log.stream != stream)
        later = await kept(bench, 5)
        await host.until(lambda: settled(bench.log) and bench.log.acked == bench.log.head)
    assert strict.values() == sorted(values_of(real + later) + [-float(n) for n in range(6, 41)])
    assert not strict.refused, "what the cloud has already is known to it as the same"


async def test_one_word_from_the_future_begins_no_new_stream(
    host: Any, strict: StrictHost, bench: Any, make_sender: Any, running: Any, cared: Any, node: str
) -> None:
    stream = bench.log.stream
    await host.say(online=True)
    async with cared():
        running(make_sender())
        await host.until(lambda: host.of(NodeBorn))
        await host.publish(host.session.acknowledgement("test-org", node, 99, NumberRanges(), 1, stream=stream))
        await host.until(lambda: len(host.of(NodeBorn)) == 2)
        await bench.append(3)
        await host.until(lambda: bench.log.acked == 3)
        await asyncio.sleep(0.3)
    assert bench.log.stream == stream


async def test_deleted_file_begins_a_new_stream_and_what_it_held_is_sent(
    host: Any, strict: StrictHost, bench: Any, make_sender: Any, running: Any, cared: Any, tmp_path: Path
) -> None:
    stream = bench.log.stream
    real = await bench.append(400)
    (tmp_path / "log.sqlite3").unlink()
    async with cared():
        real += await kept(bench, 20)
        await host.until(lambda: bench.log.stream != stream)
        real += await kept(bench, 20)
        await host.say(online=True)
        running(make_sender())
        await host.until(lambda: settled(bench.log) and bench.log.acked == bench.log.head)
    assert strict.values() == values_of(real)
    assert (tmp_path / "log.sqlite3").exists()


@pytest.mark.parametrize("what", ["log", "write-ahead log", "cut write-ahead log"])
async def test_exchanged_file_begins_a_new_stream_and_what_was_open_is_sent(
    what: str, host: Any, strict: StrictHost, bench: Any, make_sender: Any, running: Any, cared: Any, tmp_path: Path
) -> None:
    stream = bench.log.stream
    path, wal = tmp_path / "log.sqlite3", tmp_path / "log.sqlite3-wal"
    real = await bench.append(50)
    old = tmp_path / "old.sqlite3"
    shutil.copy(path, old)
    real += await bench.append(100)
    async with cared():
        await asyncio.sleep(0.2)
        if what == "log":
            old.replace(path)
        elif what == "write-ahead log":
            wal.unlink()
        else:
            os.truncate(wal, 5_000)
        real += await kept(bench, 10)
        await host.until(lambda: bench.log.stream != stream)
        real += await kept(bench, 10)
        await host.say(online=True)
        running(make_sender())
        await host.until(lambda: settled(bench.log) and bench.log.acked == bench.log.head)
    assert strict.values() == values_of(real)


async def test_damage_met_while_sending_begins_a_new_stream(
    host: Any, strict: StrictHost, bench: Any, make_sender: Any, running: Any, cared: Any, tmp_path: Path
) -> None:
    stream = bench.log.stream
    real = await bench.append(600)  # more than the log keeps in memory
    bench.log._writer._open().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    with (tmp_path / "log.sqlite3").open("r+b") as file:
        page = file.read().index(record_encode(real[100])) // 4096
        at = page * 4096
        file.seek(at)
        file.write(b"\xa5" * 64)
    await host.say(online=True)
    async with cared():
        running(make_sender())
        await host.until(lambda: bench.log.stream != stream)
        real += await kept(bench, 5)
        await host.until(lambda: settled(bench.log) and bench.log.acked == bench.log.head)
    found = strict.values()
    lost = set(values_of(real)) - set(found)
    assert len(found) == len(set(found)), "nothing is doubled"
    assert set(found) <= set(values_of(real))
    gaps = [gap for batch in host.batches.values() for gap in batch.gaps]
    assert bool(lost) <= bool(gaps), "what is lost is told"


async def test_agent_killed_between_logging_again_and_writing_that_down_doubles_nothing(
    host: Any, strict: StrictHost, bench: Any, make_sender: Any, running: Any, cared: Any, tmp_path: Path
) -> None:
    """The note of the origin is in the batch's transaction; the predecessor's progress is written later."""
    stream = bench.log.stream
    gap = Gap(bench.log.next_gap_id(), (1, 2), 5, None, "no reply")
    real = [await bench.log.append("R1", [Reading(1, 5, 0.25), Reading(2, 5, 0.5)], [gap])]
    real += await bench.append(9)
    host.batches |= {(stream, n): Batch(n, "R1", (Reading(1, n, -float(n)),)) for n in range(1, 11)}
    for n in range(1, 11):
        host.ledgers.setdefault(stream, host.new_ledger()).commit(n)
    await host.say(online=True)
    forgotten = 0
    keep = SqliteLog.keep_predecessor

    async def keep_or_die(self: SqliteLog, entry: Any, *more: Any, **named: Any) -> None:
        nonlocal forgotten
        if entry.state is State.SENT and forgotten < 2:
            forgotten += 1
            self.note_progress(entry.path, 0)
            raise LogWriteFailed(self.path, "the power went", "wait")
        await keep(self, entry, *more, **named)

    bench.log.keep_predecessor = keep_or_die.__get__(bench.log)
    async with cared():
        sender = make_sender(window=SendingWindow(live_limit=64, backlog_limit=64, resend_after_s=0.5))
        task = running(sender)
        await host.until(lambda: forgotten >= 1)
        sender.stop()
        await task
        bench.log.close()
        bench.log = SqliteLog.open(tmp_path / "log.sqlite3")
    async with cared():
        running(make_sender())
        await host.until(lambda: settled(bench.log) and bench.log.acked == bench.log.head)
    assert strict.values() == sorted(values_of(real) + [-float(n) for n in range(1, 11)])
    assert len([gap for batch in host.batches.values() for gap in batch.gaps]) == 1
    bench.log.close()


@pytest.mark.parametrize("what", ["a page", "the header", "all of it"])
async def test_log_set_aside_that_is_damaged_later_is_gathered_anew_and_holds_up_no_other(
    what: str, host: Any, strict: StrictHost, bench: Any, make_sender: Any, running: Any, tmp_path: Path
) -> None:
    """Older copies are sent as they are, as a rule; what happens to them until then is found out in sending."""
    real: list[Batch] = []
    for _ in range(2):
        real += await bench.append(200)
        bench.log.doubt(Kind.RESTORED, "a test wants it so")
        await Care(bench.log, SystemClock()).look()
    first, second = bench.log.predecessors.values()
    assert (first.state, second.state) == (State.READY, State.READY)
    victim = tmp_path / first.path
    with victim.open("r+b") as file:
        at = 4096 * (file.read().index(record_encode(real[100])) // 4096)
        file.seek(at if what == "a page" else 0)
        file.write(b"\xa5" * 100)
    if what == "all of it":
        for end in ("", "-wal", "-shm"):
            victim.with_name(victim.name + end).unlink(missing_ok=True)
    await host.say(online=True)
    care = Care(bench.log, SystemClock(), look_every_s=0.05)
    task = asyncio.create_task(care.run())
    running(make_sender())
    await host.until(lambda: not any(entry.is_open for entry in bench.log.predecessors.values()))
    await host.until(lambda: bench.log.acked == bench.log.head)
    task.cancel()
    await asyncio.wait((task,))
    found = strict.values()
    assert len(found) == len(set(found)), "nothing is doubled"
    lost = set(values_of(real)) - set(found)
    state = bench.log.predecessors[first.path].state
    if what == "all of it":
        assert (state, lost) == (State.LOST, set(values_of(real[:200])))
    else:
        assert state is State.SENT
        assert len(lost) <= (0 if what == "the header" else 100), "what one page holds"
