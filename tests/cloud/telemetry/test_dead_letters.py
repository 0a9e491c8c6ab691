"""Dead letters: seen by their organization, stored once when today's decoder can, and a reason where it cannot."""

import asyncio
import json
import os
import re
import sys
from dataclasses import replace
from uuid import uuid4

import psycopg
import pytest
from lms_cloud.fleet.directory import BioreactorEntry, FleetDirectory
from lms_cloud.kernel.database import Database
from lms_cloud.telemetry.columns import NotStorableError, check_storable
from lms_cloud.telemetry.incoming import StreamBatch, Work
from lms_cloud.telemetry.ingest import resolving
from lms_cloud.telemetry.ingest.births import TagRegister
from lms_cloud.telemetry.ingest.replaying import Replaying
from lms_cloud.telemetry.storage.transaction import commit_work
from lms_protocol.reading import Gap, Reading, TagDescription
from psycopg.rows import namedtuple_row
from support.patience import awaiting

NOON_MS = 1_795_435_200_000
FORM = {"Content-Type": "application/x-www-form-urlencoded", "Origin": "https://lms.example.org"}
LETTERS = "/api/v1/dead-letters"


@pytest.fixture
async def ana(new_person, plant):
    """A technician of the plant's organization."""
    person = await new_person(organization=None)
    with psycopg.connect(plant.superuser_url) as connection:
        who = [plant.organization_id, person.user_id]
        connection.execute("insert into memberships values (%s, %s, 'technician', now())", who)
        connection.execute("update users set organization_id = %s where id = %s", who)
    return person


@pytest.fixture
def yesterday(monkeypatch):
    """A decoder of yesterday, which cannot take DO/PV; call what this gives to have today's."""

    def refuse(columns, gaps=()):
        check_storable(columns, gaps)
        if 2 in {reading.tag for reading in columns}:
            raise NotStorableError("yesterday's version could not")

    monkeypatch.setattr(resolving, "check_storable", refuse)
    return lambda: monkeypatch.setattr(resolving, "check_storable", check_storable)


@pytest.fixture
async def worker(agent, ingesting, ingest_settings):
    async with ingesting(ingest_settings) as worker, agent.run():
        yield worker


@pytest.fixture
async def dead(agent, worker, yesterday):
    """An agent's three batches, of which yesterday's version could not store the second."""
    gap = Gap(7, (1,), NOON_MS, NOON_MS + 1, "no reply from unit 1")
    agent.append("R1", [Reading(1, NOON_MS, 7.0)])
    agent.append("R1", [Reading(2, NOON_MS + 1, 41.5), Reading(1, NOON_MS + 1, 7.1)], [gap])
    agent.append("R1", [Reading(1, NOON_MS + 2, 7.2)])
    await agent.delivered()
    yesterday()


async def settled(client, ana, letter):
    async with awaiting("the letter is read again"):
        while (found := (await client.get(f"{LETTERS}/{letter}", headers=ana.bearer)).json())["state"] == "asked":
            await asyncio.sleep(0.05)
    return found


async def read_again(plant):
    """What the one letter of the database says today."""
    with psycopg.connect(plant.superuser_url, row_factory=namedtuple_row) as connection:
        row = connection.execute("select *, %s as home from dead_letters", [plant.group]).fetchone()
    async with Database(plant.url) as database:
        return await Replaying(database, FleetDirectory(database)).read_again(row)


def ledger(query):
    return query("select number, dead, readings from ledger order by number")


async def test_letter_that_todays_decoder_reads_is_stored_once_and_by_whom_is_told(client, ana, dead, query, plant):
    assert ledger(query) == [(1, False, 1), (2, True, 0), (3, False, 1)]
    (letter,) = (await client.get(LETTERS, headers=ana.bearer)).json()["letters"]
    assert (letter["kind"], letter["number"], letter["agent"], letter["device"], letter["state"]) == (
        *("poison", 2, plant.node, "R1", "open"),
    )
    assert (letter["reason"], letter["bioreactor_id"]) == ("yesterday's version could not", str(plant.r1.id))
    asked = await asyncio.gather(
        *(client.post(f"{LETTERS}/{letter['id']}/replay", headers=ana.bearer) for _ in range(3))
    )
    assert {answer.status_code for answer in asked} <= {202, 409}
    assert 202 in {answer.status_code for answer in asked}
    assert (await settled(client, ana, letter["id"]))["state"] == "stored"
    assert ledger(query) == [(1, False, 1), (2, False, 2), (3, False, 1)]
    assert query("select value from readings order by taken_at, value") == [(7.0,), (7.1,), (41.5,), (7.2,)]
    assert query("select gap, reason from gaps") == [(7, "no reply from unit 1")]
    again = await client.post(f"{LETTERS}/{letter['id']}/replay", headers=ana.bearer)
    assert (again.status_code, "is stored already" in again.text) == (409, True)
    assert query("select kind, actor from events where entity_type = 'dead_letter'") == [
        ("replayed", f"user {ana.user_id}")
    ]
    assert query("select count(*) from readings") == [(4,)]


async def test_command_line_stores_it_too(dead, migrated_database, plant, query):
    async def run(*arguments):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "lms_cloud.cli", "dead-letters", *arguments, "--organization", plant.group),
            env={**os.environ, "LMS_DATABASE_URL": migrated_database.url},
            stdout=asyncio.subprocess.PIPE,
        )
        printed, _ = await process.communicate()
        return process.returncode, printed

    code, printed = await run("list", "--json")
    (letter,) = json.loads(printed)
    assert (code, letter["number"]) == (0, 2)
    code, printed = await run("show", letter["id"], "--write-bytes", "-")
    assert [(printed,)] == query("select payload from dead_letters")
    code, printed = await run("replay", letter["id"])
    assert (code, printed) == (0, b"Stored: batch 2 of R1.\n")
    assert ledger(query)[1] == (2, False, 2)
    code, _ = await run("replay", letter["id"])
    assert code == 1


async def test_two_workers_that_read_a_letter_again_store_it_once(dead, connect, query, plant):
    replay = await read_again(plant)
    with psycopg.connect(plant.superuser_url) as connection:
        connection.execute("update dead_letters set state = 'asked'")
    work = Work([replay.incoming])
    connections = [await connect() for _ in range(4)]
    outcomes = await asyncio.gather(*(commit_work(connection, work) for connection in connections))
    assert sum(len(outcome.stored) for outcome in outcomes) <= 1  # the worker of the fixture may have been first
    assert ledger(query) == [(1, False, 1), (2, False, 2), (3, False, 1)]
    assert query("select count(*) from readings") == [(4,)]


async def test_letter_that_cannot_be_read_today_either_stays_and_says_why(client, ana, agent, worker, query):
    agent.append("R1", [Reading(3, NOON_MS, "no\0text")])
    await agent.delivered()
    (letter,) = (await client.get(LETTERS, headers=ana.bearer)).json()["letters"]
    await client.post(f"{LETTERS}/{letter['id']}/replay", headers=ana.bearer)
    found = await settled(client, ana, letter["id"])
    assert (found["state"], "U+0000" in found["refused"]) == ("open", True)
    assert ledger(query) == [(1, True, 0)]
    dismissed = await client.post(
        f"{LETTERS}/{letter['id']}/dismiss", headers=ana.bearer, json={"reason": "a test of the probe"}
    )
    assert dismissed.json()["state"] == "dismissed"
    assert query("select kind, reason from events where entity_type = 'dead_letter' order by sequence") == [
        ("replayed", None),
        ("dismissed", "a test of the probe"),
    ]


async def test_refused_batch_is_an_alarm_on_the_dashboard_until_somebody_has_seen_it(client, ana, agent, worker, plant):
    agent.append("R1", [Reading(1, NOON_MS, 7.0)])
    await agent.delivered()
    agent.log.clear()
    agent.window.__init__(resend_after_s=2.0)
    agent.append("R1", [Reading(1, NOON_MS + 5, 8.0)])
    agent.window.connected(acked=0, head=1)
    async with awaiting("the batch is refused"):
        while not agent.refused:
            await asyncio.sleep(0.02)
    for page in ("/app/", f"/app/bioreactors/{plant.r1.id}"):
        assert "1 batch refused: an old log has come back" in (await ana.client.get(page)).text
    (letter,) = (await client.get(LETTERS, headers=ana.bearer)).json()["letters"]
    assert letter["kind"] == "conflict"
    answer = await client.post(f"{LETTERS}/{letter['id']}/replay", headers=ana.bearer)
    assert (answer.status_code, "another batch is committed under its number" in answer.text) == (409, True)
    await client.post(f"{LETTERS}/{letter['id']}/dismiss", headers=ana.bearer)
    assert "refused" not in (await ana.client.get("/app/")).text


async def test_another_organizations_letters_are_not_there(client, ana, dead, new_person, query):
    ben = await new_person("ben@example.org", organization="Brewery")
    ((letter,),) = query("select public_id from dead_letters")
    assert (await client.get(LETTERS, headers=ben.bearer)).json() == {"letters": []}
    for method, path in (("GET", ""), ("GET", "/bytes"), ("POST", "/replay"), ("POST", "/dismiss")):
        answer = await client.request(method, f"{LETTERS}/{letter}{path}", headers=ben.bearer)
        assert answer.status_code == 404, (method, path)
    assert query("select state from dead_letters") == [("open",)]


async def test_viewer_reads_but_may_not_have_it_stored(client, ana, dead, plant, query):
    with psycopg.connect(plant.superuser_url) as connection:
        connection.execute("update memberships set role = 'viewer'")
    ((letter,),) = query("select public_id from dead_letters")
    assert (await client.get(f"{LETTERS}/{letter}", headers=ana.bearer)).status_code == 200
    for what in ("replay", "dismiss"):
        assert (await client.post(f"{LETTERS}/{letter}/{what}", headers=ana.bearer)).status_code == 403


async def test_page_lists_stores_and_refuses_what_is_forged(ana, dead, query):
    page = (await ana.client.get("/app/dead-letters")).text
    assert "Batch 2 of R1" in page
    assert "Yesterday&#39;s version could not" in page
    ((letter,),) = query("select public_id from dead_letters")
    action = f"/app/dead-letters/{letter}/replay"
    assert (await ana.client.post(action, headers=FORM)).status_code == 403
    assert query("select state from dead_letters") == [("open",)]
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)[1]
    answer = await ana.client.post(action, data={"csrf_token": token}, headers=FORM)
    assert answer.status_code == 303
    async with awaiting("the letter is stored"):
        while query("select state from dead_letters") != [("stored",)]:
            await asyncio.sleep(0.05)
    assert "Nothing waits here" in (await ana.client.get("/app/dead-letters")).text
    assert "stored" in (await ana.client.get("/app/dead-letters?show=done")).text


async def test_ingest_can_bring_a_dead_row_to_life_but_change_no_other(dead, connect, query):
    connection = await connect()
    for number in (1, 3):
        changed = await connection.execute("update ledger set readings = 9 where number = %s", [number])
        assert changed.rowcount == 0
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await connection.execute("update ledger set readings = 9 where number = 2")  # still dead afterwards
    assert ledger(query) == [(1, False, 1), (2, True, 0), (3, False, 1)]


async def test_letter_replayed_under_a_number_that_is_committed_by_now_stays_open(dead, connect, query, plant):
    replay = await read_again(plant)
    stream = replay.incoming.key.stream
    with psycopg.connect(plant.superuser_url) as connection:
        connection.execute("update ledger set dead = false, digest = 'other' where number = 2")
        connection.execute("update dead_letters set state = 'asked'")
    batch = replace(replay.incoming, key=StreamBatch(stream, 2), topic=f"t-{uuid4()}")
    outcome = await commit_work(await connect(), Work([batch]))
    assert (outcome.stored, outcome.refused) == ([], [batch])
    ((state, refused),) = query("select state, refused from dead_letters")
    assert (state, "another batch is committed" in refused) == ("open", True)


async def test_birth_of_an_agent_that_logs_is_not_stored_from_a_letter(dead, query, plant, agent):
    """Its readings are repetitions of what its batches hold: stored from here, they would be there twice."""
    birth = next(each for each in agent.session.births(NOON_MS, {}, 3, 3) if "/DBIRTH/" in each.topic)
    with psycopg.connect(plant.superuser_url) as connection:
        connection.execute("update dead_letters set topic = %s, payload = %s", [birth.topic, birth.payload])
    replay = await read_again(plant)
    assert (replay.incoming, replay.refusal) == (
        *(None, "it is the birth of an agent that logs: its readings come with their batches"),
    )


async def test_letter_without_its_birth_says_that_it_can_never_be_stored(client, ana, dead, plant, query):
    with psycopg.connect(plant.superuser_url) as connection:
        connection.execute("update dead_letters set birth = null")
    (letter,) = (await client.get(LETTERS, headers=ana.bearer)).json()["letters"]
    assert letter["never"] == "what its tag numbers stand for was not kept with it, so it cannot be read"
    answer = await client.post(f"{LETTERS}/{letter['id']}/replay", headers=ana.bearer)
    assert (answer.status_code, letter["never"] in answer.text) == (409, True)
    page = (await ana.client.get("/app/dead-letters")).text
    assert "what its tag numbers stand for was not kept with it" in page
    assert "Store it now" not in page
    assert query("select state from dead_letters") == [("open",)]


async def test_letter_is_stored_in_the_unit_in_which_it_was_read(dead, query, plant):
    """DO/PV was read in %; it is mg/L now, and the tag of before is called otherwise."""
    asked = "select s.id from series s join entities t on t.id = s.tag_id where t.name = %s and s.bioreactor_id = %s"
    ((before,),) = query(asked, "DO/PV", plant.r1.id)
    now = TagDescription(2, "R1", "DO/PV", unit="mg/L")
    async with Database(plant.url) as database:
        entry = BioreactorEntry(plant.organization_id, plant.agent_id, plant.r1.id, plant.group, plant.node, "R1")
        await TagRegister(database, FleetDirectory(database)).register(entry, [now])
    replay = await read_again(plant)
    assert replay.incoming.tags.series[2] == before
    assert replay.incoming.tags.names[2] == "DO/PV [%]"
    ((birth,),) = query("select birth from dead_letters")
    without_units = {**birth, "metrics": [metric[:4] for metric in birth["metrics"]]}  # as a former release kept it
    with psycopg.connect(plant.superuser_url) as connection:
        connection.execute("update dead_letters set birth = %s", [json.dumps(without_units)])
    replay = await read_again(plant)
    assert (replay.incoming, replay.refusal) == (
        *(None, "'DO/PV' has been read in several units, and the letter does not say in which"),
    )
