"""Readings whose time nobody will ever know lie in order before the boot that follows, with true intervals."""

from hypothesis import given
from hypothesis import strategies as st
from lms_agent.timekeeping.placing import Homeless, place

BOOTS = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6), st.booleans()), max_size=6).map(
    lambda parts: [
        Homeless(sum(sum(p[:2]) for p in parts[:i]) + gap, sum(sum(p[:2]) for p in parts[:i]) + gap + length, plausible)
        for i, (gap, length, plausible) in enumerate(parts)
    ]
)


@given(BOOTS, st.integers(0, 10**8))
def test_places_are_in_order_and_before_the_next_boot(boots: list[Homeless], before_ms: int) -> None:
    shifts = place(boots, before_ms)
    placed = [(boot.began_ms + shift, boot.ended_ms + shift) for boot, shift in zip(boots, shifts, strict=True)]
    for (_, ended_ms), (began_ms, _) in zip(placed, [*placed, (before_ms, 0)][1:], strict=True):
        assert ended_ms < began_ms


def test_plausible_clock_keeps_its_place_and_a_wrong_one_ends_where_the_next_boot_begins() -> None:
    boots = [Homeless(1_000, 2_000, plausible=True), Homeless(2_001, 3_000, plausible=False)]
    assert place(boots, 10_000) == [0, 6_999]
