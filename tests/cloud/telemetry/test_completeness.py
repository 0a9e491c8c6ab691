"""Completeness: against scenarios whose every number is known."""

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest
from alembic import command
from hypothesis import given
from hypothesis import strategies as st
from lms_cloud.kernel import migrating
from lms_cloud.kernel.clock import FixedClock
from lms_cloud.kernel.database import Database
from lms_cloud.kernel.ending import end
from lms_cloud.telemetry.completeness.counting import holes
from lms_cloud.telemetry.completeness.service import CompletenessService
from lms_cloud.telemetry.incoming import AgentStatusChange, DeadLetter, Incoming, StreamBatch, Work
from lms_cloud.telemetry.leases.postgres_leases import PostgresLeases
from lms_cloud.telemetry.storage.transaction import commit_work
from lms_protocol.batches import digest
from lms_protocol.reading import Gap, Reading

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
NOON_MS = 1_795_435_200_000
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
STREAM = UUID("33333333-3333-4333-8333-333333333333")


def at(minutes):
    return NOON + timedelta(minutes=minutes)


@pytest.fixture
def streams(plant, query):
    """Enter streams of the plant's agent, as ingest does with the first birth."""

    def enter(*ids):
        with psycopg.connect(plant.superuser_url) as connection:
            for id_ in ids:
                connection.execute(
                    "insert into streams (id, organization_id, agent_id) values (%s, %s, %s)",
                    [id_, plant.organization_id, plant.agent_id],
                )

    return enter


@pytest.fixture
def batch(plant, tags):
    """Batch `number`, taken `minute` minutes after noon, with two readings."""

    def make(number, minute, *, home=None, gaps=(), readings=2, historical=False, stream=STREAM):
        home = home or plant.r1
        taken = [Reading(1, NOON_MS + minute * MINUTE_MS + n, float(n)) for n in range(readings)]
        key = StreamBatch(stream, number)
        fingerprint = digest(home.device, number, taken, gaps)
        return Incoming(home, key, fingerprint, taken, gaps, tags, historical, plant.node, "t", b"")

    return make


@pytest.fixture
def letter(plant):
    def make(number):
        home = plant.r1
        key = StreamBatch(STREAM, number)
        return DeadLetter("poison", f"t{number}", b"bytes", "absurd", home.organization_id, home, key, plant.node)

    return make


@pytest.fixture
def online(plant, connect):
    async def say(yes=True, *, stream=STREAM, head=0, since=None):
        change = AgentStatusChange(
            plant.agent_id, plant.organization_id, yes, since or at(600), stream if yes else None, head
        )
        await commit_work(await connect(), Work(agents=[change]))

    return say


@pytest.fixture
def report(plant):
    """The report of the agent, or of a bioreactor, as a member sees it."""

    async def ask(start=0, end=180, *, of=None, unit=None, now=700):
        clock = FixedClock(at(now))
        async with (
            Database(plant.web_url, clock=clock) as database,
            database.unit_of_work(plant.organization_id) as uow,
        ):
            service = CompletenessService(uow)
            if of is None:
                return await service.of_agent(plant.agent_id, at(start), at(end), unit)
            return await service.of_bioreactor(of.id, at(start), at(end), unit)

    return ask


async def test_lost_late_dead_and_gap_batches_are_counted_each_as_what_it_is(
    streams, batch, letter, online, report, connect, plant
):
    """60 batches, one every three minutes: 12:00 to 14:57; R2 has every tenth."""
    streams(STREAM)
    gap = Gap(5, (1, 2), NOON_MS + 30 * MINUTE_MS, NOON_MS + 75 * MINUTE_MS, "no reply from unit 1")
    other = Gap(6, (3,), NOON_MS + 70 * MINUTE_MS, NOON_MS + 80 * MINUTE_MS, "no reply from unit 2")

    def made(number):
        home = plant.r2 if number % 10 == 0 else plant.r1
        gaps = (gap, other) if number == 28 else ()
        return batch(number, 3 * (number - 1), home=home, gaps=gaps, historical=31 <= number <= 36)

    lost = {7, 8, 19, 20, 21, 45}  # 12:18-12:21, across 13:00, 14:12
    dead = {11, 50}
    numbers = [n for n in range(1, 61) if n not in lost | dead]
    random.Random(4).shuffle(numbers)
    connection = await connect()
    for start in range(0, len(numbers), 7):
        await commit_work(connection, Work([made(n) for n in numbers[start : start + 7]]))
    await commit_work(connection, Work(letters=[letter(n) for n in sorted(dead)]))
    await commit_work(connection, Work([made(n) for n in numbers[:20]]))  # again: counted once
    await online(head=62)

    whole = await report()
    assert whole.verdict == "incomplete"
    assert (whole.batches, whole.readings, whole.late) == (52, 104, 6)
    assert (whole.missing, whole.dead) == (6 + 2, 2)  # 61 and 62 are logged, too
    assert [(span.first, span.last, span.dead) for span in whole.spans] == [
        *[(7, 8, False), (11, 11, True), (19, 21, False), (45, 45, False), (50, 50, True), (61, 62, False)]
    ]
    first = whole.spans[0]
    assert (first.after.replace(microsecond=0), first.before) == (at(15), at(24))
    assert whole.spans[-1].before is None
    assert [state.as_json()["missing"] for state in whole.streams] == [8]
    assert [(each.start, each.batches, each.late, each.missing, each.dead) for each in whole.buckets] == [
        (at(0), 20 - 2 - 2 - 1, 0, 2 + 3, 1),  # 19 to 21 lie across 13:00: they may be of either hour
        (at(60), 20 - 1, 6, 3, 0),
        (at(120), 20 - 2, 0, 1 + 2, 1),
    ]
    assert [each.gap_s for each in whole.buckets] == [30 * 60, 20 * 60, 0]
    assert [(each.began_at, each.tags, each.reason) for each in whole.gaps] == [
        (at(30), 2, "no reply from unit 1"),
        (at(70), 1, "no reply from unit 2"),
    ]

    middle = await report(60, 120)
    assert [(span.first, span.last) for span in middle.spans] == [(19, 21)]
    assert (middle.batches, middle.missing, middle.dead) == (19, 3, 0)

    await commit_work(connection, Work([made(n) for n in sorted(lost)]))
    await commit_work(connection, Work([batch(n, 180 + n) for n in (61, 62)]))
    late = await report()
    assert (late.verdict, late.batches, late.missing, late.dead) == ("incomplete", 58, 0, 2)
    assert (await report(60, 120)).verdict == "complete"


async def test_bioreactor_counts_its_own_and_shares_what_is_missing(streams, batch, online, report, connect, plant):
    streams(STREAM)
    connection = await connect()
    await commit_work(
        connection, Work([batch(n, n, home=plant.r2 if n % 2 else plant.r1) for n in range(1, 31) if n != 9])
    )
    await online()
    with psycopg.connect(plant.superuser_url) as owner:
        owner.execute("update feeds set agent_id = %s", [plant.agent_id])
    one, two = await report(of=plant.r1), await report(of=plant.r2)
    assert (one.batches, two.batches) == (15, 14)
    assert (one.missing, two.missing, one.shared, two.shared) == (1, 1, True, True)


async def test_offline_agent_is_complete_only_as_far_as_is_known(streams, batch, online, report, connect):
    assert ((await report()).verdict, (await report()).known_until) == ("unknown", None)
    streams(STREAM)
    await commit_work(await connect(), Work([batch(n, n) for n in range(1, 31)]))
    await online(since=at(80))
    assert (await report(0, 60)).verdict == "complete"
    await online(False, since=at(90))
    offline = await report()
    assert (offline.verdict, offline.known_until, offline.connected) == ("unknown", at(80), False)
    assert (await report(now=81)).verdict == "unknown"
    assert (await report(0, 60)).verdict == "complete"


async def test_nothing_is_complete_after_the_newest_batch_though_its_agent_counts_as_connected(
    streams, batch, online, report, connect
):
    """Ingest stands still: nobody says that the agent is offline, and what it has logged since is not known."""
    streams(STREAM)
    await online(since=at(-5))
    await commit_work(await connect(), Work([batch(n, n) for n in range(1, 31)]))
    lately = await report(now=31.9)
    assert (lately.verdict, lately.known_until.replace(microsecond=0), lately.connected) == ("complete", at(30), True)
    still = await report(now=60)
    assert (still.verdict, still.known_until) == ("unknown", lately.known_until)
    assert (await report(60, 180, now=60)).verdict == "unknown"
    to_come = await report(60, 180, now=31)
    assert (to_come.verdict, to_come.why) == ("unknown", "the window has not begun")


async def test_report_tells_why_nothing_later_has_come(streams, batch, online, report, connect, plant):
    streams(STREAM)
    await online(since=at(-5))
    await commit_work(await connect(), Work([batch(n, n) for n in range(1, 31)]))
    until = "after 2026-11-23 12:30:00 UTC"
    assert (await report(now=60)).why == (
        f"no ingest worker runs; what {plant.node} has logged {until} is known when one does"
    )
    async with Database(plant.url) as database:
        leases = PostgresLeases(plant.url, database, host_id="a-host", worker="w")
        task = asyncio.create_task(leases.run())
        await leases.settled()
        assert (await report(now=60)).why == (
            f"ingest does not hear the broker; what {plant.node} has logged {until} is known when it does"
        )
        leases.may_lead(True)
        while not leases.leading:
            await asyncio.sleep(0.01)
        assert (await report(now=60)).why == (
            f"{plant.node} is connected, but has sent nothing {until}: it has logged nothing, or cannot send it"
        )
        await end((task,))
    await online(False, since=at(90))
    assert (await report(now=100)).why == (
        f"{plant.node} is offline since 2026-11-23 13:30:00 UTC; what it has logged {until} is known when it is back"
    )
    assert (await report(-60, 0, now=100)).why == ""


@pytest.fixture
def replacement(plant, query):
    """A second Pi for the plant's bioreactors, with a log: gives its agent and stream."""
    agent, stream = uuid4(), uuid4()
    with psycopg.connect(plant.superuser_url) as connection:
        connection.execute(
            "insert into entities select %s, entity_type, 'the new one', description, organization_id,"
            " jsonb_set(properties, '{wire_id}', '\"new-one\"'), created_at, updated_at, is_active, version"
            " from entities where id = %s",
            [agent, plant.agent_id],
        )
        connection.execute(
            "insert into streams (id, organization_id, agent_id) values (%s, %s, %s)",
            [stream, plant.organization_id, agent],
        )
    return agent, stream


def serve(plant, agent):
    """The fleet says who serves R1."""
    with psycopg.connect(plant.superuser_url) as connection:
        connection.execute(
            "update entities set properties = jsonb_set(properties, '{agent_id}', to_jsonb(cast(%s as text)))"
            " where id = %s",
            [str(agent), plant.r1.id],
        )


async def test_replaced_agent_leaves_unknown_only_what_lies_between_it_and_its_successor(
    streams, batch, online, report, connect, plant, replacement
):
    """The old Pi died at 12:30, the new one read from 14:05 on. Until the fleet says so, the old one may come back."""
    agent, stream = replacement
    streams(STREAM)
    connection = await connect()
    await online(since=at(0))
    await commit_work(connection, Work([batch(n, n) for n in range(1, 31)]))
    await online(False, since=at(32))
    await commit_work(connection, Work([batch(n, 124 + n, stream=stream) for n in range(1, 301)]))
    change = AgentStatusChange(agent, plant.organization_id, True, at(125), stream, 0)
    await commit_work(connection, Work(agents=[change]))

    async def told(start, finish):
        found = await report(start, finish, of=plant.r1, now=425)
        return found.verdict, found.known_until and found.known_until.replace(microsecond=0)

    assert await told(180, 420) == ("unknown", at(30))
    unsaid = await report(180, 420, of=plant.r1, now=425)
    assert unsaid.why == (
        f"{plant.node} is offline since 2026-11-23 12:32:00 UTC; what it has logged after 2026-11-23 12:30:00 UTC is"
        " known when it is back; if it was replaced, let the fleet say which agent serves the bioreactor"
    )
    serve(plant, agent)
    assert await told(180, 420) == ("complete", at(420))  # from 15:00 on: all hours after the one of the take-over
    assert await told(0, 420) == ("unknown", at(30))
    assert await told(60, 120) == ("unknown", at(30))
    assert (await report(0, 420, of=plant.r1, now=425)).why == (
        f"{plant.node} was replaced by 2026-11-23 15:00:00 UTC; whatever it logged after 2026-11-23 12:30:00 UTC has"
        " not come"
    )
    assert (await report(180, 420, of=plant.r1, now=425)).connected
    # What it logged and did not deliver stays missing, also where it is known to be logged.
    await commit_work(connection, Work([batch(33, 33)]))
    assert [(span.first, span.last) for span in (await report(0, 60, of=plant.r1, now=425)).spans] == [(31, 32)]
    # The successor falls silent: that counts as ever.
    await online(False, stream=None)
    still = await report(180, 480, of=plant.r1, now=480)
    assert (still.verdict, still.known_until.replace(microsecond=0)) == ("unknown", at(424))


async def test_successor_that_has_sent_nothing_yet_has_taken_nothing_over(
    streams, batch, online, report, connect, plant, replacement
):
    agent, _ = replacement
    streams(STREAM)
    await online(since=at(0))
    await commit_work(await connect(), Work([batch(n, n) for n in range(1, 31)]))
    await online(False, since=at(32))
    serve(plant, agent)
    found = await report(60, 120, of=plant.r1)
    assert (found.verdict, found.known_until.replace(microsecond=0)) == ("unknown", at(30))


async def test_time_of_a_batch_whose_clock_is_ahead_makes_nothing_known(streams, batch, online, report, connect):
    streams(STREAM)
    await online(since=at(-5))
    await commit_work(await connect(), Work([batch(1, 600 * 1440)]))
    assert (await report(0, 500 * 1440, now=400 * 1440)).verdict == "unknown"


async def test_edge_node_that_numbers_nothing_is_never_complete(batch, online, report, connect, plant):
    nodes = await report()
    assert (nodes.verdict, nodes.why) == ("unknown", f"{plant.node} was never heard")
    await online(stream=None, head=None)
    await commit_work(await connect(), Work([replace(batch(n, n), key=None) for n in range(1, 9)]))
    with psycopg.connect(plant.superuser_url) as owner:
        owner.execute("update feeds set agent_id = %s", [plant.agent_id])
    found = await report(of=plant.r1, now=601)
    assert (found.verdict, found.known_until, found.batches) == ("unknown", None, 8)
    assert found.why == f"{plant.node} does not number what it sends, so nobody can tell what of it is missing"
    assert ((await report(of=plant.r2)).verdict, (await report(of=plant.r2)).why) == (
        *("unknown", "no agent has told of it yet"),
    )


async def test_what_a_replaced_log_still_owes_is_told_with_it(streams, batch, online, report, connect):
    old, new = uuid4(), uuid4()
    streams(old, new)
    await commit_work(await connect(), Work([batch(n, n, stream=old) for n in (1, 2, 5)]))
    await commit_work(await connect(), Work([batch(n, 10 + n, stream=new) for n in (1, 2, 3)]))
    await online(stream=new)
    found = await report()
    assert [(span.stream, span.first, span.last) for span in found.spans] == [(old, 3, 4)]
    assert "began a new log" in found.spans[0].why
    assert {each.stream: each.current for each in found.streams} == {old: False, new: True}


async def test_time_between_two_logs_is_unknown_until_the_former_one_has_told_it_or_a_gap_has(
    streams, batch, online, report, connect
):
    """Offline from 12:30 on, it logged until 14:00; then its log was damaged, and it began a new one and came back."""
    old, new = UUID(int=1), UUID(int=2)
    streams(old)
    connection = await connect()
    await online(stream=old, head=0, since=at(-5))
    await commit_work(connection, Work([batch(n, n, stream=old) for n in range(1, 31)]))
    streams(new)
    await online(stream=new, head=0, since=at(121))
    await commit_work(connection, Work([batch(n, 120 + n, stream=new) for n in range(1, 301)]))
    found = await report(0, 180, now=421)
    assert (found.verdict, found.known_until.replace(microsecond=0)) == ("unknown", at(30))
    assert (
        "began a new log: what the one before holds from 2026-11-23 12:30:00 UTC to 2026-11-23 14:01:00 UTC"
        in found.why
    )
    assert (await report(180, 420, now=421)).verdict == "complete"
    await commit_work(connection, Work([batch(n, n, stream=old) for n in range(31, 100)]))
    partly = await report(0, 180, now=421)
    assert (partly.verdict, partly.known_until.replace(microsecond=0)) == ("unknown", at(99))
    one_dead = Gap(8, (2,), NOON_MS + 90 * MINUTE_MS, NOON_MS + 122 * MINUTE_MS, "no reply from unit 3")
    await commit_work(connection, Work([batch(302, 421, stream=new, gaps=[one_dead])]))
    assert (await report(0, 180, now=422)).verdict == "unknown"
    not_running = Gap(9, (1, 2), NOON_MS + 99 * MINUTE_MS, NOON_MS + 121 * MINUTE_MS, "the agent was not running")
    await commit_work(connection, Work([batch(301, 421, stream=new, gaps=[not_running])]))
    assert (await report(0, 180, now=422)).verdict == "complete"


async def test_dead_batch_that_is_stored_after_all_counts_as_stored(
    streams, batch, letter, online, report, connect, query
):
    streams(STREAM)
    connection = await connect()
    await commit_work(connection, Work([batch(1, 1), batch(3, 3)], [letter(2)]))
    await online()
    assert ((await report()).dead, (await report()).batches) == (1, 2)
    query_id = query("select public_id from dead_letters")[0][0]
    async with connection.transaction():
        await connection.execute("update dead_letters set state = 'asked'")
    await commit_work(connection, Work([replace(batch(2, 2), letter=query_id)]))
    found = await report()
    assert (found.verdict, found.batches, found.dead, found.readings) == ("complete", 3, 0, 6)


async def test_hours_and_numbers_are_those_of_the_ledger_whatever_order_they_came_in(streams, batch, connect, query):
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    streams(STREAM)
    connection = await connect()
    numbers = [rng.randint(1, 300) for _ in range(400)]
    while numbers:
        chunk = [numbers.pop() for _ in range(min(len(numbers), rng.randint(1, 30)))]
        await commit_work(connection, Work([batch(n, 7 * n, readings=n % 3) for n in chunk]))
    counted = query("select hour, batches, readings from ledger_hours order by hour")
    assert counted == query(
        "select date_trunc('hour', first_taken_at, 'UTC'), count(*), sum(readings)::bigint from ledger"
        " where first_taken_at is not null group by 1 order by 1"
    )
    same = "(select range_agg(int8range(number, number + 1)) from ledger)"
    assert query(f"select committed = {same} from streams") == [(True,)]


async def test_migration_counts_what_the_ledger_holds_already(
    streams, batch, letter, connect, query, plant, migrated_database
):
    streams(STREAM)
    connection = await connect()
    await commit_work(connection, Work([batch(n, 20 * n) for n in (1, 2, 3, 5, 6, 9)], [letter(7)]))
    counted = "select stream, bioreactor_id, hour, organization_id, batches, readings from ledger_hours order by hour"
    numbers = "select committed::text from streams"
    before = query(counted), query(numbers)
    assert before[1] == [("{[1,4),[5,8),[9,10)}",)]
    with migrating.connect(migrated_database.url, wait_s=10, tell=print) as owner:
        config = migrating._config()
        config.attributes["connection"] = owner
        command.downgrade(config, "0008")
        owner.commit()
    migrating.migrate(migrated_database.url)
    assert (query(counted), query(numbers)) == before
    secured = (
        "select count(*) from pg_class where relforcerowsecurity and relname in ('ledger', 'streams', 'ledger_hours')"
    )
    assert query(secured) == [(3,)]


async def test_two_committers_count_what_they_commit(streams, batch, connect, query):
    streams(STREAM, other := uuid4())
    connections = [await connect(), await connect()]

    async def commit(connection, order):
        for n in order:
            await commit_work(connection, Work([batch(n, n), batch(n, n, stream=other)]))

    await asyncio.gather(commit(connections[0], range(1, 41)), commit(connections[1], range(40, 0, -1)))
    assert query("select committed::text from streams") == [("{[1,41)}",), ("{[1,41)}",)]
    assert query("select sum(batches) from ledger_hours group by stream") == [(40,), (40,)]


@given(st.sets(st.integers(1, 40)), st.integers(0, 45))
def test_holes_are_exactly_the_numbers_that_are_not_there(numbers, head):
    ordered = sorted(numbers)
    firsts = [n for n in ordered if n - 1 not in numbers]
    lasts = [n for n in ordered if n + 1 not in numbers]
    found = [n for first, last in holes(firsts, lasts, head) for n in range(first, last + 1)]
    assert found == sorted(set(range(1, max(head, *ordered, 0) + 1)) - numbers)


async def test_year_is_told_quickly(streams, online, report, query, plant):
    """31 M ledger rows would be there in a year of one batch a second; what is asked for a report is there in full."""
    streams(STREAM)
    with psycopg.connect(plant.superuser_url) as connection:
        connection.execute(
            "insert into ledger_hours select %s, %s, h, %s, 3600, 0, 180000"
            " from generate_series(%s::timestamptz, %s::timestamptz - interval '1 hour', interval '1 hour') h",
            [STREAM, plant.r1.id, plant.organization_id, at(-365 * 1440), at(0)],
        )
        connection.execute("update streams set committed = '{[1,31536001)}'")
    await online()
    began_s = time.monotonic()
    found = await report(-365 * 1440, 0)
    print(f"{time.monotonic() - began_s:.3f} s")
    assert (found.unit, found.batches, found.readings) == ("day", 365 * 24 * 3600, 365 * 24 * 180000)
    plan = json.dumps(
        query(
            "explain (format json) select sum(batches) from ledger_hours where stream = %s"
            " and hour >= %s and hour < %s",
            *(STREAM, at(-365 * 1440), at(0)),
        )[0][0]
    )
    assert '"ledger"' not in plan


def test_command_line_ends_with_1_if_something_is_missing(plant, migrated_database, query):
    with psycopg.connect(plant.superuser_url) as connection:
        connection.execute(
            "insert into streams (id, organization_id, agent_id, committed, head, head_at)"
            " values (%s, %s, %s, '{[1,5)}', 4, now())",
            [STREAM, plant.organization_id, plant.agent_id],
        )
        connection.execute(
            "insert into agent_status (agent_id, organization_id, online, since, stream)"
            " values (%s, %s, true, now(), %s)",
            [plant.agent_id, plant.organization_id, STREAM],
        )

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "lms_cloud.cli", "completeness", *arguments],
            env={**os.environ, "LMS_DATABASE_URL": migrated_database.url},
            capture_output=True,
            text=True,
            check=False,
        )

    assert run("--agent", plant.node).returncode == 0
    with psycopg.connect(plant.superuser_url) as connection:
        connection.execute("update streams set head = 9")
    answer = run("--organization", plant.group, "--json")
    (found,) = json.loads(answer.stdout)
    assert (answer.returncode, found["missing"], found["agent"]) == (1, 5, plant.node)
    assert "batch 5 to 9" in run().stdout
    with psycopg.connect(plant.superuser_url) as connection:
        connection.execute("update streams set head = 4")
        connection.execute("update agent_status set online = false")
    assert run("--from", "2030-01-01", "--to", "2030-02-01T00:00:00Z").returncode == 3
    assert run("--agent", "nobody").returncode == 1


async def test_rest_tells_it_to_its_organization_only(streams, batch, online, connect, plant, new_person, client):
    streams(STREAM)
    await commit_work(await connect(), Work([batch(n, n) for n in (1, 2, 4)]))
    await online()
    ana, ben = await new_person(organization=None), await new_person("ben@example.org", organization="Brewery")
    with psycopg.connect(plant.superuser_url) as connection:
        who = [plant.organization_id, ana.user_id]
        connection.execute("insert into memberships values (%s, %s, 'viewer', now())", who)
        connection.execute("update users set organization_id = %s where id = %s", who)
    window = {"start": at(0).isoformat(), "end": at(60).isoformat()}
    for path in (f"agents/{plant.agent_id}", f"bioreactors/{plant.r1.id}"):
        answer = await client.get(f"/api/v1/{path}/completeness", params=window, headers=ana.bearer)
        found = answer.json()
        assert (found["verdict"], found["batches"], found["missing"], found["unit"]) == ("incomplete", 3, 1, "hour"), (
            path
        )
        assert (await client.get(f"/api/v1/{path}/completeness", headers=ben.bearer)).status_code == 404
    wrong = {"start": at(60).isoformat(), "end": at(0).isoformat()}
    answer = await client.get(f"/api/v1/agents/{plant.agent_id}/completeness", params=wrong, headers=ana.bearer)
    assert answer.status_code == 422


ENDS = ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "9999-12-31T23:59:59.999999Z"]


@pytest.mark.parametrize("instant", ENDS)
async def test_times_at_the_ends_of_calendars_are_refused_with_a_remedy(instant, plant, new_person, client):
    """Calendars end there: an hour before the first instant there is none, nor a day after the last."""
    ana = await new_person(organization=None)
    with psycopg.connect(plant.superuser_url) as connection:
        who = [plant.organization_id, ana.user_id]
        connection.execute("insert into memberships values (%s, %s, 'viewer', now())", who)
        connection.execute("update users set organization_id = %s where id = %s", who)
    paths = [f"agents/{plant.agent_id}/completeness"]
    of_r1 = ("completeness", "history", "history.csv", "history.ndjson", "gaps", "clock")
    paths += [f"bioreactors/{plant.r1.id}/{name}" for name in of_r1]
    for path in paths:
        for window in ({"end": instant}, {"start": instant}, {"start": "2000-01-01T00:00:00Z", "end": instant}):
            answer = await client.get(f"/api/v1/{path}", params=window, headers=ana.bearer)
            assert (answer.status_code, "a time " in answer.text) == (422, True), (path, window, answer.text)


async def test_last_days_of_calendars_can_be_asked_for(plant, new_person, client):
    ana = await new_person(organization=None)
    with psycopg.connect(plant.superuser_url) as connection:
        who = [plant.organization_id, ana.user_id]
        connection.execute("insert into memberships values (%s, %s, 'viewer', now())", who)
        connection.execute("update users set organization_id = %s where id = %s", who)
    window = {"start": "9990-01-01T00:00:00Z", "end": "9999-12-31T00:00:00Z", "resolution": "1d", "max_points": 5000}
    for zone in ("America/New_York", "Pacific/Kiritimati", "UTC"):
        answer = await client.get(
            f"/api/v1/bioreactors/{plant.r1.id}/history", params={**window, "time_zone": zone}, headers=ana.bearer
        )
        assert answer.status_code == 200, answer.text


async def test_agent_tells_its_head_at_birth(agent, ingesting, ingest_settings, query):
    for n in range(3):
        agent.append("R1", [Reading(1, NOON_MS + n, 1.0)])
    async with ingesting(ingest_settings), agent.run():
        await agent.delivered()
        assert query("select head, committed::text from streams") == [(3, "{[1,4)}")]
