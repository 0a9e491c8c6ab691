"""Number ranges behave as the set of numbers that they stand for."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from lms_protocol.errors import PayloadError
from lms_protocol.ranges import NumberRanges

numbers = st.integers(1, 60)
sets = st.frozensets(numbers)


def ranges_of(members: frozenset[int]) -> NumberRanges:
    return NumberRanges((n, n) for n in members)


class RangesAgainstSet(RuleBasedStateMachine):
    """Every operation on the ranges and on a plain set gives the same."""

    def __init__(self) -> None:
        super().__init__()
        self.ranges = NumberRanges()
        self.model: set[int] = set()

    @rule(first=numbers, length=st.integers(-2, 12))
    def add(self, first: int, length: int) -> None:
        self.ranges.add_range(first, first + length)
        self.model |= set(range(first, first + length + 1))

    @rule(first=numbers, length=st.integers(0, 12))
    def remove(self, first: int, length: int) -> None:
        self.ranges.remove_range(first, first + length)
        self.model -= set(range(first, first + length + 1))

    @rule()
    def pop(self) -> None:
        if self.model:
            assert self.ranges.pop_first() == min(self.model)
            self.model.remove(min(self.model))
        else:
            with pytest.raises(KeyError):
                self.ranges.pop_first()

    @rule(first=st.integers(1, 60), length=st.integers(0, 30))
    def within(self, first: int, length: int) -> None:
        found = self.ranges.within(first, first + length)
        numbers = [number for low, high in found for number in range(low, high + 1)]
        assert numbers == sorted(self.model & set(range(first, first + length + 1)))

    @rule(number=st.integers(0, 80))
    def pop_above(self, number: int) -> None:
        if self.model:
            expected = min((n for n in self.model if n > number), default=min(self.model))
            assert self.ranges.pop_above(number) == expected
            self.model.remove(expected)
        else:
            with pytest.raises(KeyError):
                self.ranges.pop_above(number)

    @rule(number=st.integers(0, 80))
    def around(self, number: int) -> None:
        first = last = number
        while first - 1 in self.model:
            first -= 1
        while last + 1 in self.model:
            last += 1
        assert self.ranges.around(number) == ((first, last) if number in self.model else None)

    @rule(number=st.integers(0, 80))
    def first_gap(self, number: int) -> None:
        expected = number + 1
        while expected in self.model:
            expected += 1
        assert self.ranges.first_gap_after(number) == expected

    @invariant()
    def same_members(self) -> None:
        assert {n for n in range(100) if n in self.ranges} == self.model
        assert self.ranges.count() == len(self.model)
        assert self.ranges.first == min(self.model, default=None)
        assert self.ranges.last == max(self.model, default=None)
        pairs = list(self.ranges)
        assert all(a <= b for a, b in pairs)
        assert all(later[0] > earlier[1] + 1 for earlier, later in itertools.pairwise(pairs))


TestRangesAgainstSet = RangesAgainstSet.TestCase


@given(sets)
def test_wire_form_reads_back_as_the_same_set(members: frozenset[int]) -> None:
    ranges = ranges_of(members)
    assert NumberRanges.parse(str(ranges)) == ranges


@given(sets, sets)
def test_removing_a_set_leaves_the_difference(left: frozenset[int], right: frozenset[int]) -> None:
    ranges = ranges_of(left)
    ranges.remove(ranges_of(right))
    assert ranges == ranges_of(left - right)


@given(sets, st.integers(2, 6))
def test_outermost_keeps_both_ends_within_its_limit(members: frozenset[int], limit: int) -> None:
    ranges = ranges_of(members)
    kept = ranges.outermost(limit)
    assert len(kept) <= limit
    assert (kept.first, kept.last) == (ranges.first, ranges.last)
    assert all(first in ranges and last in ranges for first, last in kept)


@pytest.mark.parametrize("text", ["x", "5-", "-5", "9-5", "5,5", "7,3", "0", "1,,2", "1 -2", "٣", "1-2-3", "+1"])
def test_text_that_is_no_ranges_is_refused(text: str) -> None:
    with pytest.raises(PayloadError, match="range"):
        NumberRanges.parse(text)
