"""What is under way fills the link and no more, whatever the link is like, and whatever it becomes."""

import heapq
from collections.abc import Callable

import pytest
from lms_protocol.delivery import SendingWindow
from lms_protocol.pacing import (
    FIRST_BYTES,
    FULL_PIECE_BYTES,
    PROBE_EVERY_S,
    QUEUEING_S,
    Pacing,
)
from lms_protocol.ranges import NumberRanges

RECORD_BYTES = 500
MOST_BYTES = 1 << 20
RESEND_S = 15.0
HEAD = 10_000_000


class Line:
    """A link to a host that takes what comes in order, so many bytes a second, and acknowledges it so much later.

    Attributes:
        waits: when each piece was sent and how long what is sent right behind it would have waited, in seconds.
        acknowledges: whether a batch is one that the host takes.
    """

    def __init__(self, bytes_s: float, delay_s: float, *, live_every_s: float | None = None) -> None:
        self.bytes_s, self.delay_s, self.live_every_s = bytes_s, delay_s, live_every_s
        self.window = SendingWindow(backlog_bytes=MOST_BYTES, packed_limit=1 << 20, resend_after_s=RESEND_S)
        self.window.connected(acked=0, head=HEAD)
        self.now_s = 0.0
        self.free_at_s = 0.0
        self.acknowledges: Callable[[int], bool] = lambda number: True
        self.waits: list[tuple[float, float]] = []
        self._landing: list[tuple[float, list[int]]] = []

    def run(self, seconds: float) -> float:
        """Let time pass; how many bytes a second were acknowledged."""
        end_s, landed = self.now_s + seconds, 0
        while self.now_s < end_s:
            if self.live_every_s is not None and self.now_s >= (self.window.head - HEAD) * self.live_every_s:
                self.window.appended(self.window.head + 1)
            if (live := self.window.next(self.now_s, packing=True)) is not None:
                self._carry([live.number])
            while self.window.has_room_for_packed:
                self._send(self.window.take_backlog(max(1, self.window.piece_bytes // RECORD_BYTES)))
            self.now_s = min(end_s, self.now_s + 1.0, *(at_s for at_s, _ in self._landing[:1]))
            while self._landing and self._landing[0][0] <= self.now_s:
                numbers = [number for number in heapq.heappop(self._landing)[1] if self.acknowledges(number)]
                landed += len(numbers)
                settled = NumberRanges((number, number) for number in numbers)
                self.window.acknowledged(0, None, settled, now_s=self.now_s)
        return landed * RECORD_BYTES / seconds

    def _send(self, numbers: list[int]) -> None:
        self.window.sent_packed(dict.fromkeys(numbers, RECORD_BYTES), self.now_s)
        self._carry(numbers)

    def _carry(self, numbers: list[int]) -> None:
        self.free_at_s = max(self.free_at_s, self.now_s) + len(numbers) * RECORD_BYTES / self.bytes_s
        self.waits.append((self.now_s, self.free_at_s - self.now_s))
        heapq.heappush(self._landing, (self.free_at_s + self.delay_s, numbers))

    def longest_wait_s(self, since_s: float) -> float:
        return max(wait_s for at_s, wait_s in self.waits if at_s >= since_s)


@pytest.mark.parametrize("delay_s", [0.001, 0.05, 0.6])
@pytest.mark.parametrize("bytes_s", [15_000, 300_000])
def test_link_is_used_while_what_is_live_waits_but_a_moment(bytes_s: float, delay_s: float) -> None:
    line = Line(bytes_s, delay_s)
    line.run(15)
    assert line.run(60) >= 0.8 * bytes_s
    assert line.longest_wait_s(since_s=15) <= 4 * (QUEUEING_S + RECORD_BYTES / bytes_s) + delay_s


def test_fast_link_gets_all_that_may_be_under_way_in_full_pieces() -> None:
    line = Line(50e6, 0.02)
    line.run(1)
    assert line.window.piece_bytes == FULL_PIECE_BYTES
    assert line.run(1) >= 0.6 * 50e6


def test_link_that_becomes_slow_is_not_filled_for_long() -> None:
    line = Line(1e6, 0.05)
    line.run(10)
    line.bytes_s = 15_000
    line.run(90)
    changed_s = line.now_s
    assert line.run(60) >= 0.8 * 15_000
    assert line.longest_wait_s(since_s=changed_s) <= 1.0


def test_longer_way_is_known_after_a_while() -> None:
    """Taken for waiting, the way by itself would keep the allowance down for ever."""
    line = Line(100_000, 0.02)
    line.run(10)
    line.delay_s = 1.5
    line.run(5 * PROBE_EVERY_S)
    assert line.run(60) >= 0.7 * 100_000


def test_waiting_does_not_creep_up_in_an_hour_of_backlog() -> None:
    line = Line(5_000, 0.2)
    line.run(3600)
    assert line.longest_wait_s(since_s=1800) <= 1.0


def test_batches_that_nobody_acknowledges_do_not_slow_the_others_down() -> None:
    line = Line(200_000, 0.05)
    line.acknowledges = lambda number: number % 2 == 0
    line.run(10)
    assert line.run(30) >= 0.8 * 100_000


def test_row_of_batches_that_nobody_acknowledges_is_passed() -> None:
    line = Line(200_000, 0.05, live_every_s=1.0)
    line.acknowledges = lambda number: number <= 1_000 or number > 4_000
    line.run(90)
    assert line.run(60) >= 0.8 * 200_000


def test_silence_leaves_little_under_way_and_an_answer_brings_it_back() -> None:
    line = Line(500_000, 0.5)
    line.run(10)
    before = line.window.under_way
    line.acknowledges = lambda number: False
    line.run(2 * RESEND_S)
    assert line.window.under_way <= before / 10
    line.acknowledges = lambda number: True
    line.run(RESEND_S)
    assert line.run(20) >= 0.8 * 500_000


def test_one_batch_may_always_be_under_way_however_large() -> None:
    pacing = Pacing(MOST_BYTES)
    assert pacing.has_room
    pacing.sent(1, 10 * MOST_BYTES, 0.0, is_first=True)
    assert not pacing.has_room


def test_allowance_that_is_not_used_does_not_grow() -> None:
    pacing = Pacing(MOST_BYTES)
    for second in range(10):
        assert pacing.has_room
        pacing.sent(second, 100, float(second), is_first=True)
        pacing.landed([second], second + 0.01)
    assert pacing.allowance == FIRST_BYTES


def test_acknowledgement_of_what_was_sent_twice_is_no_measure_of_the_way() -> None:
    pacing = Pacing(MOST_BYTES)
    pacing.sent(1, 100, 0.0, is_first=True)
    pacing.landed([1], 0.5)
    pacing.sent(2, 100, 1.0, is_first=False)
    pacing.landed([2], 1.001)
    assert pacing.alone_s == 0.5


def test_plain_backlog_is_paced_by_what_it_weighs() -> None:
    window = SendingWindow(backlog_bytes=1_000, backlog_limit=100, resend_after_s=RESEND_S)
    window.connected(acked=0, head=100)
    sent = []
    while (sending := window.next(0.0)) is not None:
        window.weigh(sending.number, 300)
        sent.append(sending.number)
    assert sent == [1, 2, 3, 4]
    window.appended(101)
    assert window.next(0.0) == (101, False), "what is live is not"
    window.acknowledged(2, now_s=0.1)
    assert window.under_way == 600
    assert window.next(0.1) == (5, True)
