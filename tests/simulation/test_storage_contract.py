"""One contract for the storage that ingest commits to: PostgreSQL keeps it, and so does the one in the simulation.

What the simulation shows of ingest is worth as much as these two are alike.
"""

import random
from datetime import UTC, datetime
from uuid import UUID

import pytest
from lms_cloud.telemetry.incoming import DeadLetter, Incoming, StatusChange, StreamBatch, Work
from lms_protocol.batches import digest
from lms_protocol.reading import Gap, Origin, Quality, Reading

from simulation.oracle import bits

STREAM = UUID("22222222-2222-4222-8222-222222222222")
ANOTHER = UUID("33333333-3333-4333-8333-333333333333")
YET_ANOTHER = UUID("44444444-4444-4444-8444-444444444444")
NOON_MS = 1_795_435_200_000


def batch_in(storage, number, readings, gaps=(), payload=b"", *, stream=STREAM, origin=None, logged=None):
    """A batch as ingest would have decoded it; `logged`: what it was before its times were corrected."""
    says = digest("R1", number, readings, gaps, origin=origin)
    fingerprint, content = (says, None) if logged is None else (logged, says)
    source = ("agent-1", "spBv1.0/acme/DDATA/agent-1/R1", payload)
    key = StreamBatch(stream, number)
    what = (storage.home, key, fingerprint, readings, gaps, storage.tags, False)
    return Incoming(*what, *source, origin=origin, content=content)


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


@pytest.mark.parametrize("together", [True, False])
async def test_a_batch_logged_anew_twice_is_acknowledged_twice_and_stored_once(storage, together):
    origin = Origin(STREAM, 7)
    gap = Gap(1, (1,), NOON_MS, NOON_MS + 1, "no reply")
    readings = (Reading(1, NOON_MS, 1.0), Reading(2, NOON_MS, 2.0))
    first = batch_in(storage, 3, readings, stream=ANOTHER, origin=origin)
    again = batch_in(storage, 9, readings, (gap,), stream=YET_ANOTHER, origin=origin)
    settled, stored = [], []
    for batches in ([first, again],) if together else ([first], [again], [again, first]):
        outcome = await storage.commit(Work(batches))
        assert outcome.refused == []
        settled += outcome.settled
        stored += outcome.stored
    assert set(settled) == {first.key, again.key}
    assert [(each.key, len(each.readings)) for each in stored] == [(first.key, 2), (again.key, 0)]
    assert len(storage.readings()) == 2
    assert storage.ledger() == [(3, first.digest, False), (9, again.digest, False)]
    assert storage.gaps() == [(1, NOON_MS, NOON_MS + 1, "no reply")]


@pytest.mark.parametrize(
    "other",
    [
        {"readings": (Reading(1, NOON_MS, 1.5),)},
        {"readings": (Reading(1, NOON_MS + 1, 1.0),)},
        {"readings": (Reading(2, NOON_MS, 1.0),)},
        {"origin": Origin(STREAM, 8)},
        {"origin": Origin(ANOTHER, 7)},
        {"origin": None},
    ],
)
async def test_other_readings_or_another_origin_are_stored(storage, other):
    known = {"readings": (Reading(1, NOON_MS, 1.0),), "origin": Origin(STREAM, 7)}
    await storage.commit(Work([batch_in(storage, 1, **known, stream=ANOTHER)]))
    outcome = await storage.commit(Work([batch_in(storage, 1, **(known | other), stream=YET_ANOTHER)]))
    assert [len(each.readings) for each in outcome.stored] == [1]
    assert len(storage.readings()) == 2


LOGGED = b"as it was logged"


async def test_a_batch_that_a_copy_of_its_log_gives_another_time_is_the_same_batch(storage):
    first = batch_in(storage, 1, (Reading(1, NOON_MS, 1.0),), logged=LOGGED)
    again = batch_in(storage, 1, (Reading(1, NOON_MS - 5_000, 1.0, Quality.UNCERTAIN),), logged=LOGGED)
    for batch in (first, again):
        outcome = await storage.commit(Work([batch]))
        assert (outcome.settled, outcome.refused) == ([first.key], [])
    assert storage.readings() == [(storage.tags.series[1], NOON_MS, bits(1.0), 192)]


async def test_a_batch_that_was_stored_before_hosts_knew_what_was_logged_is_known_by_what_it_says(storage):
    readings = (Reading(1, NOON_MS, 1.0),)
    await storage.commit(Work([batch_in(storage, 1, readings)]))
    outcome = await storage.commit(Work([batch_in(storage, 1, readings, logged=LOGGED)]))
    assert (len(outcome.settled), outcome.refused) == (1, [])
    outcome = await storage.commit(Work([batch_in(storage, 1, (Reading(1, NOON_MS + 1, 1.0),), logged=LOGGED)]))
    assert len(outcome.refused) == 1
    assert len(storage.readings()) == 1


async def test_batches_logged_anew_with_other_times_are_one_by_what_was_logged(storage):
    origin = Origin(STREAM, 7, LOGGED)
    for stream, at_ms in ((ANOTHER, NOON_MS), (YET_ANOTHER, NOON_MS - 5_000)):
        outcome = await storage.commit(
            Work([batch_in(storage, 1, (Reading(1, at_ms, 1.0),), stream=stream, origin=origin)])
        )
        assert len(outcome.settled) == 1
    other = Origin(STREAM, 7, b"another in there")
    await storage.commit(Work([batch_in(storage, 2, (Reading(1, NOON_MS, 1.0),), stream=ANOTHER, origin=other)]))
    assert [at_ms for _, at_ms, _, _ in storage.readings()] == [NOON_MS, NOON_MS]


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
