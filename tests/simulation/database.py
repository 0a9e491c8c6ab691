"""What PostgreSQL does for an ingest worker, in memory: ledger, readings, latest values, gaps, letters, statuses.

A commit is one step: all of it or nothing. Before it and after it time passes, and faults strike: the database is away,
the connection breaks before the COMMIT, or after it, so that whoever waits never learns that it was done.

`MemoryStorage` passes the same contract suite as the PostgreSQL storage (tests/simulation/test_storage_contract.py).
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from uuid import UUID, uuid5

import psycopg
from lms_cloud.fleet.directory import AgentEntry, BioreactorEntry
from lms_cloud.telemetry.incoming import Bioreactor, DeadLetter, DeviceTags, Incoming, Outcome, StreamBatch, Work
from lms_cloud.telemetry.storage import judging
from lms_cloud.telemetry.storage.judging import LedgerEntry, conflict_letter, fingerprint, first_of_each
from lms_protocol.delivery import StreamLedger
from lms_protocol.ranges import NumberRanges
from lms_protocol.reading import ClockRecord, Datatype, Reading, TagDescription

ORGANIZATION = UUID("11111111-1111-4111-8111-111111111111")
BROKEN = "the connection to the server was lost"


def agent_id(node: str) -> UUID:
    """The entity of an agent with that wire id."""
    return uuid5(ORGANIZATION, node)


def home_id(device: str) -> UUID:
    """The entity of a bioreactor with that wire id."""
    return uuid5(ORGANIZATION, device)


@dataclass
class Faults:
    """What goes wrong now.

    Attributes:
        away: nobody answers.
        slow_s: mean time that a commit takes.
        broken_before: so many commits fail before they are done.
        broken_after: so many are done, but look failed.
    """

    away: bool = False
    slow_s: float = 0.003
    broken_before: int = 0
    broken_after: int = 0


@dataclass
class MemoryDatabase:
    """The tables.

    Attributes:
        readings: (series, reading) in the order committed.
        latest: by series, the newest reading and its batch number.
        gaps: by stream and gap id: began, ended.
        letters: by topic and digest: kind, reason, how often.
        clocks: the clock records that batches carried.
        origins: of batches that were logged anew, and under what they were taken in.
        commits: how many there were.
        now_s: tells the time.
        committed_s: when each batch was committed.
    """

    rng: Random
    faults: Faults = field(default_factory=Faults)
    ledger: dict[UUID, dict[int, LedgerEntry]] = field(default_factory=lambda: defaultdict(dict))
    readings: list[tuple[int, Reading]] = field(default_factory=list)
    latest: dict[int, tuple[int, int, Reading]] = field(default_factory=dict)
    gaps: dict[tuple[UUID, int], tuple[int, int | None, str]] = field(default_factory=dict)
    letters: dict[tuple[str, bytes], tuple[str, str, int]] = field(default_factory=dict)
    cursors: dict[UUID, int] = field(default_factory=dict)
    online: dict[UUID, tuple[bool, UUID]] = field(default_factory=dict)
    homes: dict[UUID, Bioreactor] = field(default_factory=dict)
    agents: dict[UUID, bool] = field(default_factory=dict)
    owners: dict[UUID, UUID] = field(default_factory=dict)
    acked: dict[UUID, int] = field(default_factory=dict)
    series: dict[tuple[UUID, str], int] = field(default_factory=dict)
    clocks: dict[StreamBatch, ClockRecord] = field(default_factory=dict)
    origins: dict[judging.OriginKey, StreamBatch | None] = field(default_factory=dict)
    commits: int = 0
    now_s: Callable[[], float] = lambda: 0.0
    committed_s: dict[StreamBatch, float] = field(default_factory=dict)

    def all_online(self, agents: Mapping[str, Sequence[str]]) -> bool:
        """Whether all these agents, and each one's bioreactors, count as online."""
        return all(self.agents.get(agent_id(agent), False) for agent in agents) and all(
            self.online.get(home_id(device)) == (True, agent_id(agent))
            for agent, devices in agents.items()
            for device in devices
        )

    async def answer(self) -> None:
        """Let a question's time pass.

        Raises:
            psycopg.OperationalError: the database is away.
        """
        await asyncio.sleep(self.rng.expovariate(1 / self.faults.slow_s))
        if self.faults.away:
            raise psycopg.OperationalError("connection refused: is the server running?")

    def apply(self, work: Work) -> Outcome:
        """One transaction, at once."""
        outcome = Outcome()
        batches = first_of_each(work.batches)
        taken_in = [letter for letter in work.letters if letter.counts_as_taken_in]
        for item in (*batches, *taken_in, *work.statuses):
            home = item.bioreactor
            if home is not None and home.id not in outcome.cursors:
                self.homes[home.id] = home
                outcome.cursors[home.id] = self.cursors[home.id] = self.cursors.get(home.id, 0) + 1
        fresh = self._enter(batches, taken_in)
        held = {each.key: self.ledger[each.key.stream][each.key.number] for each in work.batches if each.key}
        outcome.settled, outcome.refused = judging.judge(work.batches, held)
        entered = [batch for batch in batches if batch.key is None or batch.key in fresh]
        outcome.stored = self._drop_repeated(entered)
        outcome.settled += [letter.key for letter in taken_in if letter.key]
        for batch in outcome.stored:
            self._store(batch)
        for letter in (*work.letters, *map(conflict_letter, outcome.refused)):
            self._keep(letter)
        for change in work.statuses:
            wanted = (change.online, change.agent_id)
            if self.online.get(change.bioreactor.id, (False, None)) != wanted:
                self.online[change.bioreactor.id] = wanted
                outcome.statuses.append(change)
        for agent in work.agents:
            self.agents[agent.agent_id] = agent.online
        self.commits += 1
        return outcome

    def _enter(self, batches: Sequence[Incoming], letters: Sequence[DeadLetter]) -> set[StreamBatch]:
        rows: dict[StreamBatch, LedgerEntry] = {}
        for letter in letters:
            if letter.key:
                rows[letter.key] = LedgerEntry(fingerprint(letter.payload), True)
        for batch in batches:
            if batch.key:
                rows[batch.key] = LedgerEntry(batch.digest)
        fresh = {key for key in rows if key.number not in self.ledger[key.stream]}
        for key in fresh:
            self.ledger[key.stream][key.number] = rows[key]
            self.committed_s[key] = self.now_s()
        return fresh

    def _drop_repeated(self, entered: Sequence[Incoming]) -> list[Incoming]:
        origins = judging.origins_of(entered)
        first = [batch for key, batch in origins.items() if key not in self.origins]
        self.origins |= {key: batch.key for key, batch in origins.items() if key not in self.origins}
        return judging.without_repeated(entered, first)

    def _store(self, batch: Incoming) -> None:
        number = batch.key.number if batch.key else 0
        for reading in batch.readings:
            series = batch.tags.series[reading.tag]
            self.readings.append((series, reading))
            known = self.latest.get(series)
            if known is None or (reading.taken_at_ms, number) >= known[:2]:
                self.latest[series] = (reading.taken_at_ms, number, reading)
        if batch.key is None:
            return
        if batch.clock is not None:
            self.clocks[batch.key] = batch.clock
        for gap in batch.gaps:
            key = (batch.key.stream, gap.id)
            began_ms, ended_ms, reason = self.gaps.get(key, (gap.began_at_ms, None, gap.reason))
            ended_ms = gap.ended_at_ms if ended_ms is None else ended_ms
            self.gaps[key] = (min(began_ms, gap.began_at_ms), ended_ms, reason)

    def _keep(self, letter: DeadLetter) -> None:
        key = (letter.topic, letter.digest or fingerprint(letter.payload))
        _, _, times = self.letters.get(key, ("", "", 0))
        self.letters[key] = (letter.kind, letter.reason, times + 1)


class MemoryStorage:
    """One worker's way into the database: a `lms_cloud.telemetry.ingest.committing.Storage`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def commit(self, work: Work) -> Outcome:
        """Write all of the work in one transaction, and commit it.

        Raises:
            psycopg.OperationalError: nothing is known to be committed.
        """
        database = self._database
        await database.answer()
        if database.faults.broken_before:
            database.faults.broken_before -= 1
            raise psycopg.OperationalError(BROKEN)
        outcome = database.apply(work)
        if database.faults.broken_after:
            database.faults.broken_after -= 1
            raise psycopg.OperationalError(BROKEN)
        await database.answer()
        return outcome

    async def close(self) -> None:
        """Nothing is open."""


class MemoryFleet:
    """Whose wire ids and streams are, and what tags hang on: a `FleetLookup` and a `SeriesRegister`.

    Args:
        groups: each agent's organization.
        agents: each agent's bioreactors.
    """

    def __init__(
        self, database: MemoryDatabase, groups: Mapping[str, str], agents: Mapping[str, Sequence[str]]
    ) -> None:
        self._database = database
        self._groups = groups
        self._agents = {node: agent_id(node) for node in agents}
        self._homes = {(node, device): home_id(device) for node in agents for device in agents[node]}
        self._nodes = {id_: node for node, id_ in self._agents.items()}

    async def agent(self, group: str, node: str) -> AgentEntry | None:
        """The agent with those wire ids; None if there is none."""
        await self._database.answer()
        id_ = self._agents.get(node) if group == self._groups.get(node) else None
        return None if id_ is None else AgentEntry(ORGANIZATION, id_, group, node)

    async def bioreactor(self, group: str, node: str, device: str) -> BioreactorEntry | None:
        """The bioreactor with that wire id, unless it is another agent's; None if there is none."""
        await self._database.answer()
        home = self._homes.get((node, device)) if group == self._groups.get(node) else None
        return None if home is None else BioreactorEntry(ORGANIZATION, self._agents[node], home, group, node, device)

    async def online_bioreactors(self, agent_id: UUID) -> list[Bioreactor]:
        """The bioreactors that this agent announced last and that count as online."""
        await self._database.answer()
        database = self._database
        return [database.homes[id_] for id_, (online, agent) in database.online.items() if online and agent == agent_id]

    async def online_agents(self) -> list[tuple[str, str]]:
        """Group and node of every agent that counts as online, or that has a bioreactor that does."""
        await self._database.answer()
        database = self._database
        found = {id_ for id_, online in database.agents.items() if online}
        found |= {agent for online, agent in database.online.values() if online}
        return sorted((self._groups[self._nodes[id_]], self._nodes[id_]) for id_ in found)

    async def stream(self, agent: AgentEntry | BioreactorEntry, stream: UUID) -> tuple[UUID, StreamLedger]:
        """Whose a stream is, and what of it is committed."""
        await self._database.answer()
        database = self._database
        owner = database.owners.setdefault(stream, agent.agent_id)
        above = NumberRanges((number, number) for number in sorted(database.ledger[stream]))
        ledger = StreamLedger(database.acked.get(stream, 0), above)
        database.acked[stream] = ledger.acked
        return owner, ledger

    async def register(self, bioreactor: BioreactorEntry, tags: Sequence[TagDescription]) -> DeviceTags:
        """The series of a birth's tags, made where they are missing."""
        await self._database.answer()
        known = self._database.series
        series = {tag.number: known.setdefault((bioreactor.bioreactor_id, tag.name), len(known) + 1) for tag in tags}
        texts = frozenset(series[tag.number] for tag in tags if tag.datatype is Datatype.STRING)
        return DeviceTags(series, {tag.number: tag.name for tag in tags}, texts)
