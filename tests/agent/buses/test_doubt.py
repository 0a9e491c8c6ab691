"""The bookkeeping that keeps a reply that lags behind from being believed."""

import random
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lms_agent.buses.doubt import Doubt
from lms_agent.buses.modbus_frames import ReadRequest, Request, WriteRequest
from lms_agent.buses.owed import FORGOTTEN_S, Owed

requests = st.builds(
    ReadRequest,
    st.just(1),
    st.sampled_from([1, 2, 3, 4]),
    st.integers(0, 60000),
    st.integers(1, 125),
)
writes = st.builds(
    WriteRequest.registers, st.just(1), st.integers(0, 60000), st.just(b"\x12\x34"), single=st.booleans()
)


@given(st.lists(requests | writes, max_size=8), requests | writes)
def test_probe_never_looks_like_the_request_and_changes_nothing(unanswered, request):
    doubt = Doubt()
    for number, one in enumerate(unanswered):
        doubt.asked(one if number % 2 else request, 0.0)
    probe = doubt.probe_for(request)
    assert isinstance(probe, ReadRequest)
    assert probe.shape != request.shape
    assert probe.unit == request.unit
    assert probe.count <= 141


LATENESSES = (*(0 for _ in range(20)), 1, 2, 5, 20)
"""By how many questions a reply is late; those behind it wait for it."""


class LateUnit:
    """Answers in the order in which it was asked, or not at all, each reply as many questions later as it likes."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._waiting: deque[tuple[Request, int]] = deque()
        self.asked = 0

    def ask(self, request: Request) -> list[Request]:
        """To what the replies are that come now, oldest first; the last of them may be to this very request."""
        self.asked += 1
        if self._chance.random() < 0.8:
            self._waiting.append((request, self.asked + self._chance.choice(LATENESSES)))
        come = []
        while self._waiting and self._waiting[0][1] <= self.asked:
            come.append(self._waiting.popleft()[0])
        return come


@pytest.mark.parametrize("seed", range(300))
def test_no_late_reply_is_taken_for_another_however_late_it_is(seed):
    """Only the look of a reply is known to the doubt; the test knows which request each answers."""
    chance = random.Random(seed)
    unit, doubt = LateUnit(chance), Doubt()
    believed = 0

    def ask(request: Request) -> Request | None:
        doubt.asked(request, 0.0)
        replies = unit.ask(request)
        for late in replies[:-1]:
            doubt.answered(late.shape)
        if not replies:
            return None
        doubt.answered(replies[-1].shape)
        return replies[-1] if replies[-1].shape == request.shape else None

    for _ in range(400):
        wanted = ReadRequest(1, 3, chance.randrange(3) * 20, chance.choice([2, 2, 4]))
        if doubt.could_be_answered_by_an_older_reply(wanted):
            ask(doubt.probe_for(wanted))
        if doubt.could_be_answered_by_an_older_reply(wanted):
            continue
        reply = ask(wanted)
        if reply is not None:
            believed += 1
            assert reply is wanted
    assert believed > 0


def test_exception_settles_only_the_oldest_request_that_it_may_answer():
    doubt = Doubt()
    doubt.asked(ReadRequest(1, 3, 0, 10), 0.0)
    doubt.asked(ReadRequest(1, 3, 0, 9), 0.0)
    doubt.refused(3)
    assert not doubt.could_be_answered_by_an_older_reply(ReadRequest(1, 3, 0, 10))
    assert doubt.could_be_answered_by_an_older_reply(ReadRequest(1, 3, 0, 9))
    doubt.asked(ReadRequest(1, 4, 0, 1), 0.0)
    doubt.refused(4)
    assert not doubt


def test_unit_is_sure_again_once_its_late_reply_was_seen():
    doubt = Doubt()
    request = ReadRequest(1, 3, 0, 10)
    doubt.asked(request, 0.0)
    assert doubt.could_be_answered_by_an_older_reply(ReadRequest(1, 3, 40, 10))
    assert not doubt.could_be_answered_by_an_older_reply(ReadRequest(1, 3, 0, 9))
    doubt.answered((3, 20))
    assert not doubt


def test_nothing_may_be_written_while_any_reply_is_owed():
    doubt = Doubt()
    write = WriteRequest.registers(1, 0, b"\0\1")
    assert not doubt.could_be_answered_by_an_older_reply(write)
    doubt.asked(ReadRequest(1, 3, 0, 10), 0.0)
    assert doubt.could_be_answered_by_an_older_reply(write)


def test_unit_that_ignores_probes_is_asked_the_real_question_again_in_the_end():
    doubt = Doubt()
    request = ReadRequest(1, 3, 0, 10)
    now_s = 0.0
    asked_again_s = []
    while now_s < 60.0:
        probe = doubt.probe_for(request) if doubt.could_be_answered_by_an_older_reply(request) else request
        if probe is request:
            asked_again_s.append(now_s)
        doubt.asked(probe, now_s)
        now_s += 1.0
    assert asked_again_s[:2] == [0.0, FORGOTTEN_S + 1.0]
    assert len(asked_again_s) >= 5


def test_memory_of_a_dead_unit_is_bounded():
    owed: Owed[int] = Owed()
    owed.ask("value", 0, 0.0)
    for number in range(10_000):
        owed.ask("probe", number, 0.0)
    assert len(owed.open) < 100
    assert owed.oldest("value") == 0
