"""`lms-cloud storage`: what operators see, remove and take away, at the command line."""

import asyncio
import csv
import io
import json
import math
import os
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pytest
from lms_cloud.cli import app, operating
from lms_cloud.telemetry.storage import retention
from lms_protocol.reading import Quality, Reading
from structlog.testing import CapturingLogger
from support.rollups import differences, refresh_all
from typer.testing import CliRunner

DAY_MS = 86_400_000
NOON_MS = 1_795_435_200_000
NOON = datetime.fromtimestamp(NOON_MS / 1000, UTC)
VALUES = [1.5, -0.0, math.nan, math.inf, -math.inf, 5e-324, None, 1 / 3]


@pytest.fixture
def run(migrated_database, monkeypatch):
    """Runs `lms-cloud storage …` as the database's owner, in this process: each start of another takes a second."""
    monkeypatch.setattr(operating, "configure_logging", lambda _: None)
    monkeypatch.setattr(retention, "_log", CapturingLogger())
    runner = CliRunner()

    async def run(*arguments, code=0, **settings) -> str:
        environment = dict.fromkeys(name for name in os.environ if name.startswith("LMS_"))
        environment |= {"LMS_DATABASE_URL": migrated_database.url, **settings}
        command = ["storage", *map(str, arguments)]
        answer = await asyncio.to_thread(runner.invoke, app, command, env=environment)
        assert answer.exit_code == code, answer.output
        return answer.output if code else answer.stdout

    return run


@pytest.fixture
async def filled(store):
    """Readings of every kind: numbers, texts, integers beyond 2^53, booleans, and none."""
    numbers = [(value, Quality.BAD if value is None else Quality.GOOD) for value in VALUES]
    readings = [Reading(1, NOON_MS + n, *number) for n, number in enumerate(numbers)]
    readings += [
        Reading(3, NOON_MS + n, text, Quality.UNCERTAIN)
        for n, text in enumerate(['a "quoted", text', "", None, "µ\nline"])
    ]
    readings += [Reading(4, NOON_MS + n, value) for n, value in enumerate([2**63 - 1, -7, 2**53 + 1])]
    readings += [Reading(5, NOON_MS, True), Reading(5, NOON_MS + 1, False, Quality.BAD)]
    await store(readings)
    return readings


def window(*more, start=NOON, end=NOON + timedelta(hours=1)):
    return ("--start", start.isoformat(), "--end", end.isoformat(), *more)


async def test_refresh_computes_what_waits_and_then_finds_nothing(run, filled, query, tags) -> None:
    assert json.loads(await run("stats", "--json"))[0]["marks"] == 1
    assert json.loads(await run("refresh", "--json")) == {"series_minutes": 5}
    assert differences(query, tags, filled) == []
    assert await run("refresh") == "Nothing to refresh: the rollups are up to date.\n"


async def test_stats_say_what_is_stored(run, filled, query) -> None:
    await run("refresh")
    (stats,) = json.loads(await run("stats", "--pieces", "--json"))
    assert (stats["flavour"],) == query("select flavour from storage_state")[0]
    assert (stats["readings"], stats["removed"], stats["marks"]) == (len(filled), 0, 0)
    assert stats["oldest"] == NOON.isoformat().replace("+00:00", "Z")
    assert stats["newest"] == (NOON + timedelta(milliseconds=7)).isoformat().replace("+00:00", "Z")
    assert [each["relation"] for each in stats["relations"]] == [
        *("readings", "readings_text", "rollup_1m", "rollup_1h", "rollup_1d")
    ]
    assert stats["bytes"] == sum(each["bytes"] for each in stats["relations"])
    assert stats["bytes_per_reading"] > 0
    bounds = [(piece["from_at"], piece["to_at"]) for piece in stats["pieces"] if piece["relation"] == "readings"]
    assert any(first <= NOON.isoformat() < last for first, last in bounds)
    text = await run("stats", "--pieces")
    assert f"Readings:  {len(filled)}," in text
    assert "readings_text" in text


async def test_stats_count_columns(run, store, query, timescale) -> None:
    await store([Reading(1, NOON_MS + n, n / 7) for n in range(3_000)])
    query("select compress_chunk(c, recompress => true) from show_chunks('readings') c")
    await run("refresh")
    (stats,) = json.loads(await run("stats", "--json"))
    assert stats["relations"][0]["in_columns"] == 1


async def test_csv_has_every_reading_exactly_with_unit_quality_and_zone(run, filled, plant, tmp_path) -> None:
    path = tmp_path / "readings.csv"
    told = await run("export", "--organization", plant.group, "--output", path, *window())
    assert told.startswith(f"Wrote {len(filled)} readings to {path} (")
    rows = list(csv.DictReader(io.StringIO(path.read_bytes().decode())))
    numbers = [row for row in rows if row["tag"] == "pH/PV"]
    assert [row["value"] for row in numbers] == [
        *("1.5", "-0.0", "NaN", "Infinity", "-Infinity", "5e-324", "", "0.3333333333333333")
    ]
    assert numbers[1] == {
        "taken_at": "2026-11-23T12:00:00.001+00:00",
        "bioreactor": "R1",
        "tag": "pH/PV",
        "unit": "pH",
        "value": "-0.0",
        "quality": "192",
    }
    assert [row["value"] for row in rows if row["tag"] == "Phase"] == ['a "quoted", text', "", "", "µ\nline"]
    assert [row["value"] for row in rows if row["tag"] == "Counter"] == [str(2**63 - 1), "-7", str(2**53 + 1)]
    assert [(row["value"], row["quality"]) for row in rows if row["tag"] == "Pump"] == [("true", "192"), ("false", "0")]
    local = await run(
        "export", "--organization", plant.group, "--output", "-", "--time-zone", "Europe/Berlin", *window()
    )
    assert "2026-11-23T13:00:00.001+01:00,R1,pH/PV,pH,-0.0,192" in local


async def test_parquet_has_the_same_with_types(run, filled, plant, tmp_path) -> None:
    path = tmp_path / "readings.parquet"
    told = json.loads(await run("export", "--organization", plant.group, "--output", path, "--json", *window()))
    assert (told["readings"], told["format"], told["bytes"]) == (len(filled), "parquet", path.stat().st_size)
    table = pq.read_table(path)
    assert str(table.schema.field("taken_at").type) == "timestamp[ms, tz=UTC]"
    assert table.schema.metadata[b"organization"] == plant.group.encode()
    rows = table.to_pylist()
    numbers = [row for row in rows if row["tag"] == "pH/PV"]
    assert [repr(row["value"]) for row in numbers] == [repr(value) for value in VALUES]
    assert numbers[0]["taken_at"] == NOON
    assert {(row["unit"], row["datatype"], row["quality"]) for row in numbers} == {
        ("pH", "double", 192),
        ("pH", "double", 0),
    }
    assert [row["text"] for row in rows if row["tag"] == "Counter"] == [str(2**63 - 1), None, str(2**53 + 1)]


async def test_export_takes_what_is_asked_for_only(run, filled, store, plant, tmp_path) -> None:
    await store([Reading(1, NOON_MS + DAY_MS, 1.0), Reading(1, NOON_MS - 1, 1.0)])
    path = tmp_path / "some.csv"
    one = ("export", "--organization", plant.group, "--output", path, "--force", "--json", "--bioreactor", "R1")
    for more, count in (((), 17), (("--tag", "pH/PV"), 8), (("--tag", "pH/PV", "--tag", "Pump"), 10)):
        assert json.loads(await run(*one, *more, *window()))["readings"] == count
    everything = window(start=NOON - timedelta(days=9), end=NOON + timedelta(days=9))
    assert json.loads(await run(*one, *everything))["readings"] == 19


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--output", "x.csv", "--tag", "none"), 1, "allowed is tags of these bioreactors"),
        (("--output", "x.csv", "--bioreactor", "R9"), 1, "There is no bioreactor 'R9'"),
        (("--output", "x.csv", "--time-zone", "Mars"), 1, "time_zone: found 'Mars'"),
        (("--output", "x.txt"), 2, "It is: csv or parquet."),
        (("--output", "-", "--format", "parquet"), 2, "takes CSV only"),
        (("--output", "/nowhere/x.csv"), 2, "cannot be written (No such file or directory)"),
    ],
)
async def test_export_that_cannot_be_made_is_one_sentence_and_leaves_no_file(
    run, plant, tags, tmp_path, arguments, code, said
) -> None:
    arguments = [str(tmp_path / each) if each.startswith("x.") else each for each in arguments]
    told = await run("export", "--organization", plant.group, *arguments, *window(), code=code)
    assert said in told
    assert "Traceback" not in told
    assert list(tmp_path.iterdir()) == []


async def test_export_replaces_no_file_unless_told_to(run, filled, plant, tmp_path) -> None:
    path = tmp_path / "there.csv"
    path.write_text("mine")
    assert "--force replaces it" in await run(
        "export", "--organization", plant.group, "--output", path, *window(), code=1
    )
    assert path.read_text() == "mine"
    await run("export", "--organization", plant.group, "--output", path, "--force", *window())
    assert path.read_text().startswith("taken_at,")


async def test_retention_at_the_command_line(run, store, plant, query, ingest_db) -> None:
    (old_ms,) = query("select ((extract(epoch from now()) - 100 * 86400) * 1000)::bigint")[0]
    await store([Reading(1, old_ms, 1.0)])
    await refresh_all(ingest_db)
    assert await run("retention", "run") == "Everything is kept for ever: LMS_KEEP_RAW_DAYS is not set.\n"
    at = datetime.fromtimestamp(old_ms / 1000, UTC)
    lock = ("retention", "lock", "--organization", plant.group, "--reason", "under review")
    number = json.loads(await run(*lock, "--json", *window(start=at, end=at + timedelta(hours=1))))["id"]
    keep = {"LMS_KEEP_RAW_DAYS": "30"}
    assert "it touches a locked window (under review)" in await run("retention", "run", code=1, **keep)
    shown = json.loads(await run("retention", "show", "--json", **keep))
    assert [each["reason"] for each in shown["locked"]] == ["under review"]
    assert [each["level"] for each in shown["due"]] == ["readings"]
    assert "There is no locked window '99'" in await run(
        "retention", "unlock", "99", "--organization", plant.group, code=1
    )
    await run("retention", "unlock", number, "--organization", plant.group)
    assert [row["removed"] for row in json.loads(await run("retention", "run", "--json", **keep))] == [True]
    assert query("select count(*) from readings") == [(0,)]
    text = await run("retention", "show", **keep)
    assert "readings   kept for 30 days" in text
    assert "Nothing is due." in text
    assert [each["readings"] for each in json.loads(await run("retention", "show", "--json"))["removed"]] == [1]
    (stats,) = json.loads(await run("stats", "--json"))
    assert (stats["readings"], stats["removed"]) == (0, 1)
