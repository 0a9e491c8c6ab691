"""What the agents' clocks were like is written with their readings, once, and answers for a window of time."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import psycopg
import pytest
from lms_cloud.telemetry.incoming import Incoming, StreamBatch, Work
from lms_cloud.telemetry.storage.transaction import commit_work
from lms_protocol.batches import digest
from lms_protocol.reading import ClockRecord, Reading

NOON_MS = 1_795_435_200_000
STREAM, BOOT, LATER_BOOT = uuid4(), uuid4(), uuid4()
HOUR_MS = 3_600_000
WINDOW = {"start": "2026-11-23T12:00:00Z", "end": "2026-11-23T15:00:00Z"}
CLOCKS = {
    1: ClockRecord(BOOT, NOON_MS - 60_000, trusted=False, error_ms=None, correction_ms=12_000, estimated=True),
    3: ClockRecord(LATER_BOOT, NOON_MS, trusted=True, error_ms=0),
    5: ClockRecord(LATER_BOOT, NOON_MS, trusted=False, error_ms=-HOUR_MS),
}


@pytest.fixture
def batch(plant, tags):
    def make(number):
        readings, clock = (Reading(1, NOON_MS + number * HOUR_MS // 2, 7.0),), CLOCKS.get(number)
        fingerprint = digest("R1", number, readings, (), clock)
        key = StreamBatch(STREAM, number)
        return Incoming(plant.r1, key, fingerprint, readings, (), tags, False, plant.node, "t", b"", clock=clock)

    return make


@pytest.fixture
async def committed(connect, batch, plant, query):
    with psycopg.connect(plant.superuser_url) as connection:
        row = (STREAM, plant.organization_id, plant.agent_id)
        connection.execute("insert into streams (id, organization_id, agent_id) values (%s, %s, %s)", row)
    connection = await connect()
    await commit_work(connection, Work([batch(number) for number in range(1, 7)]))
    with psycopg.connect(plant.superuser_url) as superuser:
        superuser.execute("update feeds set agent_id = %s", (plant.agent_id,))
    return connection


async def member(new_person, plant):
    person = await new_person(organization=None)
    with psycopg.connect(plant.superuser_url) as connection:
        who = [plant.organization_id, person.user_id]
        connection.execute("insert into memberships values (%s, %s, 'viewer', now())", who)
        connection.execute("update users set organization_id = %s where id = %s", who)
    return person


async def test_record_is_written_once_however_often_its_batch_comes(committed, batch, query):
    for _ in range(2):
        await commit_work(committed, Work([batch(number) for number in (1, 3, 5)]))
    rows = query(
        "select from_number, boot, offset_ms, trusted, error_ms, correction_ms, estimated from clocks order by 1"
    )
    assert rows == [(number, *clock) for number, clock in CLOCKS.items()]


async def test_batch_that_is_refused_leaves_no_record(committed, batch, query):
    other = batch(2)
    forged = Incoming(
        *(other.bioreactor, other.key, b"x" * 16, other.readings, (), other.tags, False, other.node, "t", b""),
        clock=CLOCKS[3],
    )
    outcome = await commit_work(committed, Work([forged]))
    assert outcome.refused == [forged]
    assert query("select count(*) from clocks") == [(3,)]


async def test_window_is_answered_with_boot_offset_trust_error_and_corrections(committed, client, new_person, plant):
    ana = await member(new_person, plant)
    answer = await client.get(f"/api/v1/bioreactors/{plant.r1.id}/clock", params=WINDOW, headers=ana.bearer)
    assert answer.status_code == 200, answer.text
    clocks = answer.json()["clocks"]
    known = [ClockRecord(UUID(c["boot"]), *(c[f] for f in ClockRecord._fields[1:])) for c in clocks]
    assert known == list(CLOCKS.values())
    assert [c["from_number"] for c in clocks] == [1, 3, 5]
    first, second, third = clocks
    assert datetime.fromisoformat(first["from_at"]) == datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
    assert first["to_at"] == second["from_at"]
    assert datetime.fromisoformat(third["to_at"]) == datetime(2026, 11, 23, 15, 0, tzinfo=UTC)
    assert [c["remark"] for c in clocks] == [
        "times are estimated: the power went before they were known",
        "",
        "times are 3600.0 s ahead of the true time",
    ]


async def test_window_gets_only_what_holds_in_it(committed, client, new_person, plant):
    ana = await member(new_person, plant)
    window = {"start": "2026-11-23T13:40:00Z", "end": "2026-11-23T14:20:00Z"}
    answer = await client.get(f"/api/v1/bioreactors/{plant.r1.id}/clock", params=window, headers=ana.bearer)
    assert [c["from_number"] for c in answer.json()["clocks"]] == [3]


async def test_other_organization_sees_no_clock(committed, client, new_person, plant):
    stranger = await new_person()
    answer = await client.get(f"/api/v1/bioreactors/{plant.r1.id}/clock", params=WINDOW, headers=stranger.bearer)
    assert answer.status_code == 404


async def test_row_security_hides_clocks_of_other_organizations(committed, new_person, app, plant):
    stranger = await new_person()
    with psycopg.connect(plant.web_url) as connection:
        for organization, count in ((stranger.organization_id, 0), (plant.organization_id, 3)):
            connection.execute("select set_config('lms.organization_id', %s, true)", (str(organization),))
            assert connection.execute("select count(*) from clocks").fetchone() == (count,)


async def test_bioreactor_page_says_what_is_wrong_with_the_clock(committed, new_person, plant):
    ana = await member(new_person, plant)
    page = await ana.client.get(f"/app/bioreactors/{plant.r1.id}")
    assert page.status_code == 200, page.text
    assert "ahead of the true time" in page.text


async def test_clock_of_an_agent_reaches_the_database_over_the_broker(agent, ingesting, ingest_settings, query):
    async with ingesting(ingest_settings), agent.run():
        agent.append("R1", [Reading(1, NOON_MS, 1.0)], clock=CLOCKS[1])
        agent.append("R1", [Reading(1, NOON_MS + 1, 1.0)])
        await agent.delivered()
    (row,) = query("select stream, from_number, boot, offset_ms, estimated from clocks")
    assert row == (agent.stream, 1, BOOT, NOON_MS - 60_000, True)
