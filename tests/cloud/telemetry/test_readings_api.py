"""REST of the readings: bounded, exact about what was asked wrongly, and silent about what is not yours."""

import psycopg
import pytest
from lms_cloud.telemetry.incoming import Incoming, StreamBatch, Work
from lms_cloud.telemetry.storage.transaction import commit_work
from lms_protocol.reading import Gap, Reading

NOON_MS = 1_795_435_200_000
WINDOW = {"start": "2026-11-23T12:00:00Z", "end": "2026-11-23T13:00:00Z"}


@pytest.fixture
async def ana(new_person, plant, tags, connect, ingest_settings):
    """A member of the plant's organization, where R1 has some readings."""
    person = await new_person(organization=None)
    with psycopg.connect(plant.superuser_url) as connection:
        who = [plant.organization_id, person.user_id]
        connection.execute("insert into memberships values (%s, %s, 'viewer', now())", who)
        connection.execute("update users set organization_id = %s where id = %s", who)
    start_ms = 1_795_435_200_000
    readings = [Reading(1, start_ms + n * 1000, 7 + n / 1000) for n in range(100)]
    readings += [Reading(2, start_ms, float("nan")), Reading(4, start_ms, 2**60)]
    gap = Gap(1, (1, 2), start_ms + 99_000, start_ms + 120_000, "no reply from unit 3")
    key = StreamBatch(plant.agent_id, 1)
    batch = Incoming(plant.r1, key, b"d", readings, (gap,), tags, False, plant.node, "t", b"")
    await commit_work(await connect(), Work([batch]))
    return person


@pytest.fixture
def ask(client, ana, plant):
    async def get(what, bioreactor_id=None, headers=None, **query):
        path = f"/api/v1/bioreactors/{bioreactor_id or plant.r1.id}/{what}"
        return await client.get(path, params=query, headers=headers or ana.bearer)

    return get


async def test_history_latest_and_gaps_tell_of_one_window(ask):
    answer = (await ask("history", tags="pH/PV,Counter,DO/PV", **WINDOW)).json()
    ph, counter, oxygen = answer["series"]
    assert (ph["tag"]["name"], ph["tag"]["unit"], ph["resolution"]) == ("pH/PV", "pH", "raw")
    assert ph["taken_at_ms"] == [NOON_MS + n * 1000 for n in range(100)]
    assert ph["value"] == [7 + n / 1000 for n in range(100)]
    assert counter["value"] == [str(2**60)]
    assert oxygen["value"] == [None]
    assert [gap["reason"] for gap in answer["gaps"]] == ["no reply from unit 3"]
    latest = (await ask("latest")).json()
    assert {each["tag"]["name"]: each["value"] for each in latest["readings"]} == {
        "Counter": str(2**60),
        "DO/PV": None,
        "pH/PV": 7.099,
    }
    gaps = (await ask("gaps", **WINDOW)).json()["gaps"]
    assert [(gap["began_at_ms"], gap["tags"]) for gap in gaps] == [(NOON_MS + 99_000, ["DO/PV", "pH/PV"])]


async def test_many_readings_come_thinned_or_as_the_envelope_that_is_asked_for(ask):
    answer = (await ask("history", tags="pH/PV", max_points=10, **WINDOW)).json()
    assert (answer["resolution"], answer["bucket_s"]) == ("downsampled", None)
    (ph,) = answer["series"]
    assert len(ph["value"]) == len(ph["quality"]) == len(ph["worst"]) <= 10
    assert (min(ph["value"]), max(ph["value"])) == (7.0, 7.099)
    answer = (await ask("history", tags="pH/PV", max_points=10, resolution="1h", **WINDOW)).json()
    assert (answer["resolution"], answer["bucket_s"]) == ("envelope", 3600)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"start": WINDOW["end"], "end": WINDOW["start"]}, "start"),
        ({"start": "2026-11-23T12:00:00", "end": WINDOW["end"]}, "start"),
        ({"start": "yesterday"}, "start"),
        ({"start": "1999-12-31T00:00:00Z"}, "start"),
        ({"start": "2000-01-01T00:00:00Z", "end": "2150-01-01T00:00:00Z"}, "end"),
        ({"start": "9" * 30}, "start"),
        ({"tags": "pH/PV,pH/XX", **WINDOW}, "tags"),
        ({"tags": " ,", **WINDOW}, "tags"),
        ({"max_points": 9, **WINDOW}, "max_points"),
        ({"max_points": "many", **WINDOW}, "max_points"),
        ({"resolution": "2m", **WINDOW}, "resolution"),
        ({"resolution": "raw", "max_points": 50, "tags": "pH/PV", **WINDOW}, "resolution"),
        ({"resolution": "1m", "max_points": 50, **WINDOW}, "resolution"),
        ({"time_zone": "Europe/Atlantis", **WINDOW}, "time_zone"),
        ({"time_zone": "../../etc/passwd", **WINDOW}, "time_zone"),
        ({"time_zone": "", **WINDOW}, "time_zone"),
    ],
)
async def test_what_is_asked_wrongly_is_named(ask, query, field):
    answer = await ask("history", **query)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"][0]["field"] == field


async def test_envelope_says_that_readings_wait_to_be_counted_in(ask, plant):
    with psycopg.connect(plant.superuser_url, autocommit=True) as connection:
        connection.execute("delete from rollup_marks")
        connection.execute(
            "insert into rollup_marks (bioreactor_id, marked_at, from_at, to_at) values"
            " (%s, now() - interval '2 hours', '2026-11-23T12:59Z', '2026-11-23T12:59Z'),"
            " (%s, now() - interval '5 hours', '2026-11-23T12:00Z', '2026-11-23T12:59Z'),"
            " (%s, now() - interval '90 seconds', '2026-11-20T12:00Z', '2026-11-20T12:00Z')",
            [plant.r1.id, plant.r2.id, plant.r1.id],
        )
    wanted = {"tags": "pH/PV", "resolution": "1m"}
    behind = (await ask("history", **wanted, **WINDOW)).json()["rollups_behind_s"]
    assert 7200 <= behind < 9000
    later = {"start": "2026-11-23T12:59:59Z", "end": "2026-11-23T13:30:00Z"}
    assert (await ask("history", **wanted, **later)).json()["rollups_behind_s"] - behind < 60
    later["start"] = "2026-11-23T13:00:00Z"
    assert (await ask("history", **wanted, **later)).json()["rollups_behind_s"] is None
    usual = {"start": "2026-11-20T11:00:00Z", "end": "2026-11-20T13:00:00Z"}
    assert (await ask("history", **wanted, **usual)).json()["rollups_behind_s"] is None
    assert (await ask("history", tags="pH/PV", **WINDOW)).json()["rollups_behind_s"] is None  # raw lacks nothing


async def test_raw_is_every_reading_where_they_fit(ask):
    (ph,) = (await ask("history", tags="pH/PV", max_points=100, resolution="raw", **WINDOW)).json()["series"]
    assert (ph["resolution"], len(ph["value"])) == ("raw", 100)


async def test_days_begin_at_midnight_of_the_zone_asked_for(ask):
    days = {"start": "2026-11-22T00:00:00+01:00", "end": "2026-11-25T00:00:00+01:00", "resolution": "1d"}
    found = (await ask("history", tags="pH/PV", time_zone="Europe/Berlin", **days)).json()
    (ph,) = found["series"]
    # Rollups are not computed here: only what is read from the readings, the present hour and the one before.
    assert (found["bucket_s"], found["start"]) == (86_400, "2026-11-21T23:00:00+00:00")
    assert (ph["taken_at_ms"], ph["minimum"], ph["maximum"]) == ([NOON_MS], [7.0], [7.099])
    assert (ph["first"], ph["last"], ph["value"]) == ([7.0], [7.099], [pytest.approx(7.0495)])


async def test_tags_may_be_named_one_by_one(ask):
    answer = (await ask("history", tags=["pH/PV", "DO/PV"], **WINDOW)).json()
    assert [series["tag"]["name"] for series in answer["series"]] == ["pH/PV", "DO/PV"]


async def test_unknown_tag_is_answered_with_those_that_there_are(ask):
    detail = (await ask("history", tags="pH/XX", **WINDOW)).json()["detail"]
    assert "pH/XX" in detail
    assert "pH/PV" in detail


async def test_what_is_not_yours_is_not_there(ask, new_person):
    eve = await new_person("eve@example.org")
    for what in ("history", "latest", "gaps"):
        assert (await ask(what, headers=eve.bearer)).status_code == 404
        assert (await ask(what, "11111111-1111-4111-8111-111111111111")).status_code == 404
        assert (await ask(what, headers={"Authorization": "Bearer x"})).status_code == 401
