"""Sets of batch numbers, kept as ranges.

A link that was down for a week leaves 600,000 unacknowledged batches; what is known about them is a handful of ranges.
Used on both sides of acknowledged delivery (`lms_protocol.sending`, `lms_protocol.ledger`).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

from lms_protocol.errors import PayloadError


class NumberRanges:
    """A set of whole numbers as sorted, disjoint, non-adjacent ranges, both ends included.

    `str()` gives the form that travels on the wire, such as `5-9,12,20-31`.
    """

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        """Make the union of `ranges` (first, last), given in any order."""
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in ranges:
            self.add_range(first, last)

    @classmethod
    def parse(cls, text: str) -> "NumberRanges":
        """Read the wire form; an empty text is the empty set.

        Raises:
            PayloadError: anything but rising, disjoint ranges of positive numbers.
        """
        result = cls()
        previous = 0
        for part in text.split(",") if text else ():
            first_text, dash, last_text = part.partition("-")
            if not (first_text.isascii() and first_text.isdigit()) or (
                dash and not (last_text.isascii() and last_text.isdigit())
            ):
                raise PayloadError(f"{part!r} is not a range of batch numbers such as 5-9 or 12")
            first, last = int(first_text), int(last_text) if dash else int(first_text)
            if first <= previous or last < first:
                raise PayloadError(f"range {part!r} is not above the one before it")
            result.add_range(first, last)
            previous = last
        return result

    def add(self, number: int) -> None:
        """Put one number into the set."""
        self.add_range(number, number)

    def add_range(self, first: int, last: int) -> None:
        """Put all numbers from `first` to `last` into the set; nothing if `last` < `first`."""
        if last < first:
            return
        # All ranges that overlap or touch [first, last] lie in low:high and melt into one.
        low = bisect_left(self._lasts, first - 1)
        high = bisect_right(self._firsts, last + 1)
        if low < high:
            first = min(first, self._firsts[low])
            last = max(last, self._lasts[high - 1])
        self._firsts[low:high] = [first]
        self._lasts[low:high] = [last]

    def remove_range(self, first: int, last: int) -> None:
        """Take all numbers from `first` to `last` out of the set."""
        low = bisect_left(self._lasts, first)
        high = bisect_right(self._firsts, last)
        if low >= high:
            return
        kept: list[tuple[int, int]] = []
        if self._firsts[low] < first:
            kept.append((self._firsts[low], first - 1))
        if self._lasts[high - 1] > last:
            kept.append((last + 1, self._lasts[high - 1]))
        self._firsts[low:high] = [first_ for first_, _ in kept]
        self._lasts[low:high] = [last_ for _, last_ in kept]

    def remove(self, other: "NumberRanges") -> None:
        """Take every number of `other` out of the set."""
        for first, last in other:
            self.remove_range(first, last)

    def pop_first(self) -> int:
        """Take the lowest number out and return it.

        Raises:
            KeyError: the set is empty.
        """
        return self.pop_above(0)

    def pop_above(self, number: int) -> int:
        """Take the lowest number above `number` out and return it; if there is none, the lowest of all.

        Raises:
            KeyError: the set is empty.
        """
        if not self._firsts:
            raise KeyError("no numbers left")
        index = bisect_left(self._lasts, number + 1)
        taken = max(self._firsts[index], number + 1) if index < len(self._firsts) else self._firsts[0]
        self.remove_range(taken, taken)
        return taken

    def around(self, number: int) -> tuple[int, int] | None:
        """The range (first, last) that holds `number`; None if it is not in the set."""
        index = bisect_left(self._lasts, number)
        if index < len(self._firsts) and self._firsts[index] <= number:
            return self._firsts[index], self._lasts[index]
        return None

    def within(self, first: int, last: int) -> list[tuple[int, int]]:
        """What the set holds of the numbers from `first` to `last`, as ranges."""
        low = bisect_left(self._lasts, first)
        high = bisect_right(self._firsts, last)
        ranges = zip(self._firsts[low:high], self._lasts[low:high], strict=True)
        return [(max(first, first_), min(last, last_)) for first_, last_ in ranges]

    def first_gap_after(self, number: int) -> int:
        """The lowest number above `number` that is not in the set."""
        index = bisect_left(self._lasts, number + 1)
        if index < len(self._firsts) and self._firsts[index] <= number + 1:
            return self._lasts[index] + 1
        return number + 1

    def outermost(self, count: int) -> "NumberRanges":
        """At most `count` ranges: the lowest half and the highest half, for a message of bounded size."""
        if len(self) <= count or count < 1:
            return NumberRanges(self if count > 0 else ())
        low = count // 2
        firsts = self._firsts[:low] + self._firsts[low - count :]
        return NumberRanges(zip(firsts, self._lasts[:low] + self._lasts[low - count :], strict=True))

    @property
    def first(self) -> int | None:
        """The lowest number, None if the set is empty."""
        return self._firsts[0] if self._firsts else None

    @property
    def last(self) -> int | None:
        """The highest number, None if the set is empty."""
        return self._lasts[-1] if self._lasts else None

    def count(self) -> int:
        """How many numbers (not ranges) the set holds."""
        return sum(self._lasts) - sum(self._firsts) + len(self._firsts)

    def __contains__(self, number: object) -> bool:
        """Whether `number` is in the set."""
        if not isinstance(number, int):
            return False
        index = bisect_left(self._lasts, number)
        return index < len(self._firsts) and self._firsts[index] <= number

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """The ranges (first, last), rising."""
        return iter(zip(self._firsts, self._lasts, strict=True))

    def __len__(self) -> int:
        """How many ranges there are."""
        return len(self._firsts)

    def __bool__(self) -> bool:
        """Whether any number is in the set."""
        return bool(self._firsts)

    def __eq__(self, other: object) -> bool:
        """Whether both hold the same numbers."""
        if not isinstance(other, NumberRanges):
            return NotImplemented
        return self._firsts == other._firsts and self._lasts == other._lasts

    __hash__ = None  # type: ignore[assignment]  # the set changes; a hash would not

    def __str__(self) -> str:
        """The wire form."""
        return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in self)

    def __repr__(self) -> str:
        """For a debugger."""
        return f"NumberRanges({str(self)!r})"
