"""What is in work beside a commit under way: resolved ahead where that is safe, told only afterwards, in order."""

import asyncio
from datetime import UTC, datetime
from random import Random
from types import SimpleNamespace
from uuid import UUID

import pytest
from lms_cloud.telemetry.ingest.committing import Committer
from lms_cloud.telemetry.ingest.resolving import Heard, Resolver
from lms_protocol.delivery import digest_of_run
from lms_protocol.edge import Acknowledged, EdgeSession, Refused
from lms_protocol.host import HostSession
from lms_protocol.ranges import NumberRanges
from lms_protocol.reading import Batch, Datatype, Reading, TagDescription
from simulation.database import MemoryDatabase, MemoryFleet, MemoryStorage

NOON_MS = 1_795_435_200_000
NODES = ("pi-1", "pi-2")


class HeldStorage(MemoryStorage):
    """The simulation's storage, whose commits wait while they are held."""

    def __init__(self, database: MemoryDatabase) -> None:
        super().__init__(database)
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.waiting = 0

    async def commit(self, work):
        self.waiting += 1
        await self.go_on.wait()
        self.waiting -= 1
        return await super().commit(work)


class Bench:
    """A committer over the simulation's database, and agents that speak to it."""

    def __init__(self) -> None:
        self.database = MemoryDatabase(Random(1))
        self.database.faults.slow_s = 0.0001
        self.storage = HeldStorage(self.database)
        fleet = MemoryFleet(self.database, dict.fromkeys(NODES, "acme"), {node: [f"R-{node}"] for node in NODES})
        self.held_groups = {"acme"}
        self.leases = SimpleNamespace(epoch=0, sure=True, holds=self.held_groups.__contains__)
        self.told = []
        self.host = HostSession("cloud")
        self.committer = Committer(
            self.storage,
            Resolver(fleet, fleet),
            self.host,
            self.told.append,
            lambda: NOON_MS,
            leases=self.leases,
            want_births=lambda *_: None,
            ahead_readings=1,
        )
        self.edges = {node: self._edge(node, number) for number, node in enumerate(NODES, start=1)}

    def _edge(self, node: str, number: int) -> EdgeSession:
        tags = [
            TagDescription(1, f"R-{node}", "pH/PV"),
            TagDescription(2, f"R-{node}", "Sync/Batch", Datatype.UINT64),
            TagDescription(3, f"R-{node}", "Sync/Gap", Datatype.STRING),
        ]
        edge = EdgeSession(group="acme", node=node, stream=UUID(int=number), bd_seq=None, tags=tags)
        self.wills = {**getattr(self, "wills", {}), node: edge.will(NOON_MS)}
        return edge

    def hear(self, *messages) -> None:
        for message in messages:
            for event in self.host.receive(message.topic, message.payload, 0.0):
                self.committer.offer(Heard(event, message.topic, message.payload, datetime.now(UTC)))

    def born(self, node: str) -> None:
        self.hear(*self.edges[node].births(NOON_MS, {}, 0))

    def data(self, node: str, number: int) -> None:
        self.hear(self.edges[node].data(Batch(number, f"R-{node}", (Reading(1, NOON_MS + number, 1.0),)), NOON_MS))

    def died(self, node: str) -> None:
        self.hear(self.wills[node])

    @property
    def acknowledged(self) -> list[str]:
        return [message.topic for message in self.told if "NCMD" in message.topic]

    def numbers(self, node: str) -> list[int]:
        return sorted(self.database.ledger[self.edges[node].stream])


async def until(condition) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture
async def bench():
    made = Bench()
    running = asyncio.create_task(made.committer.run())
    for node in NODES:
        made.born(node)
    await made.committer.drained()
    made.told.clear()
    yield made
    made.storage.go_on.set()
    made.committer.stop()
    await running


async def test_data_is_resolved_while_another_commit_is_under_way_and_told_after_its_own(bench) -> None:
    bench.storage.go_on.clear()
    bench.data("pi-1", 1)
    await until(lambda: bench.storage.waiting)
    bench.data("pi-2", 1)
    await until(lambda: any(chunk.resolved for chunk in bench.committer._in_work))
    bench.data("pi-1", 2)  # a third chunk: it waits in the queue
    await asyncio.sleep(0.05)
    assert len(bench.committer._in_work) == 2
    assert (bench.told, bench.numbers("pi-1"), bench.numbers("pi-2")) == ([], [], [])
    bench.storage.go_on.set()
    await bench.committer.drained()
    assert (bench.numbers("pi-1"), bench.numbers("pi-2")) == ([1, 2], [1])
    assert [topic.rsplit("/", 1)[1] for topic in bench.acknowledged] == ["pi-1", "pi-2", "pi-1"]


async def test_a_death_heard_during_the_commit_of_the_birth_counts(bench) -> None:
    bench.died("pi-1")
    await bench.committer.drained()
    assert not bench.database.online[next(iter(bench.database.homes))][0]
    bench.storage.go_on.clear()
    bench.born("pi-1")
    await until(lambda: bench.storage.waiting)
    bench.data("pi-2", 1)
    bench.died("pi-1")  # the birth before it is not committed yet: who is online, the database does not know
    await asyncio.sleep(0.05)
    bench.storage.go_on.set()
    await bench.committer.drained()
    homes = {home.device: id_ for id_, home in bench.database.homes.items()}
    assert not bench.database.online[homes["R-pi-1"]][0]
    assert bench.database.online[homes["R-pi-2"]][0]


async def test_what_was_resolved_ahead_is_not_committed_once_its_group_is_another_workers(bench) -> None:
    bench.storage.go_on.clear()
    bench.data("pi-1", 1)
    await until(lambda: bench.storage.waiting)
    bench.data("pi-2", 1)
    await until(lambda: any(chunk.resolved for chunk in bench.committer._in_work))
    bench.held_groups.clear()
    bench.committer.forget(["acme"])
    bench.storage.go_on.set()
    await bench.committer.drained()
    assert (bench.numbers("pi-1"), bench.numbers("pi-2")) == ([1], [])
    assert bench.acknowledged == []  # whoever has the group now acknowledges


async def test_what_was_resolved_ahead_is_resolved_anew_once_other_workers_may_have_committed(bench) -> None:
    bench.storage.go_on.clear()
    bench.data("pi-1", 1)
    await until(lambda: bench.storage.waiting)
    bench.data("pi-2", 2)
    await until(lambda: any(chunk.resolved for chunk in bench.committer._in_work))
    bench.database.ledger[bench.edges["pi-2"].stream][1] = None  # by another worker
    bench.leases.epoch += 1
    bench.storage.go_on.set()
    await bench.committer.drained()
    assert bench.numbers("pi-2") == [1, 2]
    (ledger,) = [bench.committer._resolver.ledgers[bench.edges["pi-2"].stream]]
    assert ledger.acked == 2


async def test_a_commit_that_fails_is_tried_again_before_what_was_resolved_behind_it(bench) -> None:
    bench.storage.go_on.clear()
    bench.data("pi-1", 1)
    await until(lambda: bench.storage.waiting)
    bench.data("pi-2", 1)
    await until(lambda: any(chunk.resolved for chunk in bench.committer._in_work))
    bench.database.faults.broken_before = 1
    bench.database.faults.broken_after = 1
    bench.storage.go_on.set()
    await bench.committer.drained()
    assert (bench.numbers("pi-1"), bench.numbers("pi-2")) == ([1], [1])
    assert len(bench.database.readings) == 2
    assert [topic.rsplit("/", 1)[1] for topic in bench.acknowledged] == ["pi-1", "pi-2"]


async def test_what_cannot_be_told_does_not_keep_the_rest_from_being_told(bench, monkeypatch) -> None:
    acknowledgement, failures = bench.host.acknowledgement, iter([True])
    monkeypatch.setattr(
        bench.host,
        "acknowledgement",
        lambda *args, **more: 1 / 0 if next(failures, False) else acknowledgement(*args, **more),
    )
    bench.data("pi-1", 1)
    bench.data("pi-2", 1)
    await bench.committer.drained()
    assert [topic.rsplit("/", 1)[1] for topic in bench.acknowledged] == ["pi-2"]
    assert (bench.numbers("pi-1"), bench.numbers("pi-2")) == ([1], [1])


async def test_what_is_told_says_which_of_two_batches_of_one_number_it_is_about(bench) -> None:
    edge = bench.edges["pi-1"]
    ours, theirs = (Batch(1, "R-pi-1", (Reading(1, NOON_MS, value),)) for value in (1.0, 2.0))
    bench.storage.go_on.clear()
    bench.data("pi-2", 1)
    await until(lambda: bench.storage.waiting)
    bench.hear(edge.data(ours, NOON_MS))
    bench.hear(edge.data(theirs, NOON_MS))
    bench.storage.go_on.set()
    await bench.committer.drained()
    said = [event for message in bench.told for event in edge.receive(message.topic, message.payload)]
    (acknowledged,) = [event for event in said if isinstance(event, Acknowledged)]
    assert acknowledged.settled == NumberRanges([(1, 1)])
    assert acknowledged.digests == (digest_of_run([edge.digest(ours)]),)
    assert [event for event in said if isinstance(event, Refused)] == [Refused(1, edge.digest(theirs))]


async def test_a_batch_that_cannot_be_kept_is_told_without_a_digest_beside_those_that_can(bench) -> None:
    edge = bench.edges["pi-1"]
    bench.storage.go_on.clear()
    bench.data("pi-2", 1)
    await until(lambda: bench.storage.waiting)
    bench.hear(edge.data(Batch(1, "R-pi-1", (Reading(1, NOON_MS, 1.0),)), NOON_MS))
    bench.hear(edge.data(Batch(2, "R-pi-1", (Reading(1, 253402300800000, 1.0),)), NOON_MS))
    bench.storage.go_on.set()
    await bench.committer.drained()
    said = [event for message in bench.told for event in edge.receive(message.topic, message.payload)]
    assert [(str(event.settled), event.digests is None) for event in said] == [("1", False), ("2", True)]
