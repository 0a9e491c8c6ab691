"""Whatever a clock does, the agent's time never reorders readings and never makes an interval negative."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
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

RULES = Rules(wait_s=3.0, persist_s=3.0, distrust_after_s=20.0)
T0_MS = RELEASED_MS + 86_400_000
STEPS_MS = st.one_of(st.sampled_from([0, 1, -1, 3_600_000, -3_600_000, -T0_MS, 10**12]), st.integers(-(10**8), 10**8))
EVENTS = st.one_of(
    st.tuples(st.just("run"), st.integers(1, 30)),
    st.tuples(st.just("step"), STEPS_MS),
    st.tuples(st.just("synchronised"), st.sampled_from([True, False, None])),
    st.tuples(st.just("settle"), st.just(0)),
    st.tuples(st.just("restart"), st.integers(0, 5)),
)


class Plant:
    """One boot of a computer, an agent on it, and the readings that it has taken: (time since boot, agent's time)."""

    def __init__(self, first: Observation) -> None:
        self.boot_ms, self.system_ms, self.synchronised = first
        self.final: list[tuple[int, int]] = []
        self.open: list[tuple[int, int]] = []
        self.discipline = Discipline(RULES, first, NOTHING_BEFORE)
        self.began_ms = self.discipline.time_ms(first.boot_ms)
        self.write_down(self.discipline.started)

    def second(self) -> None:
        self.boot_ms += 1000
        self.system_ms += 1000
        self.write_down(self.discipline.observe(Observation(self.boot_ms, self.system_ms, self.synchronised)))
        self.open.append((self.boot_ms, self.discipline.time_ms(self.boot_ms)))
        if not self.discipline.open:
            self.close()

    def write_down(self, change: Change | None) -> None:
        if change is None:
            return
        assert not (change.shift_ms and change.correction_ms)
        assert change.correction_ms >= 0
        assert not change.shift_ms or self.discipline.open or self.open or not self.final
        self.open = [(boot_ms, ms + change.shift_ms) for boot_ms, ms in self.open]
        self.began_ms += change.shift_ms
        if not change.open:
            self.close()

    def close(self) -> None:
        self.final += self.open
        self.open = []

    def restart(self, seconds: int) -> None:
        self.boot_ms += 1000 * seconds
        self.system_ms += 1000 * seconds
        old = self.discipline
        newest_ms = max([ms for _, ms in [*self.final, *self.open]], default=0)
        earliest_ms = max([ms for _, ms in self.final], default=-1) + 1
        memory = Memory(old.offset_ms, old.trust, old.error_ms, self.began_ms if old.open else None)
        first = Observation(self.boot_ms, self.system_ms, self.synchronised)
        self.discipline = Discipline(RULES, first, Past(newest_ms, earliest_ms, pending=False), memory)


@given(
    st.integers(0, 10_000),
    st.sampled_from([0, 1_000_000, T0_MS, T0_MS + 10**10]),
    st.sampled_from([True, False, None]),
    st.lists(EVENTS, max_size=25),
)
def test_order_and_intervals_hold_over_any_steps_and_restarts(
    boot_ms: int, system_ms: int, synchronised: bool | None, events: list[tuple[str, int]]
) -> None:
    plant = Plant(Observation(boot_ms, system_ms, synchronised))
    for event, value in events:
        if event == "run":
            for _ in range(value):
                plant.second()
        elif event == "step":
            plant.system_ms = max(0, plant.system_ms + value)
        elif event == "synchronised":
            plant.synchronised = value
        elif event == "settle":
            plant.write_down(plant.discipline.settle())
        else:
            plant.restart(value)
        readings = plant.final + plant.open
        for (earlier_boot_ms, earlier_ms), (later_boot_ms, later_ms) in pairwise(readings):
            assert later_ms - earlier_ms >= later_boot_ms - earlier_boot_ms, "time stood still or ran back"
        assert len({ms - boot for boot, ms in plant.open}) <= 1, "open readings have one offset"
        assert plant.discipline.trust in (Trust.WAITING, Trust.WRONG) or plant.discipline.time_ms(plant.boot_ms) > 0


@given(st.integers(0, 10_000), st.integers(0, T0_MS + 10**9), st.lists(EVENTS, max_size=15))
def test_a_synchronised_clock_that_stays_is_always_followed_or_its_distance_known(
    boot_ms: int, system_ms: int, events: list[tuple[str, int]]
) -> None:
    plant = Plant(Observation(boot_ms, system_ms, False))
    for event, value in events:
        if event == "run":
            for _ in range(value):
                plant.second()
        elif event == "step":
            plant.system_ms = max(0, plant.system_ms + value)
        elif event == "synchronised":
            plant.synchronised = value
        elif event == "restart":
            plant.restart(value)
    plant.system_ms, plant.synchronised = max(plant.system_ms, T0_MS), True
    for _ in range(10):
        plant.second()
    error_ms = plant.system_ms - plant.discipline.time_ms(plant.boot_ms)
    if abs(error_ms) <= RULES.tolerance_ms:
        assert plant.discipline.trust is Trust.TRUSTED
    else:
        assert error_ms < 0
        assert abs((plant.discipline.error_ms or 0) - error_ms) <= RULES.tolerance_ms
