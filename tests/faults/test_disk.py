"""Rows 24 to 33: what a disk does to the log."""

import asyncio
import os
import random
import select
import shutil
import sqlite3
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import pytest
from lms_agent.log.reader import LogReader
from support.injecting import injected
from support.loop_disk import LoopDisk, Shutdown, loop_disk, small_tmpfs
from support.proving import FaultRow, Proof
from support.reconciling import Cell, acked, content, head, logged, logged_cell, stored

CHILDREN = Path(__file__).parent / "children"
TESTS = Path(__file__).resolve().parents[1]
POWER_CUTS = (Shutdown.WITHOUT_LOG, Shutdown.WITHOUT_LOG, Shutdown.WITH_LOG)


@pytest.fixture
def disk(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with loop_disk(tmp_path_factory.mktemp("loop"), options="noatime,errors=remount-ro") as made:
        yield made


Content: TypeAlias = tuple[int, str]
"""How many readings a batch has, and a digest of all that they say."""
LOGS, CUTS_A_LOG = 10, 12


class Reported(NamedTuple):
    """What a writing log had reported as appended, by number.

    Attributes:
        before: in the test's hands, or by its time stamp, before the power was switched off.
        after: while or after it was; Linux may have answered the fsync of a file system that it was shutting down.
        meant: what was to be appended, reported afterwards or not.
    """

    before: dict[int, Content]
    after: dict[int, Content]
    meant: set[str]


async def _cut(disk: LoopDisk, path: Path, chance: random.Random, row: FaultRow) -> Reported:
    """Append, and cut the power at a random moment; what had been reported as appended when it went, and what then."""
    began_s = time.monotonic()
    ours, theirs = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, CHILDREN / "appends_until_dark.py", path, str(chance.randrange(1 << 32))),
            env={**os.environ, "PYTHONPATH": str(TESTS)},
            stdout=theirs,
            stderr=asyncio.subprocess.PIPE,
        )
    finally:
        os.close(theirs)
    with os.fdopen(ours, "rb", buffering=0) as pipe:
        said = await asyncio.wait_for(asyncio.to_thread(os.read, ours, 1 << 16), 60)
        row.recovered(time.monotonic() - began_s)
        lasting_s, how = chance.uniform(0.0, 0.4), chance.choice(POWER_CUTS)
        heard, mark_ns = await asyncio.to_thread(_hear_and_cut, disk, ours, lasting_s, how)
        row.injected += 1
        said += heard
        known = len(said)
        os.set_blocking(ours, True)
        said += await asyncio.wait_for(asyncio.to_thread(pipe.readall), 60)
    assert process.stderr is not None
    errors = (await process.stderr.read()).decode()
    assert await asyncio.wait_for(process.wait(), 60) == 0, errors[-2000:]
    reported = Reported({}, {}, set())
    ends_at = 0
    for line in said.splitlines(keepends=True):
        ends_at += len(line)
        if not line.endswith(b"\n"):
            continue
        if line.startswith(b"="):
            reported.meant.add(line.split()[1].decode())
            continue
        number, at_ns, count, holds = line.split()
        part = reported.before if ends_at <= known or int(at_ns) < mark_ns else reported.after
        part[int(number)] = (int(count), holds.decode())
    return reported


def _hear_and_cut(disk: LoopDisk, pipe: int, lasting_s: float, how: Shutdown) -> tuple[bytes, int]:
    """Listen for a while, to the last byte that is there; only then cut. What was heard, and the moment between."""
    os.set_blocking(pipe, False)
    heard = b""
    end_s = time.monotonic() + lasting_s
    while (left_s := end_s - time.monotonic()) > 0:
        if select.select([pipe], [], [], left_s)[0]:
            heard += os.read(pipe, 1 << 16)
    while select.select([pipe], [], [], 0)[0] and (more := os.read(pipe, 1 << 16)):
        heard += more
    return heard, disk.cut_power(how)


@pytest.mark.fault(row=24)
@pytest.mark.quick
@pytest.mark.timeout(900)
async def test_power_cuts_take_nothing_that_append_had_reported(
    disk: LoopDisk, row: FaultRow, full: bool, chance: random.Random
) -> None:
    afterwards = gone = 0
    for log in range(LOGS if full else 1):
        path = disk.path / f"log-{log}.sqlite3"
        reported: dict[int, Content] = {}
        meant: set[str] = set()
        for _ in range(CUTS_A_LOG if full else 3):
            new, uncertain, tried = await _cut(disk, path, chance, row)
            assert not reported.keys() & new.keys(), "a number was given twice"
            reported |= new
            meant |= tried
            await asyncio.to_thread(disk.unmount)
            await asyncio.to_thread(disk.mount)
            kept = await asyncio.to_thread(_kept, path)
            row.compared += sum(content[0] for content in new.values())
            row.lost += sum(reported[number][0] for number in reported.keys() - kept.keys())
            row.wrong += sum(reported[number] != kept[number] for number in reported.keys() & kept.keys())
            row.wrong += sum(holds not in meant for _, holds in kept.values())
            row.doubled += len(kept) - len({holds for _, holds in kept.values()})
            assert (row.lost, row.doubled, row.wrong) == (0, 0, 0)
            afterwards += len(uncertain)
            gone += len(uncertain.keys() - kept.keys())
        for file in disk.path.glob("log-*"):
            file.unlink()
    row.notes.append(f"{afterwards} batches were reported while the power went, {gone} of them are gone")
    assert row.compared > 30 * row.injected


def _kept(path: Path) -> dict[int, Content]:
    """Every batch of the log after the power came back."""
    with LogReader.open(path) as reader:
        batches = list(reader.after(0))
    assert [batch.number for batch in batches] == list(range(1, len(batches) + 1))
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    return {batch.number: (len(batch.readings), content(batch.readings)) for batch in batches}


@pytest.mark.fault(row=24)
async def test_power_cut_of_a_sending_agent_loses_nothing(
    prove: Any, proxy: Any, disk: LoopDisk, chance: random.Random
) -> None:
    log = disk.path / "log.sqlite3"
    async with proxy() as way, prove(log=log, agent_port=way.port) as proof:
        for _ in range(12):
            await asyncio.sleep(chance.uniform(0.2, 2.0))
            way.to_server.held = (
                True  # a Pi may live on for a moment, and believe what Linux tells it; it sends nothing
            )
            await asyncio.to_thread(disk.cut_power)
            await asyncio.sleep(chance.uniform(0.0, 1.0))
            proof.chain.kill("agent")
            proof.row.injected += 1
            way.reset()
            way.to_server.release()
            await asyncio.to_thread(disk.unmount)
            await asyncio.to_thread(disk.mount)
            proof.chain.again("agent")
            await proof.recovers()
        await proof.holds()


@pytest.mark.fault(row=25)
@pytest.mark.quick
async def test_disk_that_fails_to_flush_makes_readings_wait_in_memory(prove: Any, full: bool) -> None:
    async with prove() as proof:
        chain = proof.chain
        agent = chain.processes["agent"].pid
        for _ in range(3 if full else 1):
            logged, said = head(chain.log), chain.said("agent").count("cannot be written")
            async with injected(agent, "fdatasync:error=EIO", "fsync:error=EIO") as injections:
                await proof.until(lambda said=said: chain.said("agent").count("cannot be written") > said, "an error")
                await proof.until(lambda: proof.status()["log"]["waiting"] > 200, "readings wait in memory")
                proof.row.injected += injections.count
            assert "input/output error" in chain.said("agent")
            await proof.until(
                lambda logged=logged: head(chain.log) > logged + 20, "what waited in memory is in the log"
            )
            await proof.recovers()
        assert proof.lost_scans() == [], "what waited was not dropped"
        await proof.holds()
        proof.row.notes.append(f"{chain.said('agent').count('takes readings again')} times the log took readings again")


@pytest.mark.fault(row=26)
async def test_full_disk_makes_readings_wait_in_memory(prove: Any, tmp_path_factory: Any) -> None:
    with small_tmpfs(tmp_path_factory.mktemp("small"), size_mib=8) as place:
        async with prove(log=place / "log.sqlite3") as proof:
            chain = proof.chain
            for _ in range(3):
                said = chain.said("agent").count("disk is full")
                filler = place / "filler"
                with filler.open("wb") as file, pytest.raises(OSError, match="No space"):
                    _fill(file)
                proof.row.injected += 1
                await proof.until(lambda said=said: chain.said("agent").count("disk is full") > said, "a full disk")
                scans = proof.truth.changes
                await proof.until(lambda scans=scans: proof.truth.changes > scans + 40, "readings wait in memory")
                filler.unlink()
                await proof.recovers()
            assert proof.lost_scans() == [], "what waited was not dropped"
            await proof.holds()


def _fill(file: BinaryIO) -> None:
    while True:
        os.write(file.fileno(), bytes(4096))


@pytest.mark.fault(row=32)
async def test_disk_that_becomes_read_only_stops_neither_reading_nor_sending(prove: Any, disk: LoopDisk) -> None:
    log = disk.path / "log.sqlite3"
    async with prove(log=log) as proof:
        chain = proof.chain
        chain.kill("ingest")
        backlog = head(log) + 50
        await proof.until(lambda: head(log) >= backlog, "a backlog")
        await asyncio.to_thread(disk.report_error)
        proof.row.injected += 1
        await proof.until(lambda: "cannot be written" in chain.said("agent"), "the agent says so")
        last, scans = head(log), proof.truth.changes
        chain.again("ingest")
        await proof.until(lambda: proof.query("select max(number) from ledger")[0][0] == last, "the backlog is sent")
        await proof.until(lambda: proof.truth.changes > scans + 50, "it goes on reading")
        assert (head(log), acked(log) < last) == (last, True), "the disk took nothing more"
        assert chain.processes["agent"].poll() is None, chain.said("agent")
        chain.kill("agent")  # the boot that repairs it; what waited in memory is a gap
        await asyncio.to_thread(disk.unmount)
        await asyncio.to_thread(disk.check)
        await asyncio.to_thread(disk.mount)
        chain.again("agent")
        await proof.recovers()
        await proof.holds()


@pytest.mark.fault(row=33)
async def test_half_a_second_for_each_flush_delays_no_scan(prove: Any) -> None:
    async with prove() as proof:
        agent = proof.chain.processes["agent"].pid
        async with injected(agent, "fdatasync:delay_exit=500000", "fsync:delay_exit=500000") as delays:
            changes, flushes = proof.truth.changes, delays.count
            await proof.until(lambda: delays.count >= flushes + 20, "flushes that took half a second")
            proof.row.injected = delays.count - flushes
            scans = proof.truth.changes - changes
        proof.row.notes.append(f"{scans} scans were made meanwhile")
        assert scans > 2 * proof.row.injected, "a scan waits for no flush: five are due while one lasts"
        await proof.recovers()
        await proof.holds()


def _copied(log: Path, folder: Path) -> Path:
    """The log as it lies there, with what of it is still in the write-ahead log."""
    folder.mkdir()
    for suffix in ("", "-wal"):
        source = log.with_name(log.name + suffix)
        if source.exists():
            shutil.copy(source, folder / source.name)
    return folder / log.name


async def _stopped_with_backlog(proof: Proof, batches: int = 60) -> None:
    """Let the agent log what nobody takes, and stop it in good order, so that all is in the one file."""
    proof.chain.kill("ingest")
    wanted = head(proof.chain.log) + batches
    await proof.until(lambda: head(proof.chain.log) >= wanted, "a backlog")
    process = proof.chain.processes["agent"]
    process.terminate()
    await asyncio.to_thread(process.wait, 30)


def _flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        (old,) = file.read(1)
        file.seek(at)
        file.write(bytes([old ^ 0x10]))


DROPPED = r"""
select coalesce(sum((regexp_match(reason, '^(\d+) readings in \d+ batches were dropped'))[1]::int), 0) from gaps
"""


@pytest.mark.fault(row=27)
@pytest.mark.parametrize("policy", ["keep", "drop_oldest"])
async def test_log_at_its_size_limit_follows_the_stated_policy(prove: Any, policy: str) -> None:
    async with prove(tags=100) as proof:
        chain = proof.chain
        config = chain.folder / "agent.toml"
        limits = f'log_max_bytes = 1000000\nlog_when_full = "{policy}"\n[broker]'
        config.write_text(config.read_text().replace("[broker]", limits))
        chain.kill("agent")
        chain.kill("ingest")
        chain.again("agent")
        proof.row.injected += 1
        told = {"keep": "waiting", "drop_oldest": "dropped_readings"}[policy]
        await proof.until(lambda: proof.status().get("log", {}).get(told, 0) > 5_000, "the limit is reached", 240)
        size = chain.log.stat().st_size
        chain.again("ingest")
        await proof.until(lambda: proof.status()["log"]["waiting"] == 0, "nothing waits any more", 90)
        await proof.recovers()
        status = proof.status()["log"]
        dropped = status["dropped_readings"]
        proof.row.notes.append(f"{policy}: {size / 1e6:.2f} MB of 1 MB; {dropped} readings dropped, and told")
        assert size <= 1_100_000
        assert (dropped > 0) == (policy == "drop_oldest")
        assert ("are DROPPED" in chain.said("agent")) == (policy == "drop_oldest"), "the agent says so"
        (told_dropped,) = proof.query(DROPPED)[0]
        assert told_dropped == dropped, "the cloud knows how many"
        await proof.holds_without_logs(logged(chain.log, acked(chain.log)))


@pytest.mark.fault(row=28)
async def test_flipped_bytes_of_records_cost_the_batches_they_hit_and_no_others(
    prove: Any, chance: random.Random
) -> None:
    async with prove() as proof:
        chain = proof.chain
        await _stopped_with_backlog(proof)
        copy = _copied(chain.log, chain.folder / "copy")
        places, _ = _places(copy)
        unreadable: Counter[Cell] = Counter()
        for batch in chance.sample(sorted(places), 8):
            _flip(chain.log, chance.choice(places[batch]))
            proof.row.injected += 1
            unreadable |= _cells(copy, batch)
        chain.again("ingest")
        chain.again("agent")
        await proof.recovers()
        await proof.until(lambda: _settled(chain.log), "what was set aside is settled")
        await proof.holds_over_streams([copy], unreadable)
        there = await asyncio.to_thread(stored, proof.database_url)
        assert not unreadable & there, "nobody could have known them"


@pytest.mark.fault(row=28)
@pytest.mark.parametrize("where", ["header", "page"])
async def test_flipped_bytes_of_the_file_set_it_aside_and_cost_at_most_what_lies_there(
    prove: Any, chance: random.Random, where: str
) -> None:
    async with prove() as proof:
        chain = proof.chain
        copies = []
        unreadable: Counter[Cell] = Counter()
        for number in range(3):
            await _stopped_with_backlog(proof)
            stream = _stream(chain.log)
            copies.append(_copied(chain.log, chain.folder / f"copy-{number}"))
            places, page_bytes = _places(copies[-1])
            if where == "header":
                _flip(chain.log, chance.randrange(16))  # SQLite's name
            else:
                begins = chance.choice(sorted({place.start // page_bytes for place in places.values()})) * page_bytes
                _flip(chain.log, begins)  # what kind of page it is
                for batch, place in places.items():
                    if place.start < begins + page_bytes and begins < place.stop:
                        unreadable |= _cells(copies[-1], batch)
            proof.row.injected += 1
            chain.again("ingest")
            chain.again("agent")
            await proof.until(lambda stream=stream: _stream(chain.log) != stream, "a new stream")
            await proof.recovers()
            await proof.until(lambda: _settled(chain.log), "what was set aside is settled")
        assert len(list(chain.log.parent.glob("log.sqlite3.damaged-*Z"))) == 3, "what was set aside is kept"
        await proof.holds_over_streams(copies, unreadable)
        readable = (unreadable & await asyncio.to_thread(stored, proof.database_url)).total()
        proof.row.notes.append(
            f"of {unreadable.total()} readings on pages of no kind {readable} were read all the same"
        )


def _places(path: Path) -> tuple[dict[int, range], int]:
    """Where in the file each unacknowledged record lies, of those that lie in one piece; and the size of its pages."""
    file = path.read_bytes()
    after = acked(path)
    with closing(sqlite3.connect(path)) as connection:
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        records = connection.execute("SELECT number, record FROM batches WHERE number > ?", (after,)).fetchall()
    found = {number: (file.find(record), len(record)) for number, record in records}
    return {number: range(at, at + size) for number, (at, size) in found.items() if at >= 0}, page_bytes


def _cells(path: Path, number: int) -> Counter[Cell]:
    with LogReader.open(path) as reader:
        names = {tag.number: tag.name for tag in reader.tags()}
        batch = reader.get(number)
    return Counter(logged_cell(batch.device, names[each.tag], each) for each in batch.readings)


def _settled(log: Path) -> bool:
    """Whether no log that was set aside has anything left to send."""
    with LogReader.open(log) as reader:
        return all(not entry.is_open for entry in reader.predecessors())


@pytest.mark.fault(row=29)
async def test_truncated_write_ahead_log_costs_only_what_nobody_had(prove: Any, chance: random.Random) -> None:
    async with prove() as proof:
        chain = proof.chain
        copies = []
        cut: Counter[Cell] = Counter()
        had: Counter[Cell] = Counter()
        for number in range(5):
            await asyncio.sleep(chance.uniform(2.0, 4.0))
            chain.kill("agent")
            copies.append(_copied(chain.log, chain.folder / f"copy-{number}"))
            had |= await asyncio.to_thread(logged, copies[-1], acked(copies[-1]))
            wal = chain.log.with_name(chain.log.name + "-wal")
            os.truncate(wal, chance.randrange(wal.stat().st_size))
            proof.row.injected += 1
            shortened = _copied(chain.log, chain.folder / f"cut-{number}")
            cut |= await asyncio.to_thread(lambda a=copies[-1], b=shortened: logged(a) - logged(b))
            chain.again("agent")
            await proof.recovers()
            await proof.until(lambda: _settled(chain.log), "what was set aside is settled")
        await proof.holds_over_streams(copies, cut - had)
        there = await asyncio.to_thread(stored, proof.database_url)
        gone = (cut - there).total()
        proof.row.notes.append(f"{cut.total()} readings cut from the disk, {gone} of them before anybody had them")


@pytest.mark.fault(row=30)
@pytest.mark.parametrize("running", [True, False])
async def test_deleted_log_begins_a_new_stream(prove: Any, running: bool) -> None:
    async with prove() as proof:
        chain = proof.chain
        owed: Counter[Cell] = Counter()
        for number in range(3):
            logs = 1 + number
            await proof.until(lambda: acked(chain.log) > 20, "batches to lose")
            if not running:
                chain.kill("agent")
            # Its file is still open in a running agent, which has all of it; else only the cloud has what it has taken.
            owed |= await asyncio.to_thread(logged, chain.log, None if running else acked(chain.log))
            for file in chain.log.parent.glob("log.sqlite3*"):
                if not file.name.endswith((".lock", ".json")):
                    file.unlink()
            proof.row.injected += 1
            if not running:
                chain.again("agent")
            await proof.until(lambda: head(chain.log) > 0, "a new log")
            await proof.recovers()
            await proof.until(lambda: _settled(chain.log), "what was set aside is settled")
            streams = proof.query("select count(distinct stream) from ledger")[0][0]
            assert streams == logs + 1
        await proof.holds_without_logs(owed)


@pytest.mark.fault(row=31)
async def test_old_image_of_the_log_is_noticed_and_begins_a_new_stream(prove: Any) -> None:
    async with prove() as proof:
        chain = proof.chain
        copies = []
        gone: Counter[Cell] = Counter()
        for number in range(3):
            process = chain.processes["agent"]
            process.terminate()
            await asyncio.to_thread(process.wait, 30)
            image = _copied(chain.log, chain.folder / f"image-{number}")
            chain.again("agent")
            await proof.recovers()
            further = head(chain.log) + 40
            await proof.until(lambda further=further: acked(chain.log) > further, "batches that the image lacks")
            chain.kill("agent")
            copies.append(_copied(chain.log, chain.folder / f"copy-{number}"))
            gone |= await asyncio.to_thread(_unacknowledged, copies[-1])  # the image takes their place
            for suffix in ("", "-wal", "-shm"):
                chain.log.with_name(chain.log.name + suffix).unlink(missing_ok=True)
            shutil.copy(image, chain.log)
            proof.row.injected += 1
            with LogReader.open(image) as reader:
                stream = reader.stream
            chain.again("agent")
            await proof.until(lambda stream=stream: _stream(chain.log) != stream, "a new stream")
            await proof.recovers()
            await proof.until(lambda: _settled(chain.log), "what was set aside is settled")
        await proof.holds_over_streams(copies, gone)


def _unacknowledged(log: Path) -> Counter[Cell]:
    return logged(log) - logged(log, acked(log))


def _stream(log: Path) -> object:
    with LogReader.open(log) as reader:
        return reader.stream
