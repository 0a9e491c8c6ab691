"""What every fault must leave behind, and the table of what was found.

logged      →  in the database exactly once, bit-equal                     (`support.reconciling`)
stored      →  said by the instrument, at that time and in that order      (`Truth`)
not read    →  a gap record, in the log and in the database                (`uncovered`)
afterwards  →  all of it without a hand, within 60 s, and in bounded memory
"""

import asyncio
import math
import random
import struct
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from lms_agent.health import read_status
from lms_agent.log.errors import LogError
from lms_agent.log.reader import LogReader
from lms_firmware_sim.wires.registers import RegisterMap
from lms_protocol.reading import Gap, Quality

from support.chain import Chain, most_resident_mib, starved_s
from support.reconciling import Cell, acked, head, logged, reconcile, stored

RECOVERS_WITHIN_S = 60.0
AGENT_MIB = 96.0
INGEST_MIB = 400.0


@dataclass
class FaultRow:
    """One row of the table: what was injected and what came of it.

    Attributes:
        row: number of the fault in docs/faults.md.
        injected: how often it was.
        compared: readings that were looked for in the database, or in the log where no cloud takes part.
        lost, doubled, wrong: readings; wrong: stored or logged, but never said by the instrument, or altered.
        recovered_s: seconds from the fault's end until all was well; the longest.
        notes: what else is to be said.
    """

    row: int
    injected: int = 0
    compared: int = 0
    lost: int = 0
    doubled: int = 0
    wrong: int = 0
    recovered_s: float | None = None
    notes: list[str] = field(default_factory=list)

    def recovered(self, seconds: float, starved_s: float = 0.0) -> None:
        """The fault is over and all is well; for `starved_s` of it our programs waited for a processor."""
        if self.recovered_s is None or seconds > self.recovered_s:
            self.recovered_s = seconds
            if seconds >= RECOVERS_WITHIN_S:
                self.notes.append(f"of {seconds:.0f} s, {starved_s:.0f} s without a processor")


class Starvation:
    """For how long the programs of a chain could not run because others had the processors."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._known = self._by_pid()
        self.lasted_s = 0.0

    def look(self) -> None:
        """Take note of it; at each look the one counts that had to wait the longest."""
        now = self._by_pid()
        self.lasted_s += max((waited - self._known.get(pid, waited) for pid, waited in now.items()), default=0.0)
        self._known = now

    def _by_pid(self) -> dict[int, float]:
        return {process.pid: starved_s(process.pid) for process in self._chain.processes.values()}


class Said(NamedTuple):
    """When the instrument said a value.

    Attributes:
        change: of the registers, counted from 1; 0 for what they held before, and for history.
        at_ms: UTC, by the clock of the test; NaN with those.
    """

    change: int
    at_ms: float


TRUE_WITHIN_MS = 60_000.0
"""Instants may be so far from the test's own: a program that was stopped, or found no processor, stamps late. The steps
of clocks that tests make are an hour and more."""


class Truth:
    """Makes the registers of a unit live, and knows every value that they ever had, and when.

    No tag says a value twice, so that a reading tells which scan it is from.

    Attributes:
        ill: bits (big-endian float64) of what an ill instrument said besides; true only where flagged UNCERTAIN.
    """

    def __init__(self, registers: RegisterMap, tags: int, seed: int = 1) -> None:
        self._registers = registers
        self._chance = random.Random(seed)
        self._said = {tag: {1.0 + tag: Said(0, math.nan)} for tag in range(tags)}
        self.changes = 0
        self.ill: set[bytes] = set()
        registers.before_read = self.change

    def change(self) -> None:
        """Every register gets another value. Called before each read."""
        self.changes += 1
        said = Said(self.changes, 1000 * time.time())
        for tag in self._said:
            self._registers.put(2 * tag, self._fresh(tag, said), "float32")

    def chosen(self, tag: int) -> float:
        """A value that counts as said: for history that is brought in from elsewhere."""
        return self._fresh(tag, Said(0, math.nan))

    def _fresh(self, tag: int, said: Said) -> float:
        known = self._said[tag]
        while (value := float32(self._chance.gauss(100, 50))) in known:
            pass
        known[value] = said
        return value

    def wrong(self, cells: Iterable[Cell]) -> list[Cell]:
        """Those cells that the instrument never said, or not at that time."""
        return [
            cell
            for cell, said in self._pairs(cells)
            if not (cell[4] in self.ill and cell[5] == Quality.UNCERTAIN)
            and (said is None or abs(cell[2] - said.at_ms) > TRUE_WITHIN_MS)
        ]

    def disordered(self, cells: Iterable[Cell]) -> list[Cell]:
        """Those cells of one agent that are not from a later scan than the cell of their tag before them.

        Two replies that a busy agent comes to look at in one millisecond may stand in either order.
        """
        latest: dict[str, int] = {}
        found = []
        pairs = [(cell, said) for cell, said in self._pairs(cells) if said is not None and said.change]
        for cell, said in sorted(pairs, key=lambda pair: (pair[0][2], pair[1].change)):
            if said.change <= latest.get(cell[1], 0):
                found.append(cell)
            latest[cell[1]] = said.change
        return found

    def _pairs(self, cells: Iterable[Cell]) -> Iterator[tuple[Cell, Said | None]]:
        """Cells with a number of a tag of the unit's, and when that was said."""
        names = {f"T{tag + 1}/PV": said for tag, said in self._said.items()}
        for cell in cells:
            if cell[3] == "number" and cell[1] in names:
                yield cell, names[cell[1]].get(struct.unpack(">d", cell[4])[0])


def float32(value: float) -> float:
    """The nearest 32-bit float, as a register pair holds it."""
    (rounded,) = struct.unpack("<f", struct.pack("<f", value))
    return float(rounded)


SILENT_PERIODS = 2.5
"""Readings further apart must have a gap between them. The agent tells of all that is more than two periods
(`lms_agent.sampling.watching.BEARABLE_PERIODS`); the rest is room for rounding."""


def uncovered(path: Path, period_s: float) -> list[tuple[int, int, int]]:
    """The intervals of a log in which a tag was due and not read, and no gap record says so: (tag, from, to in ms)."""
    times: dict[int, list[int]] = defaultdict(list)
    gaps: dict[int, Gap] = {}
    with LogReader.open(path) as reader:
        names = {tag.number: tag.name for tag in reader.tags()}
        for batch in reader.after(0):
            for reading in batch.readings:
                if reading.value is not None:
                    times[reading.tag].append(reading.taken_at_ms)
            gaps |= {gap.id: gap for gap in batch.gaps}
    told: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for gap in gaps.values():
        for tag in gap.tags:
            told[tag].append((gap.began_at_ms, gap.ended_at_ms or 1 << 62))
    assert names
    return [
        (tag, before, after)
        for tag, taken in times.items()
        for before, after in pairwise(sorted(taken))
        if _silent_ms(before, after, told[tag]) > 1000 * SILENT_PERIODS * period_s
    ]


STORED_TIMES = """
select b.properties ->> 'wire_id' || ' ' || t.name, (extract(epoch from r.taken_at) * 1000)::bigint
from readings r join series s on s.id = r.series_id
join entities t on t.id = s.tag_id join entities b on b.id = s.bioreactor_id where r.value is not null
"""
STORED_GAPS = """
select b.properties ->> 'wire_id' || ' ' || t.name, (extract(epoch from g.began_at) * 1000)::bigint,
    (extract(epoch from coalesce(g.ended_at, 'infinity')) * 1000)::double precision
from gaps g join series s on s.id = any (g.series)
join entities t on t.id = s.tag_id join entities b on b.id = s.bioreactor_id
"""


def uncovered_in_cloud(database_url: str, period_s: float) -> list[tuple[str, int, int]]:
    """The same of the database, over all streams: what nobody there could know to be missing."""
    times: dict[str, list[int]] = defaultdict(list)
    told: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with psycopg.connect(database_url) as connection:
        for tag, at_ms in connection.execute(STORED_TIMES):
            times[tag].append(at_ms)
        for tag, began_ms, ended_ms in connection.execute(STORED_GAPS):
            told[tag].append((began_ms, ended_ms))
    return [
        (tag, before, after)
        for tag, taken in times.items()
        for before, after in pairwise(sorted(taken))
        if _silent_ms(before, after, told[tag]) > 1000 * SILENT_PERIODS * period_s
    ]


def _silent_ms(before: float, after: float, gaps: Iterable[tuple[float, float]]) -> float:
    """The longest stretch of an interval of which no gap tells; gaps may overlap.

    A batch that could not be read any more is told of by a gap that lasts from its first reading to its last: a moment.
    """
    silent, upto = 0.0, before
    for began, ended in sorted(gaps):
        if ended < upto or began >= after:
            continue
        silent = max(silent, began - upto)
        upto = max(upto, ended)
    return max(silent, after - upto)


def untold(path: Path, database_url: str) -> list[int]:
    """The ids of those gaps in acknowledged batches of a log that the database does not have, or not with their end."""
    with LogReader.open(path) as reader:
        upto, stream = reader.acked, reader.stream
        gaps: dict[int, int | None] = {}
        for batch in reader.after(0):
            if batch.number <= upto:
                for gap in batch.gaps:
                    if gap.ended_at_ms is not None or gap.id not in gaps:
                        gaps[gap.id] = gap.ended_at_ms
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "select gap, (extract(epoch from ended_at) * 1000)::bigint from gaps where stream = %s", (stream,)
        ).fetchall()
    known = dict(rows)
    return [id_ for id_, ended in gaps.items() if id_ not in known or (ended is not None and known[id_] != ended)]


def _holds_now(condition: Callable[[], object]) -> bool:
    """Whether a condition holds; not while the log is just being set aside, and the new one has no name yet."""
    try:
        return bool(condition())
    except LogError:
        return False


class Proof:
    """Follows one chain through a fault, and fills its row.

    Args:
        chain: it runs.
        database_url: a superuser's.
        row: filled here.
        period_s: of the scans.
        tags: how many the unit has.
    """

    def __init__(self, chain: Chain, database_url: str, row: FaultRow, *, period_s: float, tags: int) -> None:
        self.chain = chain
        self.row = row
        self.truth = Truth(chain.registers, tags)
        self.database_url = database_url
        self._period_s = period_s
        self._before = head(chain.log)

    def query(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the database as its superuser, whom row security hides nothing from."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def status(self) -> dict[str, Any]:
        """What the agent says of itself in its status file."""
        return read_status(self.chain.log) or {}

    async def until(self, condition: Callable[[], object], what: str, within_s: float = RECOVERS_WITHIN_S) -> float:
        """Wait for a condition; as long as others have the processors while our programs are ready to run, time stands.

        Returns:
            How long it stood, in seconds.

        Raises:
            AssertionError: it does not come true in time; says what the programs said last.
        """
        began_s, starvation = time.monotonic(), Starvation(self.chain)
        while not await asyncio.to_thread(_holds_now, condition):
            starvation.look()
            lasted_s = time.monotonic() - began_s - starvation.lasted_s
            assert lasted_s < within_s, f"not within {within_s:.0f} s: {what}\n{self.last_words()}"
            await asyncio.sleep(0.1)
        return starvation.lasted_s

    async def recovers(self, *, within_s: float = RECOVERS_WITHIN_S) -> float:
        """Call it at the fault's end: waits until all that is logged by now, and something new, is acknowledged."""
        began_s = time.monotonic()
        log = self.chain.log
        starved = await self.until(lambda: head(log) >= 0, "the log can be read", within_s)
        wanted = head(log) + 1
        starved += await self.until(lambda: acked(log) >= wanted, f"batch {wanted} acknowledged", within_s)
        took_s = time.monotonic() - began_s
        self.row.recovered(took_s, starved)
        return took_s

    async def holds(self, *, least: int = 100, others: Sequence[Path] = ()) -> None:
        """Compare everything; the row is filled first, so that the table shows what failed.

        Args:
            least: readings that must be there to compare.
            others: logs of other agents that wrote there too.
        """
        row, log = self.row, self.chain.log
        verdict = await asyncio.to_thread(reconcile, self.database_url, [log, *others])
        wrong = await asyncio.to_thread(self._untrue, [log, *others])
        row.compared += verdict.compared
        row.lost += verdict.lost.total()
        row.doubled += verdict.doubled.total()
        row.wrong += verdict.foreign.total() + len(wrong)
        assert (verdict.lost, verdict.doubled, verdict.foreign, wrong) == ({}, {}, {}, []), verdict
        assert verdict.compared >= least, f"only {verdict.compared} readings to compare"
        assert head(log) > self._before, "the agent went on reading"
        silent = await asyncio.to_thread(uncovered, log, self._period_s)
        assert not silent, f"intervals without a gap record (tag, from, to): {silent}"
        unknown = await asyncio.to_thread(untold, log, self.database_url)
        assert not unknown, f"gaps that the cloud does not know: {unknown}"
        self._is_within_bounds()

    def _untrue(self, logs: Iterable[Path]) -> list[Cell]:
        """What is in the database, and what came into a log out of order, that the instrument did not say so."""
        disordered = [cell for log in logs for cell in self.truth.disordered(logged(log))]
        return self.truth.wrong(stored(self.database_url)) + disordered

    async def holds_over_streams(self, copies: Iterable[Path], unreadable: Counter[Cell] | None = None) -> None:
        """The same where the log had to begin anew.

        Args:
            copies: logs as they were before the fault, whole. What was refused in a new log is there a second time.
            unreadable: what of them the fault has destroyed; it may be in the database, and may not.
        """
        whole: Counter[Cell] = Counter()
        owed: Counter[Cell] = Counter()
        for copy in copies:
            cells = await asyncio.to_thread(logged, copy)
            whole |= cells
            owed |= cells - (unreadable or Counter())
        owed |= await asyncio.to_thread(logged, self.chain.log, acked(self.chain.log), damaged=True)
        there = await asyncio.to_thread(stored, self.database_url)
        whole |= await asyncio.to_thread(logged, self.chain.log, damaged=True)
        foreign = Counter({cell: count for cell, count in there.items() if cell not in whole})
        self.row.wrong += foreign.total()
        assert not foreign, foreign
        await self.holds_without_logs(owed)

    async def holds_without_logs(self, owed: Counter[Cell]) -> None:
        """The same where no log holds any more what there was: instead, what is `owed`, and what was said."""
        row = self.row
        there = await asyncio.to_thread(stored, self.database_url)
        lost, doubled = owed - there, there - Counter(there.keys())
        wrong = self.truth.wrong(there) + self.truth.disordered(there)
        row.compared += owed.total()
        row.lost += lost.total()
        row.doubled += doubled.total()
        row.wrong += len(wrong)
        assert (lost, doubled, wrong) == ({}, {}, [])
        assert row.compared > 100
        await self.tells_all_gaps()
        self._is_within_bounds()

    def _is_within_bounds(self) -> None:
        """Agent and ingest run, and have never held more memory than they may."""
        for name, most in (("agent", AGENT_MIB), ("ingest", INGEST_MIB)):
            process = self.chain.processes[name]
            assert process.poll() is None, f"{name} has ended:\n{self.last_words()}"
            held = most_resident_mib(process.pid)
            assert held < most, f"{name} has held {held:.0f} MiB"

    def lost_scans(self) -> list[str]:
        """Why the log lacks readings, but for those that a busy computer did not come to take in time."""
        with LogReader.open(self.chain.log) as reader:
            reasons = [gap.reason for batch in reader.after(0) for gap in batch.gaps]
        return [reason for reason in reasons if "the computer was busy" not in reason]

    async def tells_all_gaps(self) -> None:
        """Look in the database for intervals without readings that no gap there explains."""
        found = await asyncio.to_thread(uncovered_in_cloud, self.database_url, self._period_s)
        assert found == [], f"intervals without a gap record: {found}"

    def last_words(self) -> str:
        """What the programs said last."""
        return "\n".join(f"--- {name}\n{self.chain.said(name)[-1500:]}" for name in self.chain.processes)
