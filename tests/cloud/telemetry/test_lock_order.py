"""Two committers that touch the same rows in opposed order wait for each other, and never deadlock.

Leases keep two workers from the same organization, but for the moments of a takeover: the one that stood still may go
on in the middle of a commit. PostgreSQL would end one of two that wait for each other, and ingest try again; but every
such round costs a second, and the one that is ended may be the one with the live readings.
"""

import asyncio
import random
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import psycopg
import pytest
from lms_cloud.fleet.directory import BioreactorEntry, FleetDirectory
from lms_cloud.kernel.database import Database
from lms_cloud.telemetry.incoming import (
    AgentStatusChange,
    DeadLetter,
    Incoming,
    StatusChange,
    StreamBatch,
    Unreplayable,
    Work,
)
from lms_cloud.telemetry.ingest.births import TagRegister
from lms_cloud.telemetry.storage.transaction import commit_work
from lms_protocol.batches import digest
from lms_protocol.reading import Gap, Reading, TagDescription

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
NOON_MS = 1_795_435_200_000
ROUNDS = 150
AGENTS = 4


@pytest.fixture
def agents(plant):
    """Agents with a log each, by the log's identity."""
    made = {UUID(int=stream): UUID(int=(AGENTS - stream) << 64) for stream in range(1, AGENTS + 1)}
    with psycopg.connect(plant.superuser_url) as connection:
        for stream, agent in made.items():
            connection.execute(
                "insert into entities select %s, entity_type, name, description, organization_id,"
                " jsonb_set(properties, '{wire_id}', to_jsonb(cast(%s as text))), created_at, updated_at, is_active,"
                " version from entities where id = %s",
                [agent, str(agent), plant.agent_id],
            )
            connection.execute(
                "insert into streams (id, organization_id, agent_id) values (%s, %s, %s)",
                [stream, plant.organization_id, agent],
            )
    return made


def some_work(rng, plant, tags, agents, asked):
    """What a commit may hold at its worst: something of every agent, of every kind, in any order."""
    works = []
    for stream, agent in agents.items():
        home, number = rng.choice([plant.r1, plant.r2]), rng.randint(1, 40)
        readings = [Reading(tag, NOON_MS + number, float(number)) for tag in rng.sample([1, 2], 2)]
        gaps = [Gap(rng.randint(1, 3), (1,), NOON_MS, None, "no reply")]
        key = StreamBatch(stream, number)
        fingerprint = digest(home.device, number, readings, gaps)  # one number from both: some are conflicts
        batch = Incoming(home, key, fingerprint, readings, gaps, tags, False, plant.node, f"t{number}", b"bytes")
        works.append(
            rng.choice(
                [
                    Work([batch]),
                    Work([batch]),
                    Work(agents=[AgentStatusChange(agent, plant.organization_id, True, NOON, stream, number)]),
                    Work(statuses=[StatusChange(home, agent, rng.random() < 0.5, NOON)]),
                ]
            )
        )
    works += [
        Work(letters=[DeadLetter("poison", f"n{rng.randint(1, 4)}", b"bytes", "absurd", plant.organization_id)])
        for _ in range(2)
    ]
    works += [Work(unreplayable=[Unreplayable(letter, "still absurd")]) for letter in rng.sample(asked, 1)]
    rng.shuffle(works)
    kinds = ("batches", "letters", "statuses", "agents", "unreplayable")
    return Work(**{kind: [item for work in works for item in getattr(work, kind)] for kind in kinds})


@pytest.mark.parametrize("seed", range(2))
async def test_committers_with_the_same_rows_in_opposed_order_never_deadlock(
    connect, plant, tags, agents, query, seed
) -> None:
    one, other = await connect(), await connect()
    first = [DeadLetter("poison", f"n{n}", b"bytes", "absurd", plant.organization_id) for n in range(1, 5)]
    await commit_work(one, Work(letters=first))
    asked = [row[0] for row in query("update dead_letters set state = 'asked' returning public_id")]

    async def commit_all(connection, rng):
        for _ in range(ROUNDS):
            await commit_work(connection, some_work(rng, plant, tags, agents, asked))

    await asyncio.gather(commit_all(one, random.Random(seed)), commit_all(other, random.Random(f"{seed} the other")))
    assert query("select count(*) from ledger") == query(
        "select sum(upper(run) - lower(run)) from streams, unnest(committed) as run"
    )


async def test_batch_of_one_agent_and_birth_of_another_do_not_deadlock_with_the_reverse(
    connect, plant, tags, agents
) -> None:
    """Held in the middle by a third transaction, so that both are surely under way."""
    low, high = sorted(agents)[:2]

    def work(sender, born):
        home, tag = (plant.r1, 1) if sender == low else (plant.r2, 2)
        readings = [Reading(tag, NOON_MS, 1.0)]
        batch = Incoming(
            *(home, StreamBatch(sender, 1), digest(home.device, 1, readings, ()), readings, (), tags, False),
            *(plant.node, "t", b""),
        )
        return Work([batch], agents=[AgentStatusChange(agents[born], plant.organization_id, True, NOON, born, 7)])

    async with await psycopg.AsyncConnection.connect(plant.superuser_url) as holding:
        await holding.execute("lock table agent_status in access exclusive mode")
        both = [asyncio.create_task(commit_work(await connect(), work(*pair))) for pair in ((low, high), (high, low))]
        waiting = (
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        )
        async with await psycopg.AsyncConnection.connect(plant.superuser_url, autocommit=True) as looking:
            while (await (await looking.execute(waiting)).fetchone()) != (2,):
                await asyncio.sleep(0.01)
        await holding.rollback()
    outcomes = await asyncio.gather(*both)
    assert [len(outcome.stored) for outcome in outcomes] == [1, 1]


async def test_two_workers_with_the_same_birth_in_opposed_order_do_not_deadlock(plant, ingest_db) -> None:
    tags = [TagDescription(number, "R1", f"tag {number}") for number in range(1, 60)]
    entry = BioreactorEntry(plant.organization_id, plant.agent_id, plant.r1.id, plant.group, plant.node, "R1")

    async def born_often(rng):
        async with Database(plant.url) as database:
            for round_ in range(10):
                told = [replace(tag, unit=f"u{round_}") for tag in tags]
                rng.shuffle(told)
                await TagRegister(database, FleetDirectory(database)).register(entry, told)

    await asyncio.gather(born_often(random.Random(1)), born_often(random.Random(2)))
