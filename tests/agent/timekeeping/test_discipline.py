"""The rules of the agent's time, case by case."""

from typing import Any

import pytest
from lms_agent.timekeeping.discipline import (
    NOTHING_BEFORE,
    RELEASED_MS,
    Change,
    Discipline,
    Memory,
    Observation,
    Past,
    Rules,
    Trust,
)

RULES = Rules()
NOW_MS = RELEASED_MS + 30 * 86_400_000
HOUR_MS = 3_600_000


class Bench:
    """A computer whose clocks are set by hand, and the discipline that looks at it once a second."""

    def __init__(
        self, *, boot_ms: int = 10_000, system_ms: int = NOW_MS, synchronised: bool | None, **more: Any
    ) -> None:
        self.boot_ms, self.system_ms, self.synchronised = boot_ms, system_ms, synchronised
        self.discipline = Discipline(RULES, self.seen, more.get("past", NOTHING_BEFORE), more.get("memory"))

    @property
    def seen(self) -> Observation:
        return Observation(self.boot_ms, self.system_ms, self.synchronised)

    @property
    def now_ms(self) -> int:
        return self.discipline.time_ms(self.boot_ms)

    def run(self, seconds: int) -> list[Change]:
        changes = []
        for _ in range(seconds):
            self.boot_ms += 1000
            self.system_ms += 1000
            changes.append(self.discipline.observe(self.seen))
        return [change for change in changes if change is not None]


def test_synchronised_clock_is_trusted_at_once() -> None:
    bench = Bench(synchronised=True)
    assert (bench.now_ms, bench.discipline.trust, bench.discipline.open) == (NOW_MS, Trust.TRUSTED, False)


def test_boot_in_1970_is_held_and_corrected_by_one_shift_when_synchronised() -> None:
    bench = Bench(boot_ms=5_000, system_ms=5_000, synchronised=False)
    assert bench.discipline.trust is Trust.WRONG
    assert bench.discipline.holds
    provisional_ms = bench.now_ms
    assert bench.run(3600) == []
    bench.system_ms, bench.synchronised = NOW_MS, True
    (change,) = bench.run(5)
    assert (change.trust, change.open) == (Trust.TRUSTED, False)
    assert bench.now_ms == NOW_MS + 5_000
    assert change.shift_ms == bench.now_ms - (bench.boot_ms - 5_000) - provisional_ms


def test_provisional_times_come_after_everything_in_the_log() -> None:
    past = Past(NOW_MS, NOW_MS + 1, pending=False)
    bench = Bench(boot_ms=5_000, system_ms=NOW_MS - 600_000, synchronised=False, past=past)
    assert bench.discipline.trust is Trust.WRONG, (
        "fake-hwclock after a power cut: the last save, before the last reading"
    )
    assert bench.now_ms == NOW_MS + 1


def test_plausible_clock_after_a_boot_waits_for_synchronisation_and_then_goes_on_without() -> None:
    bench = Bench(boot_ms=10_000, synchronised=False)
    assert bench.discipline.trust is Trust.WAITING
    assert bench.discipline.holds
    assert bench.run(49) == []
    (change,) = bench.run(1)
    assert (change.trust, change.open, change.shift_ms) == (Trust.UNTRUSTED, True, 0)
    assert not bench.discipline.holds


@pytest.mark.parametrize("synchronised", [False, None])
def test_computer_that_runs_for_long_is_not_waited_for(synchronised: bool | None) -> None:
    bench = Bench(boot_ms=HOUR_MS, synchronised=synchronised)
    assert bench.discipline.trust is Trust.UNTRUSTED


def test_nobody_waits_where_nobody_can_tell() -> None:
    assert Bench(boot_ms=1000, synchronised=None).discipline.trust is Trust.UNTRUSTED


def test_week_offline_with_a_stale_clock_is_corrected_when_time_comes_before_the_first_sending() -> None:
    bench = Bench(boot_ms=HOUR_MS, system_ms=NOW_MS - 7 * 24 * HOUR_MS, synchronised=False)
    bench.run(100)
    bench.system_ms, bench.synchronised = NOW_MS, True
    (change,) = bench.run(3)
    assert abs(change.shift_ms - (7 * 24 * HOUR_MS - 100_000)) <= 1000
    assert not change.open


def test_clock_set_by_hand_corrects_what_is_open_and_leaves_it_open() -> None:
    bench = Bench(boot_ms=5_000, system_ms=5_000, synchronised=False)
    bench.run(100)
    bench.system_ms = NOW_MS
    (change,) = bench.run(40)
    assert (change.trust, change.open) == (Trust.UNTRUSTED, True)
    assert bench.now_ms == NOW_MS + 40_000


def test_what_was_sent_is_final() -> None:
    bench = Bench(boot_ms=HOUR_MS, synchronised=False)
    assert bench.discipline.settle() is not None
    bench.system_ms, bench.synchronised = bench.system_ms + HOUR_MS, True
    (change,) = bench.run(40)
    assert (change.shift_ms, change.correction_ms, change.trust) == (0, HOUR_MS, Trust.TRUSTED)


def test_what_is_held_cannot_be_settled() -> None:
    bench = Bench(boot_ms=1000, system_ms=1000, synchronised=False)
    assert bench.discipline.settle() is None
    assert bench.discipline.open


def test_step_ahead_is_believed_when_synchronised_and_lasting() -> None:
    bench = Bench(synchronised=True)
    bench.system_ms += HOUR_MS
    assert bench.run(30) == []
    (change,) = bench.run(1)
    assert (change.correction_ms, change.shift_ms) == (HOUR_MS, 0)
    assert bench.now_ms == bench.system_ms


def test_step_ahead_that_goes_back_in_time_is_no_step() -> None:
    bench = Bench(synchronised=True)
    for _ in range(10):
        bench.system_ms += HOUR_MS
        assert bench.run(20) == []
        bench.system_ms -= HOUR_MS
        assert bench.run(20) == []
    assert bench.now_ms == bench.system_ms


def test_step_that_nobody_vouches_for_is_ignored() -> None:
    bench = Bench(synchronised=True)
    right_ms = bench.now_ms
    bench.system_ms, bench.synchronised = bench.system_ms + HOUR_MS, False
    assert bench.run(600) == []
    assert bench.now_ms == right_ms + 600_000


def test_step_back_leaves_the_time_and_tells_the_error_once() -> None:
    bench = Bench(synchronised=True)
    right_ms = bench.now_ms
    bench.system_ms -= HOUR_MS
    (change,) = bench.run(600)
    assert (change.error_ms, change.trust, change.correction_ms) == (-HOUR_MS, Trust.UNTRUSTED, 0)
    assert bench.now_ms == right_ms + 600_000
    bench.system_ms += HOUR_MS
    (change,) = bench.run(600)
    assert (change.error_ms, change.trust) == (0, Trust.TRUSTED)


def test_trust_ends_when_the_clock_is_not_synchronised_for_an_hour() -> None:
    bench = Bench(synchronised=True)
    bench.synchronised = False
    assert bench.run(3599) == []
    (change,) = bench.run(10)
    assert (change.trust, change.correction_ms, change.open) == (Trust.UNTRUSTED, 0, False)


def test_restart_in_the_same_boot_goes_on_with_the_same_offset() -> None:
    memory = Memory(NOW_MS - 10_000, Trust.TRUSTED, 0, None)
    bench = Bench(boot_ms=20_000, system_ms=NOW_MS - HOUR_MS, synchronised=True, memory=memory)
    assert bench.now_ms == NOW_MS + 10_000
    (change,) = bench.run(40)
    assert change.error_ms == -HOUR_MS - 10_000


def test_restart_while_the_clock_is_wrong_keeps_its_readings_open() -> None:
    memory = Memory(NOW_MS - 10_000, Trust.WRONG, None, NOW_MS - 5_000)
    past = Past(NOW_MS + 5_000, NOW_MS - 6_000, pending=False)
    bench = Bench(boot_ms=20_000, system_ms=20_000, synchronised=False, memory=memory, past=past)
    assert bench.discipline.holds
    bench.system_ms, bench.synchronised = NOW_MS + 24 * HOUR_MS, True
    (change,) = bench.run(3)
    assert change.shift_ms == 24 * HOUR_MS - 10_000


def test_synchronised_clock_an_hour_behind_the_log_keeps_order_and_tells_the_error() -> None:
    bench = Bench(synchronised=True, past=Past(NOW_MS + HOUR_MS, NOW_MS + HOUR_MS + 1, pending=False))
    assert bench.now_ms == NOW_MS + HOUR_MS + 1
    assert (bench.discipline.trust, bench.discipline.error_ms) == (Trust.UNTRUSTED, -HOUR_MS - 1)


def test_synchronised_clock_years_behind_the_log_proves_the_log_wrong() -> None:
    far_ms = NOW_MS + 5 * 365 * 24 * HOUR_MS
    bench = Bench(synchronised=True, past=Past(far_ms, far_ms + 1, pending=False))
    assert (bench.now_ms, bench.discipline.trust) == (NOW_MS, Trust.TRUSTED)


def test_readings_of_an_earlier_boot_get_their_place_with_the_first_known_time() -> None:
    past = Past(NOW_MS - 1000, NOW_MS - 5000, pending=True)
    bench = Bench(boot_ms=5_000, system_ms=5_000, synchronised=False, past=past)
    assert not bench.discipline.started.places_past
    bench.system_ms, bench.synchronised = NOW_MS, True
    (change,) = bench.run(3)
    assert change.places_past
    assert not any(change.places_past for change in bench.run(100))
