"""The ingest worker looks after the storage by itself: nobody has to type a command for rollups to be right."""

import asyncio

import pytest
from lms_cloud.kernel.errors import SettingsError
from lms_cloud.kernel.settings import load_settings
from lms_cloud.telemetry.storage.retention import KeepingRule
from lms_protocol.reading import Reading
from support.patience import awaiting
from support.rollups import differences

DAY_MS = 86_400_000
URL = {"LMS_DATABASE_URL": "postgresql://u:p@127.0.0.1/d"}


async def rolled_up(query, count: int) -> None:
    """Wait until the rollups of days stand for so many readings."""
    async with awaiting(f"rollups of days stand for {count} readings", 120):
        while query("select coalesce(sum(readings), 0) from rollup_1d") != [(count,)]:
            await asyncio.sleep(0.1)


async def test_what_an_agent_sends_is_in_the_rollups_also_a_week_late(
    agent, ingesting, ingest_settings, query, tags
) -> None:
    (now_ms,) = query("select (extract(epoch from now()) * 1000)::bigint")[0]
    live_ms, late_ms = now_ms - 120_000, now_ms - 7 * DAY_MS
    async with ingesting(ingest_settings), agent.run():
        agent.append("R1", [Reading(1, live_ms + n, n / 3) for n in range(40)])
        agent.append("R1", [Reading(1, late_ms + 1_000 * n, n / 7) for n in range(40)])
        await rolled_up(query, 80)
        agent.append("R1", [Reading(1, late_ms + 1_000 * n + 500, -n / 7) for n in range(40)])
        await rolled_up(query, 120)
    everything = [reading for batch in agent.log.values() for reading in batch.readings]
    assert differences(query, tags, everything) == []


async def test_ingest_removes_what_is_due_and_nothing_else(agent, ingesting, ingest_settings, query) -> None:
    (now_ms,) = query("select (extract(epoch from now()) * 1000)::bigint")[0]
    async with ingesting(ingest_settings), agent.run():
        agent.append("R1", [Reading(1, now_ms - 90 * DAY_MS + n, n / 3) for n in range(40)])
        agent.append("R1", [Reading(1, now_ms - 2 * DAY_MS + n, n / 3) for n in range(30)])
        await rolled_up(query, 70)
    assert query("select count(*) from readings") == [(70,)]
    async with (
        ingesting(ingest_settings.model_copy(update={"keep_raw_days": 30})),
        awaiting("30 readings are left", 120),
    ):
        while query("select count(*) from readings") != [(30,)]:
            await asyncio.sleep(0.1)
    assert query("select sum(readings) from storage_removals") == [(40,)]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"LMS_KEEP_RAW_DAYS": "29"}, "LMS_KEEP_RAW_DAYS cannot be used"),
        ({"LMS_KEEP_1M_DAYS": "90"}, "LMS_KEEP_RAW_DAYS (for ever)"),
        ({"LMS_KEEP_RAW_DAYS": "90", "LMS_KEEP_1M_DAYS": "60"}, "LMS_KEEP_RAW_DAYS (90 days)"),
        ({"LMS_KEEP_RAW_DAYS": "90", "LMS_KEEP_1H_DAYS": "900"}, "LMS_KEEP_1M_DAYS (for ever)"),
    ],
)
def test_rollups_are_not_kept_shorter_than_what_they_are_computed_from(given, said) -> None:
    with pytest.raises(SettingsError) as refusal:
        load_settings({**URL, **given})
    assert said in str(refusal.value)


def test_rule_comes_from_the_settings() -> None:
    given = {"LMS_KEEP_RAW_DAYS": "90", "LMS_KEEP_1M_DAYS": "900"}
    rule = KeepingRule.from_settings(load_settings({**URL, **given}))
    assert rule.by_level() == {"readings": 90, "rollup_1m": 900}
    assert KeepingRule.from_settings(load_settings(URL)).by_level() == {}
