"""One contract for the storage that ingest commits to: PostgreSQL keeps it, and so does the one in the simulation.

What the simulation shows of ingest is worth as much as these two are alike.
"""

import random
from datetime import UTC, datetime
from uuid import UUID

import pytest
from lms_cloud.telemetry.incoming import DeadLetter, Incoming, StatusChange, StreamBatch, Work
from lms_protocol.batches import digest
from lms_protocol.reading import Gap, Quality, Reading

from simulation.oracle import bits

STREAM = UUID("22222222-2222-4222-8222-222222222222")
NOON_MS = 1_795_435_200_000


def batch_in(storage, number, readings, gaps=(), payload=b""):
    """A batch as ingest would have decoded it."""
    fingerprint = digest("R1", number, readings, gaps)
    topic = "spBv1.0/acme/DDATA/agent-1/R1"
    key = StreamBatch(STREAM, number)
    return Incoming(storage.home, key, fingerprint, readings, gaps, storage.tags, False, "agent-1", topic, payload)


async def test_batches_in_any_order_any_number_of_times_are_stored_once(storage):
    rng = random.Random(11)
    batches = [
        batch_in(storage, n, (Reading(1, NOON_MS + n, n / 3), Reading(2, NOON_MS + n, -0.0))) for n in range(1, 21)
    ]
    shuffled = batches * 3
    rng.shuffle(shuffled)
    settled, stored = set(), []
    while shuffled:
        chunk = [shuffled.pop() for _ in range(min(len(shuffled), rng.randint(1, 7)))]
        outcome = await storage.commit(Work(chunk))
        settled.update(outcome.settled)
        stored += [each.key for each in outcome.stored]
        assert outcome.refused == []
    assert settled == {each.key for each in batches}
    assert sorted(stored) == sorted(settled)
    series = storage.tags.series
    expected = [(series[1], NOON_MS + n, bits(n / 3), 192) for n in range(1, 21)]
    expected += [(series[2], NOON_MS + n, bits(-0.0), 192) for n in range(1, 21)]
    assert storage.readings() == sorted(expected)
    assert storage.ledger() == [(each.key.number, each.digest, False) for each in batches]


async def test_same_number_with_other_content_is_refused_and_kept(storage):
    first = batch_in(storage, 1, (Reading(1, NOON_MS, 1.0),))
    await storage.commit(Work([first]))
    for payload in (b"other", b"other, sent again"):
        other = batch_in(storage, 1, (Reading(1, NOON_MS, 2.0),), payload=payload)
        outcome = await storage.commit(Work([other]))
        assert (outcome.refused, outcome.settled, outcome.stored) == ([other], [], [])
    assert storage.ledger() == [(1, first.digest, False)]
    assert [value for _, _, value, _ in storage.readings()] == [bits(1.0)]
    assert storage.letters() == [("conflict", 2)]


async def test_conflict_within_one_commit_keeps_the_first(storage):
    one = batch_in(storage, 1, (Reading(1, NOON_MS, 1.0),))
    other = batch_in(storage, 1, (Reading(1, NOON_MS, 2.0),), payload=b"x")
    outcome = await storage.commit(Work([one, other, one]))
    assert (outcome.stored, outcome.refused) == ([one], [other])
    assert set(outcome.settled) == {one.key}


async def test_dead_letter_with_a_number_settles_whatever_comes_under_it(storage):
    key = StreamBatch(STREAM, 1)
    home = storage.home
    letter = DeadLetter("poison", "t", b"\xff", "broken", home.organization_id, home, key)
    for _ in range(2):
        assert (await storage.commit(Work((), [letter]))).settled == [key]
    outcome = await storage.commit(Work([batch_in(storage, 1, (Reading(1, NOON_MS, 1.0),))]))
    assert (outcome.settled, outcome.stored, outcome.refused) == ([key], [], [])
    assert storage.readings() == []
    assert storage.letters() == [("poison", 2)]
    assert [dead for _, _, dead in storage.ledger()] == [True]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_gap_opened_and_closed_in_either_order_is_one_closed_gap(storage, order):
    opened = batch_in(storage, 1, (), (Gap(1, (1, 2), NOON_MS, None, "no reply"),))
    closed = batch_in(
        storage, 2, (Reading(1, NOON_MS + 9000, 1.0),), (Gap(1, (1, 2), NOON_MS, NOON_MS + 9000, "no reply"),)
    )
    for index in order:
        await storage.commit(Work([(opened, closed)[index]]))
    assert storage.gaps() == [(1, NOON_MS, NOON_MS + 9000, "no reply")]


async def test_latest_is_the_newest_reading_whatever_the_order(storage):
    batches = [batch_in(storage, n, (Reading(1, NOON_MS + n // 2, float(n)),)) for n in range(1, 10)]
    for index in (3, 8, 0, 7, 1, 2, 6, 4, 5):
        await storage.commit(Work([batches[index]]))
    assert storage.latest() == [(storage.tags.series[1], NOON_MS + 4, bits(9.0))]


async def test_each_commit_that_touches_a_bioreactor_moves_its_cursor_by_one(storage):
    cursors = []
    for number in (1, 2, 2, 3):
        work = Work([batch_in(storage, number, (Reading(1, NOON_MS, 1.0, Quality.UNCERTAIN),))])
        cursors.append((await storage.commit(work)).cursors[storage.home.id])
    assert cursors == [1, 2, 3, 4]


async def test_a_status_is_told_only_when_it_changes(storage):
    since = datetime(2026, 11, 24, tzinfo=UTC)
    told = []
    for online in (True, True, False, False, True):
        change = StatusChange(storage.home, storage.agent_id, online, since)
        told.append([each.online for each in (await storage.commit(Work(statuses=[change]))).statuses])
    assert told == [[True], [], [False], [], [True]]
    assert storage.online() == [(storage.home.id, True)]
