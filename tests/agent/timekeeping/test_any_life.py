"""Any life of a computer without a clock chip, on a real log: what was sent never changes, order and intervals hold."""

import asyncio
import tempfile
from itertools import pairwise
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from lms_agent.log.errors import LogWriteFailed
from lms_agent.log.times.clocks import ClockChange
from lms_agent.timekeeping.discipline import Rules
from lms_protocol.batches import digest
from lms_protocol.reading import Batch, Quality
from support.clocks import HOUR_MS, TRUE_MS, Bench, Pi

RULES = Rules(wait_s=8.0, persist_s=2.0, distrust_after_s=10.0, order_limit_ms=10**15)
STEPS_MS = st.one_of(st.sampled_from([0, HOUR_MS, -HOUR_MS, 3, -3, -TRUE_MS]), st.integers(-(10**8), 10**8))


class Life(RuleBasedStateMachine):
    """The agent's life beside a list of when its readings truly were."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.bench = Bench(Path(self.folder.name) / "log.sqlite3", Pi(), RULES)
        self.truth: list[tuple[object, int]] = []  # of each batch: boot, and time since boot
        self.sent: dict[int, bytes] = {}

    @initialize(boot_ms=st.integers(0, 20_000), wrong_by_ms=STEPS_MS, synchronised=st.sampled_from([True, False, None]))
    def start(self, boot_ms: int, wrong_by_ms: int, synchronised: bool | None) -> None:
        pi = self.bench.pi
        pi.boot_ms_, pi.wrong_by_ms, pi.synchronised = boot_ms, wrong_by_ms, synchronised
        self.runner.run(self.bench.start())

    @rule(count=st.integers(1, 6))
    def run(self, count: int) -> None:
        for _ in range(count):
            self.runner.run(self.bench.seconds(1))
            self.truth.append((self.bench.pi.boot, self.bench.pi.boot_ms()))

    @rule(step_ms=STEPS_MS)
    def step(self, step_ms: int) -> None:
        self.bench.pi.wrong_by_ms += step_ms

    @rule(synchronised=st.sampled_from([True, False, None]))
    def say(self, synchronised: bool | None) -> None:
        self.bench.pi.synchronised = synchronised

    @rule()
    def synchronise(self) -> None:
        self.bench.pi.synchronise()

    @rule()
    def send(self) -> None:
        self.runner.run(self.bench.keeper.settle())
        held = self.bench.keeper.first_held
        for batch in self.bench.all():
            if held is None or batch.number < held:
                self.sent.setdefault(batch.number, fingerprint(batch))

    @rule()
    def restart(self) -> None:
        self.runner.run(self.bench.restart())

    @rule(off_ms=st.integers(1_000, 10**8))
    def power_cut(self, off_ms: int) -> None:
        self.runner.run(self.bench.power_cut(off_ms))

    @rule()
    def disk_refuses_a_change(self) -> None:
        log = self.bench.log
        write = log.change_clock

        async def refuse(change: ClockChange) -> None:
            log.change_clock = write  # type: ignore[method-assign]
            raise LogWriteFailed(log.path, "disk I/O error", "try again")

        log.change_clock = refuse  # type: ignore[method-assign]

    @invariant()
    def what_was_sent_never_changes(self) -> None:
        if self.sent:
            now = {batch.number: fingerprint(batch) for batch in self.bench.all()}
            assert {number: now[number] for number in self.sent} == self.sent

    @invariant()
    def order_and_intervals_hold(self) -> None:
        if not self.truth:
            return
        batches = self.bench.all()
        assert len(batches) == len(self.truth)
        times = [batch.readings[0].taken_at_ms for batch in batches]
        for (earlier, later), (before, after) in zip(pairwise(times), pairwise(self.truth), strict=True):
            assert later > earlier, "reordered"
            if before[0] == after[0]:
                assert later - earlier >= after[1] - before[1], "an interval became shorter"

    @invariant()
    def records_give_the_time_since_boot(self) -> None:
        clock = None
        for batch, (boot, boot_ms) in zip(self.bench.all() if self.truth else [], self.truth, strict=True):
            clock = batch.clock or clock
            assert clock is not None
            assert clock.boot == boot
            assert batch.readings[0].taken_at_ms - clock.offset_ms == boot_ms
            if clock.estimated:
                assert batch.readings[0].quality is Quality.UNCERTAIN

    def teardown(self) -> None:
        try:
            self.end()
        finally:
            if hasattr(self.bench, "log"):
                self.bench.stop()
            self.runner.close()
            self.folder.cleanup()

    def end(self) -> None:
        """Sooner or later the time is known."""
        if self.truth:
            self.bench.log.__dict__.pop("change_clock", None)  # the disk is well again
            self.bench.pi.wrong_by_ms = max(self.bench.pi.wrong_by_ms, 0)
            self.bench.pi.synchronised = True
            self.run(5)
            assert self.bench.keeper.first_held is None, "a time that is known releases everything"
            self.order_and_intervals_hold()
            self.records_give_the_time_since_boot()


def fingerprint(batch: Batch) -> bytes:
    return digest(batch.device, batch.number, batch.readings, batch.gaps, batch.clock)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
