"""A tag whose unit changes gets another number, so that each reading keeps the unit in which it was taken."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest
from lms_agent.log.damage.salvage import DamagedFile
from lms_agent.log.reader import LogReader
from lms_agent.log.renewal.predecessor import Predecessor
from lms_agent.log.renewal.predecessors import Entry, State
from lms_agent.log.sqlite_log import SqliteLog
from lms_agent.registering import to_be_born
from lms_protocol.edge import EdgeSession
from lms_protocol.messages import SYNC_TAGS
from lms_protocol.reading import Batch, Reading, TagDescription
from lms_protocol.sparkplug import decode

STREAM = UUID(int=7)
SYNC = [TagDescription(0, "R1", name, kind) for name, kind in SYNC_TAGS.items()]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    with SqliteLog.open(tmp_path / "log.db") as opened:
        yield opened


def told(log: SqliteLog, *units: str) -> int:
    """Register the tag in each unit in turn; its number in the last one."""
    number = 0
    for unit in units:
        number = log.register_tags([TagDescription(0, "R1", "Temp/PV", unit=unit), *SYNC])[0].number
    return number


def names(log: SqliteLog) -> dict[int, tuple[str, str]]:
    return {tag.number: (tag.name, tag.unit) for tag in log.tags() if not tag.name.startswith("Sync/")}


def test_tag_in_another_unit_gets_another_number_and_takes_the_name(log: SqliteLog) -> None:
    celsius, fahrenheit = told(log, "°C"), told(log, "°F")
    assert celsius != fahrenheit
    assert names(log) == {celsius: ("Temp/PV [°C]", "°C"), fahrenheit: ("Temp/PV", "°F")}
    assert {tag.number: tag.name for tag in log.known_tags} == {tag.number: tag.name for tag in log.tags()}


def test_number_comes_back_with_the_unit(log: SqliteLog) -> None:
    celsius, fahrenheit = told(log, "°C"), told(log, "°F")
    assert told(log, "°C") == celsius
    assert names(log) == {celsius: ("Temp/PV", "°C"), fahrenheit: ("Temp/PV [°F]", "°F")}
    assert told(log, "K") not in (celsius, fahrenheit)
    assert told(log, "°F", "°C", "K", "°F") == fahrenheit


def test_unit_told_for_the_first_time_changes_no_number(log: SqliteLog) -> None:
    assert told(log, "") == told(log, "°C")


def test_unit_that_is_taken_away_and_given_back_finds_its_number_again(log: SqliteLog) -> None:
    celsius, none = told(log, "°C"), told(log, "")
    assert celsius != none
    assert told(log, "°C") == celsius
    assert names(log)[none] == ("Temp/PV [no unit]", "")


def test_tag_that_has_the_former_name_for_another_reason_keeps_it(log: SqliteLog) -> None:
    (taken,) = log.register_tags([TagDescription(0, "R1", "Temp/PV [°C]", unit="bar")])
    celsius = told(log, "°C")
    told(log, "°F")
    assert names(log)[taken.number] == ("Temp/PV [°C]", "bar")
    assert names(log)[celsius] == ("Temp/PV [°C] 2", "°C")


def test_numbers_and_names_survive_a_restart_and_are_salvaged(log: SqliteLog, tmp_path: Path) -> None:
    told(log, "°C", "°F")
    before = names(log)
    log.close()
    with DamagedFile(tmp_path / "log.db") as file:
        assert {number: (tag.name, tag.unit) for number, tag in file.basics().tags.items()}.items() >= before.items()
    with SqliteLog.open(tmp_path / "log.db") as again:
        assert names(again) == before


async def test_births_name_the_former_tag_while_its_readings_wait(log: SqliteLog) -> None:
    celsius = told(log, "°C")
    await log.append("R1", [Reading(celsius, 1_000, 37.0)])
    configured = log.register_tags([TagDescription(0, "R1", "Temp/PV", unit="°F"), *SYNC])
    edge = EdgeSession(group="g", node="n", stream=log.stream, bd_seq=None, tags=to_be_born(log, configured))
    edge.will(0)
    _, birth = edge.births(0, {}, 0)
    units = {
        metric.name: metric.properties["engUnit"][1]
        for metric in decode(birth.payload).metrics
        if "engUnit" in metric.properties
    }
    assert units == {"Temp/PV": "°F", "Temp/PV [°C]": "°C"}
    log.acknowledge(log.head)
    assert len(to_be_born(log, configured)) == len(configured)


async def test_log_that_was_set_aside_is_sent_and_logged_anew_in_its_own_units(log: SqliteLog, tmp_path: Path) -> None:
    old_path = tmp_path / "old.db"
    with SqliteLog.open(old_path) as old:
        old_number = told(old, "°C")
        await old.append("R1", [Reading(old_number, 1_000, 37.0)])
    told(log, "K", "°F")  # the present log never had °C
    logged: list[Batch] = []

    async def append_again(batch: Batch, stream: UUID, number: int) -> None:
        logged.append(batch)

    successor = SimpleNamespace(
        append_again=append_again,
        note_progress=lambda path, acked: None,
        register_tags=log.register_tags,
        known_tags=log.known_tags,
    )
    entry = Entry(old_path.name, STREAM, "", State.READY, None, 1, 0, 0, None)
    predecessor = Predecessor(entry, old_path, cast("Any", successor))
    assert {(tag.name, tag.unit) for tag in predecessor.tags() if tag.number == old_number} == {("Temp/PV [°C]", "°C")}
    await predecessor.refused(1)
    predecessor.close()
    ((reading,),) = [batch.readings for batch in logged]
    assert names(log)[reading.tag] == ("Temp/PV [°C]", "°C")
    with LogReader.open(log.path) as reader:
        assert len({(tag.device, tag.name) for tag in reader.tags()}) == len(reader.tags())
