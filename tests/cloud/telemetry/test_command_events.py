"""What became of a command is stored word for word, and stands on no page of values."""

import time

from lms_cloud.web.pages.readings_now import ReadingsNow
from lms_protocol.commands import EVENT_TAG, CommandEvent, Source, State
from lms_protocol.reading import Datatype, Reading, TagDescription


async def test_event_is_stored_word_for_word_and_is_no_value_to_watch(
    agent, ingesting, ingest_settings, plant, query, web_db
):
    agent.session = agent.session.under(
        agent.stream, (*agent.session.tags, TagDescription(7, "R1", EVENT_TAG, Datatype.STRING))
    )
    now_ms = time.time_ns() // 1_000_000
    event = CommandEvent("c-1", State.DONE, now_ms, "ada", "mehr O₂", Source.REMOTE, "pH/PV", 7.1, read_back=7.1)
    async with ingesting(ingest_settings), agent.run():
        agent.append("R1", [Reading(7, now_ms, event.to_text()), Reading(1, now_ms, 7.1)])
        await agent.delivered()
    stored = query("select value from readings_text")
    assert [CommandEvent.from_text(text) for (text,) in stored] == [event]
    async with web_db.unit_of_work(plant.organization_id) as uow:
        now = (await ReadingsNow(uow).tags([plant.r1.id]))[plant.r1.id]
    assert EVENT_TAG not in {tag.name for tag in now}
    assert "pH/PV" in {tag.name for tag in now}
