"""What is live overtakes backlog; nothing overtakes a birth that says what it means."""

from datetime import UTC, datetime
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from lms_cloud.telemetry.ingest.queueing import (
    MAX_BYTES_QUEUED,
    MAX_LATE_BESIDE_PROMPT,
    MAX_LATE_PER_COMMIT,
    MAX_READINGS_PER_COMMIT,
    MAX_READINGS_QUEUED,
    READINGS_A_BATCH,
    HeardQueue,
)
from lms_cloud.telemetry.ingest.resolving import Heard
from lms_protocol.columns import Columns
from lms_protocol.host_events import DataReceived, NodeBorn, NodeDied
from lms_protocol.reading import Reading

STREAM = UUID("11111111-2222-3333-4444-555555555555")
NOW = datetime(2026, 11, 24, tzinfo=UTC)


def data(node: str, number: int | None, *, late: bool, readings: int = 1) -> Heard:
    columns = Columns.of([Reading(1, 5, 1.0)] * readings)
    stream = None if number is None else STREAM
    return Heard(DataReceived("g", node, "R1", stream, number, b"d", columns, (), late), "t", b"p", NOW)


def birth(node: str) -> Heard:
    return Heard(NodeBorn("g", node, STREAM, 0, 0, 5, (), ()), "t", b"p", NOW)


def death(node: str) -> Heard:
    return Heard(NodeDied("g", node, 5), "t", b"p", NOW)


def queue_of(*heard: Heard) -> HeardQueue:
    queue = HeardQueue()
    assert all(queue.offer(each) for each in heard)
    return queue


def test_live_overtakes_a_backlog_and_does_not_wait_for_its_commit():
    late = [data("a", number, late=True, readings=1_000) for number in range(1, 21)]
    live = data("b", 1, late=False)
    queue = queue_of(*late, live)
    assert queue.take() == [live]
    rest = []
    while queue:
        rest.append(queue.take())
        assert sum(each.readings for each in rest[-1]) <= MAX_LATE_PER_COMMIT
    assert [each for taken in rest for each in taken] == late, "and the backlog keeps its order"


def test_lanes_take_turns_while_both_have_something():
    queue = queue_of(*(data("a", number, late=True, readings=3_000) for number in range(1, 11)))
    lanes = []
    for number in range(1, 7):
        assert queue.offer(data("b", number, late=False))
        lanes += {each.event.historical for each in queue.take()}
    assert lanes == 3 * [False, True]


def test_little_backlog_goes_along_with_what_is_live():
    little = data("a", 1, late=True, readings=MAX_LATE_BESIDE_PROMPT - READINGS_A_BATCH)
    live, more = data("b", 1, late=False), data("a", 2, late=True)
    queue = queue_of(little, live, more)
    assert queue.take() == [live, little]
    assert queue.take() == [more]


def test_commit_of_many_small_batches_is_short_too():
    queue = queue_of(*(data("a", number, late=True) for number in range(1, 2_000)))
    assert len(queue.take()) == MAX_LATE_PER_COMMIT // (1 + READINGS_A_BATCH)


def test_batch_larger_than_any_commit_of_backlog_has_one_of_its_own():
    large, more = (data("a", number, late=True, readings=MAX_LATE_PER_COMMIT + 1) for number in (1, 2))
    queue = queue_of(large, more)
    assert [queue.take(), queue.take()] == [[large], [more]]


def test_backlog_goes_on_however_much_is_live():
    late = data("a", 1, late=True, readings=1_000)
    queue = queue_of(late, *(data("b", n, late=False, readings=1_000) for n in range(1, 200)))
    assert late in queue.take() + queue.take()


def test_late_data_waits_for_a_birth_before_it_that_found_no_room_in_a_commit():
    crowd = [data("b", number, late=False, readings=MAX_READINGS_PER_COMMIT) for number in (1, 2)]
    born, late = birth("a"), data("a", 1, late=True)
    queue = queue_of(*crowd, born, late)
    assert [queue.take(), queue.take(), queue.take()] == [[crowd[0]], [crowd[1]], [born, late]]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["live", "late", "birth", "death", "foreign"]))))
def test_nothing_overtakes_what_says_what_it_means(said):
    queue, offered = HeardQueue(), []
    for number, (node, kind) in enumerate(said, 1):
        heard = {
            "live": lambda node=node, number=number: data(node, number, late=False, readings=700),
            "late": lambda node=node, number=number: data(node, number, late=True, readings=700),
            "birth": lambda node=node: birth(node),
            "death": lambda node=node: death(node),
            "foreign": lambda node=node: data(node, None, late=True, readings=700),
        }[kind]()
        assert queue.offer(heard)
        offered.append((node, kind, heard))
    taken = []
    while queue:
        assert queue.oldest is not None
        taken += queue.take()
    assert queue.oldest is None
    assert (queue.readings, queue._bytes, len(queue._late_of), len(queue._ordered)) == (0, 0, 0, 0)
    assert sorted(map(id, taken)) == sorted(id(heard) for *_, heard in offered)
    place = {id(heard): at for at, heard in enumerate(taken)}
    for at, (node, kind, heard) in enumerate(offered):
        for other, later, behind in offered[at + 1 :]:
            if other == node and {kind, later} not in ({"late", "live"}, {"late", "foreign"}):
                assert place[id(heard)] < place[id(behind)], f"{later} overtook {kind}"


def test_oldest_is_what_has_waited_longest_in_either_lane():
    queue = queue_of(*(data("a", n, late=True, readings=5_000) for n in (1, 2, 3)), data("b", 1, late=False))
    queue.take()
    assert queue.oldest == 1, "the live one, 4, is taken"
    queue.take()
    assert queue.oldest == 2


def test_queue_is_bounded_in_readings_and_bytes_but_has_room_for_births():
    queue = HeardQueue()
    while queue.offer(data("a", 1, late=True, readings=20_000)):
        pass
    assert MAX_READINGS_QUEUED <= queue.readings < MAX_READINGS_QUEUED + 20_000
    assert queue.offer(birth("b"))
    big = Heard(birth("c").event, "t", bytes(MAX_BYTES_QUEUED), NOW)
    assert queue.offer(big)
    assert not queue.offer(birth("d"))
