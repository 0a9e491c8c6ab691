"""Whatever happens in whatever order, no command is carried out twice, late, past a lock or beyond its limits."""

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, precondition, rule
from lms_protocol.command_book import ENDED, KEEP_MS, MOST_KNOWN, CommandBook, End, Record
from lms_protocol.commands import Facts, Limits, Lock, Rules, SetPoint, Source, State

T = 1_700_000_000_000
LIMITS = Limits(low=0.0, high=100.0, largest_step=30.0, interval_ms=2_000)
RULES = Rules()
OVER = (State.DONE, State.REFUSED, State.NOT_CONFIRMED)


def command(id_="c-1", value=50.0, source=Source.REMOTE, issued_at_ms=T, lifetime_ms=30_000):
    return SetPoint(id_, "R1", "Stirrer/SP", value, "ada", "ramp", source, issued_at_ms, issued_at_ms + lifetime_ms)


class LifeOfCommands(RuleBasedStateMachine):
    """An agent around the book: it keeps records before it acts, sends what goes, dies and comes back."""

    begun = Bundle("begun")
    sent = Bundle("sent")

    def __init__(self):
        super().__init__()
        self.kept: dict[str, Record] = {}
        self.book = CommandBook(RULES)
        self.now_ms, self.trusted, self.lock, self.present = T, True, None, 50.0
        self.wire: list[tuple[SetPoint, Facts]] = []
        self.told: dict[str, list[State]] = {}
        self.count = 0

    @property
    def facts(self):
        return Facts(self.now_ms, self.trusted, self.lock, self.present)

    def is_open(self, id_):
        """Whether it waits still: the agent may have ended since, and may even have forgotten it."""
        record = self.book.get(id_)
        return record is not None and not record.is_final

    def keep(self, record):
        self.kept[record.command.id] = record
        if record.is_final:
            self.told.setdefault(record.command.id, []).append(record.state)
        return record

    @rule(
        target=begun,
        value=st.sampled_from([-1.0, 0.0, 40.0, 60.0, 75.0, 100.0, 101.0, float("nan")]),
        source=st.sampled_from(Source),
        age_ms=st.integers(-20_000, 60_000),
        lifetime_ms=st.sampled_from([0, 1_000, 30_000, 10**7]),
    )
    def take(self, value, source, age_ms, lifetime_ms):
        self.count += 1
        new = command(f"c-{self.count}", value, source, self.now_ms - age_ms, lifetime_ms)
        record = self.keep(self.book.take(new, LIMITS, self.facts))
        return multiple() if record.is_final else record.command.id

    @precondition(lambda self: self.kept)
    @rule(data=st.data())
    def take_again(self, data):
        id_ = data.draw(st.sampled_from(sorted(self.kept)))
        known = self.book.get(id_)
        assert (known.command, known.state) == (self.kept[id_].command, self.kept[id_].state)
        with pytest.raises(ValueError, match="is known"):
            self.book.take(replace(known.command, value=1.0), LIMITS, self.facts)

    @rule(target=sent, id_=consumes(begun))
    def go(self, id_):
        if not self.is_open(id_):
            return multiple()
        record = self.book.go(id_, LIMITS, self.facts)
        if record.is_final:
            self.keep(record)
            return multiple()
        self.wire.append((record.command, self.facts))
        return id_

    @rule(id_=consumes(sent), end=st.sampled_from(OVER))
    def end(self, id_, end):
        if not self.is_open(id_):
            return
        record = self.keep(self.book.end(id_, End(end), self.now_ms))
        if end is State.DONE:
            self.present = record.command.value

    @rule(id_=consumes(begun))
    def give_up(self, id_):
        if self.is_open(id_):
            with pytest.raises(ValueError, match="was not sent"):
                self.book.end(id_, End(State.DONE), self.now_ms)
            self.keep(self.book.end(id_, End(State.REFUSED, "the port is gone"), self.now_ms))

    @rule()
    def restart(self):
        self.book = CommandBook(RULES, self.kept.values())
        for record in self.book.recover(self.now_ms):
            assert (record.state, record.why) == (State.NOT_CONFIRMED, ENDED)
            self.keep(record)

    @rule(ms=st.sampled_from([1, 500, 2_000, 31_000, KEEP_MS + 10**7]))
    def time_passes(self, ms):
        self.now_ms += ms

    @rule(ms=st.integers(1, 60_000))
    def clock_is_put_back(self, ms):
        self.now_ms -= ms

    @rule()
    def forget(self):
        if self.trusted:
            for id_ in self.book.forget(self.now_ms):
                assert self.now_ms > self.kept.pop(id_).command.valid_until_ms + KEEP_MS

    @rule(trusted=st.booleans(), locked=st.booleans())
    def things_change(self, trusted, locked):
        self.trusted, self.lock = trusted, Lock("bob", "cleaning", self.now_ms) if locked else None

    @invariant()
    def nothing_is_sent_twice_late_or_beyond_limits(self):
        ids = [sent.id for sent, _ in self.wire]
        assert len(ids) == len(set(ids))
        for sent, facts in self.wire:
            assert facts.now_ms <= sent.valid_until_ms
            assert 0.0 <= sent.value <= 100.0
            assert abs(sent.value - facts.present) <= 30.0
            if sent.source is Source.REMOTE:
                assert facts.lock is None
                assert facts.clock_trusted
                assert sent.valid_until_ms - sent.issued_at_ms <= RULES.longest_lifetime_ms

    @invariant()
    def each_end_is_told_once_and_what_was_refused_unsent_was_not_sent(self):
        assert all(len(states) == 1 for states in self.told.values())
        sent = {each.id for each, _ in self.wire}
        for id_, (state,) in self.told.items():
            if state is State.EXPIRED:
                assert id_ not in sent
            if state is State.DONE:
                assert id_ in sent

    def teardown(self):
        self.restart()
        assert set(self.told) == {f"c-{number + 1}" for number in range(self.count)}


TestLifeOfCommands = LifeOfCommands.TestCase
TestLifeOfCommands.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_command_that_waited_too_long_is_not_sent():
    book = CommandBook(RULES)
    assert book.take(command(), LIMITS, Facts(T, present=50.0)).state is State.BEGUN
    late = book.go("c-1", LIMITS, Facts(T + 30_001, present=50.0))
    assert (late.state, late.sent_at_ms) == (State.EXPIRED, None)


def test_lock_that_comes_while_a_command_waits_wins():
    book = CommandBook(RULES)
    book.take(command(), LIMITS, Facts(T, present=50.0))
    locked = book.go("c-1", LIMITS, Facts(T + 1, present=50.0, lock=Lock("bob", "cleaning", T)))
    assert (locked.state, locked.sent_at_ms) == (State.REFUSED, None)


def test_command_of_a_busy_instrument_is_asked_for_once_more_and_not_in_its_own_way():
    book = CommandBook(RULES)
    facts = Facts(T, present=50.0)
    book.take(command(), LIMITS, facts)
    book.go("c-1", LIMITS, facts)
    assert book.go("c-1", LIMITS, facts._replace(now_ms=T + 300)).state is State.BEGUN
    late = book.go("c-1", LIMITS, facts._replace(now_ms=T + 30_001))
    assert late.state is State.EXPIRED
    assert not book.is_on_its_way("c-1")


def test_command_refused_once_is_not_carried_out_when_it_comes_again():
    book = CommandBook(RULES)
    book.take(command(), LIMITS, Facts(T, present=50.0, lock=Lock("bob", "cleaning", T)))
    assert CommandBook(RULES, [book.get("c-1")]).get("c-1").state is State.REFUSED


def test_tag_is_not_set_more_often_than_allowed_not_even_over_a_restart():
    book = CommandBook(RULES)
    facts = Facts(T, present=50.0)
    book.take(command(), LIMITS, facts)
    sent = book.go("c-1", LIMITS, facts)
    assert book.take(command("c-2"), LIMITS, facts._replace(now_ms=T + 1_999)).state is State.REFUSED
    assert book.take(command("c-3"), LIMITS, facts._replace(now_ms=T + 2_000)).state is State.BEGUN
    after = CommandBook(RULES, [replace(sent, sent_at_ms=None)])  # what was kept before it went
    after.recover(T + 100)
    assert after.take(command("c-4"), LIMITS, facts._replace(now_ms=T + 1_000)).state is State.REFUSED


def test_flood_of_commands_is_refused_and_the_bench_is_not_shut_out():
    book = CommandBook(RULES)
    facts = Facts(T, present=50.0)
    for number in range(MOST_KNOWN):
        book.take(command(f"c-{number}", value=-1.0), LIMITS, facts)
    assert "no more are taken" in book.take(command("one more"), LIMITS, facts).why
    assert book.take(command("mine", source=Source.BENCH), LIMITS, facts).state is State.BEGUN
    book.forget(T + KEEP_MS + 30_001)
    assert book.get("c-1") is None
    assert book.get("mine") is not None
