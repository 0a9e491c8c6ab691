"""Acknowledged delivery: a lossy, doubling, reordering link between a sending window and a ledger loses nothing."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule
from lms_protocol.delivery import SendingWindow, StreamLedger, digest_of_run
from lms_protocol.errors import DeliveryError
from lms_protocol.ranges import NumberRanges

LIVE_LIMIT, BACKLOG_LIMIT, RESEND_S = 3, 4, 10.0
PACKED_LIMIT, PACKED_BYTES, RECORD_BYTES = 6, 500, 100


def window() -> SendingWindow:
    return SendingWindow(
        live_limit=LIVE_LIMIT,
        backlog_limit=BACKLOG_LIMIT,
        packed_limit=PACKED_LIMIT,
        backlog_bytes=PACKED_BYTES,
        resend_after_s=RESEND_S,
    )


def drain(w: SendingWindow, now_s: float) -> list[tuple[int, bool]]:
    sent = []
    while (sending := w.next(now_s)) is not None:
        sent.append(tuple(sending))
    return sent  # type: ignore[return-value]


class LossyLink(RuleBasedStateMachine):
    """Anything may happen to messages; at any moment, letting the link work drains everything exactly once."""

    acks = Bundle("acks")

    def __init__(self) -> None:
        super().__init__()
        self.window = window()
        self.log_acked = 0  # what the agent's log has on disk
        self.head = 0
        self.now_s = 0.0
        self.wire: list[int] = []
        self.packs: list[list[int]] = []
        self.ledger = StreamLedger()
        self.committed: set[int] = set()
        self.online = False

    @rule()
    def append(self) -> None:
        self.head += 1
        self.window.appended(self.head)

    @rule()
    def connect(self) -> None:
        self.packs.clear()
        self.window.connected(acked=self.log_acked, head=self.head)
        self.online = True

    @rule()
    def disconnect(self) -> None:
        self.window.disconnected()
        self.online = False
        self.packs.clear()

    @rule()
    def agent_restarts(self) -> None:
        self.packs.clear()
        self.window = window()
        self.window.connected(acked=self.log_acked, head=self.head)
        self.online = True

    @rule(seconds=st.sampled_from([0.1, 1.0, 11.0]))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds

    @rule()
    def send(self) -> None:
        sending = self.window.next(self.now_s)
        assert sending is None or self.online
        if sending is not None:
            assert 1 <= sending.number <= self.head
            assert sending.number > self.log_acked
            self.wire.append(sending.number)

    @rule(most=st.integers(1, 3), fitting=st.integers(0, 3))
    def pack(self, most: int, fitting: int) -> None:
        """Some of the backlog is taken; what does not fit is given back, the rest waits to be sent."""
        taken = self.window.take_backlog(most)
        assert not taken or self.online
        self.window.give_back(taken[fitting:])
        self.packs.append(taken[:fitting])

    @precondition(lambda self: self.packs)
    @rule(drop=st.booleans())
    def send_packed(self, drop: bool) -> None:
        if drop:
            self.window.give_back(self.packs.pop())
        elif self.window.has_room_for_packed:
            numbers = self.packs.pop(0)
            self.window.sent_packed(dict.fromkeys(numbers, RECORD_BYTES), self.now_s)
            self.wire.extend(numbers)

    @precondition(lambda self: self.wire)
    @rule(data=st.data(), keep=st.booleans())
    def arrive(self, data: st.DataObject, keep: bool) -> None:
        """Any message on the wire arrives, and may arrive again later."""
        index = data.draw(st.integers(0, len(self.wire) - 1))
        number = self.wire[index] if keep else self.wire.pop(index)
        assert self.ledger.seen(number) == (number in self.committed)
        self.ledger.commit(number)
        self.committed.add(number)

    @precondition(lambda self: self.wire)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        self.wire.pop(data.draw(st.integers(0, len(self.wire) - 1)))

    @rule(target=acks)
    def acknowledge(self) -> tuple[int, NumberRanges]:
        return self.ledger.acknowledgement()

    @rule(ack=acks)
    def acknowledgement_arrives(self, ack: tuple[int, NumberRanges]) -> None:
        before = self.window.acked
        acked = self.window.acknowledged(*ack)
        assert acked >= before
        self.log_acked = max(self.log_acked, acked)

    @rule()
    def ingest_restarts(self) -> None:
        self.ledger = StreamLedger(self.ledger.acked, self.ledger.above)

    @rule(beyond=st.integers(1, 5))
    def acknowledgement_from_the_future(self, beyond: int) -> None:
        before = self.window.acked, self.window.in_flight, self.window.backlog
        with pytest.raises(DeliveryError, match="the log ends at"):
            self.window.acknowledged(self.head + beyond)
        with pytest.raises(DeliveryError, match="the log ends at"):
            self.window.acknowledged(0, NumberRanges([(self.head + beyond, self.head + beyond)]))
        assert before == (self.window.acked, self.window.in_flight, self.window.backlog)

    @invariant()
    def acknowledged_is_committed(self) -> None:
        assert all(number in self.committed for number in range(1, self.log_acked + 1))
        assert self.ledger.acked == next(n for n in range(len(self.committed) + 2) if n + 1 not in self.committed)

    @invariant()
    def memory_is_bounded(self) -> None:
        assert self.window.in_flight <= LIVE_LIMIT + BACKLOG_LIMIT + PACKED_LIMIT + 2  # a pack is sent whole

    def teardown(self) -> None:
        """A link that works at last brings everything over."""
        self.window.connected(acked=self.log_acked, head=self.head)
        for _ in range(self.head + 1):
            for number, _historical in drain(self.window, self.now_s):
                self.ledger.commit(number)
                self.committed.add(number)
            self.window.acknowledged(*self.ledger.acknowledgement())
        assert self.committed == set(range(1, self.head + 1))
        assert self.window.acked == self.head
        assert self.window.unacknowledged == 0


TestLossyLink = LossyLink.TestCase
TestLossyLink.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)


def test_only_what_was_sent_since_the_start_counts_as_acknowledged() -> None:
    w = window()
    w.connected(acked=2, head=6)
    assert w.acknowledged(5) == 2
    sent = [number for number, _ in drain(w, 0.0)]
    assert sent == [3, 4, 5, 6]
    assert w.acknowledged(4, NumberRanges([(6, 6)])) == 4
    assert w.acknowledged(5) == 6
    assert w.unacknowledged == 0


def test_only_what_was_compared_counts_where_the_host_says_what_it_compared() -> None:
    """Sent while the cloud's word about other batches under the same numbers was on its way: that is not theirs."""
    w = window()
    w.connected(acked=0, head=4)
    drain(w, 0.0)
    assert w.acknowledged(4, NumberRanges(), NumberRanges([(1, 2)])) == 2
    assert w.acknowledged(4, NumberRanges(), NumberRanges()) == 2
    assert w.unacknowledged == 2
    with pytest.raises(DeliveryError, match="the log ends at"):
        w.acknowledged(4, NumberRanges(), NumberRanges([(5, 5)]))
    assert w.settle(3) == 3
    assert w.acknowledged(4) == 4, "a host that does not say so is believed"


def test_what_was_sent_on_an_earlier_connection_counts_on_the_next() -> None:
    w = window()
    w.connected(acked=0, head=3)
    drain(w, 0.0)
    w.disconnected()
    w.connected(acked=0, head=3)
    assert w.acknowledged(3) == 3


def test_packed_backlog_goes_behind_what_is_live_and_within_its_bytes() -> None:
    w = window()
    w.connected(acked=0, head=40)
    assert w.next(0.0, packing=True) is None, "the backlog is not sent one by one"
    assert w.take_backlog(3) == [1, 2, 3]
    w.give_back([3])
    w.appended(41)
    assert not w.has_room_for_packed, "the live batch goes first"
    assert w.next(0.0, packing=True) == (41, False)
    w.sent_packed({1: RECORD_BYTES, 2: RECORD_BYTES}, 0.0)
    assert w.take_backlog(3) == [3, 4, 5]
    w.sent_packed(dict.fromkeys((3, 4, 5), RECORD_BYTES), 0.0)
    assert not w.has_room_for_packed
    w.acknowledged(1, NumberRanges())
    assert w.has_room_for_packed
    assert w.acked == 1


def test_packed_batch_without_acknowledgement_is_backlog_again() -> None:
    w = window()
    w.connected(acked=0, head=3)
    w.sent_packed(dict.fromkeys(w.take_backlog(2), RECORD_BYTES), 0.0)
    assert w.next(RESEND_S, packing=True) is None
    assert w.in_flight == 0
    assert w.take_backlog(9) == [3, 1, 2]


def test_what_was_acknowledged_while_it_was_packed_is_not_waited_for() -> None:
    w = window()
    w.connected(acked=0, head=3)
    w.sent_packed(dict.fromkeys(w.take_backlog(3), RECORD_BYTES), 0.0)
    w.next(RESEND_S, packing=True)
    again = w.take_backlog(3)
    w.acknowledged(2)
    w.sent_packed(dict.fromkeys(again, RECORD_BYTES), RESEND_S)
    assert w.in_flight == 1
    w.acknowledged(3)
    assert (w.in_flight, w.backlog, w.acked) == (0, 0, 3)


def test_live_goes_before_backlog_and_is_not_marked_historical() -> None:
    w = window()
    w.connected(acked=0, head=3)
    w.appended(4)
    assert drain(w, 0.0) == [(4, False), (1, True), (2, True), (3, True)]


def test_full_backlog_window_does_not_hold_live_back() -> None:
    w = window()
    w.connected(acked=0, head=1_000)
    assert drain(w, 0.0) == [(n, True) for n in range(1, BACKLOG_LIMIT + 1)]
    w.appended(1_001)
    assert drain(w, 0.0) == [(1_001, False)]


def test_live_without_any_acknowledgement_goes_on_and_falls_back_to_the_backlog() -> None:
    w = window()
    w.connected(acked=0, head=0)
    for number in range(1, 50):
        w.appended(number)
        assert w.next(0.0) == (number, False)
        drain(w, 0.0)
    assert w.in_flight == LIVE_LIMIT + BACKLOG_LIMIT


def test_unacknowledged_batch_is_sent_again_as_historical_after_the_time_out() -> None:
    w = window()
    w.connected(acked=0, head=0)
    w.appended(1)
    assert drain(w, 0.0) == [(1, False)]
    assert w.next_wakeup_s(4.0) == RESEND_S - 4.0
    assert drain(w, RESEND_S - 0.1) == []
    assert drain(w, RESEND_S) == [(1, True)]


def test_selective_acknowledgement_keeps_live_batches_from_being_sent_twice() -> None:
    w = window()
    w.connected(acked=0, head=6)
    w.appended(7)
    drain(w, 0.0)
    w.acknowledged(0, NumberRanges.parse("7"))
    sent = []
    for acked in (4, 6):
        w.acknowledged(acked)
        sent += drain(w, 0.0)
    assert sent == [(5, True), (6, True)]
    assert w.acked == 7


def test_numbers_appended_out_of_order_are_refused() -> None:
    with pytest.raises(DeliveryError, match="last batch was 0"):
        window().appended(2)


def test_ledger_acknowledgement_is_bounded_whatever_is_missing() -> None:
    ledger = StreamLedger()
    for number in range(2, 1_000, 2):
        ledger.commit(number)
    acked, ranges = ledger.acknowledgement()
    assert (acked, len(ranges)) == (0, 32)
    assert ranges.last == 998


def odd_ones_are_never_committed(w: SendingWindow, ledger: StreamLedger, now_s: float) -> None:
    """Every other batch is of a bioreactor that the cloud does not know: neither stored nor acknowledged."""
    settled = [number for number, _ in drain(w, now_s) if number % 2 == 0]
    for number in settled:
        ledger.commit(number)
    for at in range(0, max(1, len(settled)), 32):
        w.acknowledged(*ledger.acknowledgement(settled[at : at + 32]))


def test_batches_that_nobody_takes_do_not_keep_the_rest_of_the_backlog_from_being_sent() -> None:
    w, ledger = SendingWindow(live_limit=64, backlog_limit=128, resend_after_s=RESEND_S), StreamLedger()
    w.connected(acked=0, head=2_000)
    for second in range(400):
        odd_ones_are_never_committed(w, ledger, float(second))
    assert all(ledger.seen(number) for number in range(2, 2_001, 2))
    assert w.unacknowledged == 1_000, "what is committed amid the holes is not sent for ever"


def test_backlog_that_was_passed_over_is_sent_again_once_it_is_taken() -> None:
    w, ledger = SendingWindow(live_limit=64, backlog_limit=128, resend_after_s=RESEND_S), StreamLedger()
    w.connected(acked=0, head=600)
    for second in range(200):
        odd_ones_are_never_committed(w, ledger, float(second))
    for second in range(200, 400):
        for number, _ in drain(w, float(second)):
            ledger.commit(number)
        w.acknowledged(*ledger.acknowledgement())
    assert w.acked == 600


def test_word_about_other_content_under_its_numbers_is_not_taken_for_its_own() -> None:
    w = SendingWindow(resend_after_s=RESEND_S)
    w.connected(acked=0, head=4)
    ours = {number: bytes([number] * 16) for number, _ in drain(w, 0.0)}
    for number, digest in ours.items():
        w.said(number, digest)
    theirs = digest_of_run([ours[1], bytes(16)])
    settled = NumberRanges([(1, 2), (4, 4)])
    assert w.acknowledged(4, None, settled, [theirs, digest_of_run([ours[4]])]) == 0
    assert (w.unacknowledged, w.in_flight) == (3, 3)
    assert [number for number, _ in drain(w, RESEND_S)] == [1, 2, 3], "it is judged by its digest when it comes again"
    assert w.acknowledged(2, None, NumberRanges([(1, 2)]), [digest_of_run([ours[1], ours[2]])]) == 2
    assert w.acknowledged(4, None, NumberRanges([(3, 3)]), None) == 4, "a host that gives no digests"


def test_what_was_sent_is_remembered_for_a_bounded_number_of_batches() -> None:
    w = SendingWindow(live_limit=1, backlog_limit=1, packed_limit=1, resend_after_s=RESEND_S)
    w.connected(acked=0, head=1_000)
    for number in range(1, 1_001):
        w.said(number, bytes(16))
    assert [number for number in range(1, 1_001) if w.has_said(number, bytes(16))] == list(range(995, 1_001))


def test_acknowledgement_names_what_was_just_settled_amid_many_holes() -> None:
    ledger = StreamLedger()
    for number in range(2, 1_000, 2):
        ledger.commit(number)
    acked, ranges = ledger.acknowledgement([500])
    assert 500 in ranges
    assert (acked, len(ranges), ranges.last) == (0, 32, 998)
