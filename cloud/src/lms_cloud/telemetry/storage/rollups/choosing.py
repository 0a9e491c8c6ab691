"""Which of the minutes that wait are computed next: what is live, then what has just come late, then what is old. Pure.

Used by `refreshing`, once for each transaction. After an upgrade years may wait, and what an agent logged while it was
cut off may come at any time. Neither may hold up the other, nor what is live:

    half the budget     the last hour, whatever waits in it
    most of the rest    what was marked in the last minutes, the shortest first; then whatever else waits in the days
                        that it lies in, as an hour and a day are right only when all of their minutes are
    what is left        the oldest; always a part of it, so that it comes to an end

What was marked once more while it waited keeps both its marks until it is computed: how long a minute has waited is
told from the older, how soon it is its turn from the newer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from lms_cloud.telemetry.storage.rollups.marks import joined

RECENT_MINUTES: Final = 60
DAY_MINUTES: Final = 1_440
OLD_SHARE: Final = 4
"""One part in so many of what the last hour leaves is for the oldest, however much has just come."""

Spans = Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Minutes of a bioreactor that wait, counted since 1970 UTC, both ends included.

    Attributes:
        marked_at: since when.
        fresh: whether they were marked in the last minutes.
        series: how many series the bioreactor has.
    """

    bioreactor_id: UUID
    marked_at: datetime
    first: int
    last: int
    series: int
    fresh: bool = False

    @property
    def series_minutes(self) -> int:
        """What it takes to compute them."""
        return (self.last - self.first + 1) * self.series

    def split(self, budget: int) -> "tuple[Waiting | None, Waiting | None]":
        """What fits `budget` series-minutes, at least one minute, and the rest."""
        if budget <= 0:
            return None, self
        middle = self.first + max(1, budget // max(1, self.series)) - 1
        if middle >= self.last:
            return self, None
        return replace(self, last=middle), replace(self, first=middle + 1)

    def cut_by(self, spans: Spans) -> "tuple[list[Waiting], list[Waiting]]":
        """The parts inside the spans (in order, ends included), and those outside."""
        inside: list[Waiting] = []
        outside: list[Waiting] = []
        rest: Waiting | None = self
        for first, last in spans:
            if rest is None or last < rest.first or first > rest.last:
                continue
            if first > rest.first:
                outside.append(replace(rest, last=first - 1))
            inside.append(replace(rest, first=max(first, rest.first), last=min(last, rest.last)))
            rest = replace(rest, first=last + 1) if last < rest.last else None
        return inside, outside if rest is None else [*outside, rest]


class Choice(NamedTuple):
    """What is computed now, each minute of a bioreactor once, and the marks that stay."""

    now: list[Waiting]
    later: list[Waiting]


def choose(waiting: Sequence[Waiting], minute: int, budget: int) -> Choice:
    """Choose what one transaction computes.

    Args:
        waiting: marks; those of one bioreactor with the same `fresh` do not overlap.
        minute: the minute that it is, since 1970 UTC.
        budget: about how many series-minutes to compute; at least a minute of something is.
    """
    fresh = [mark for mark in waiting if mark.fresh]
    spans = _by_bioreactor(fresh)
    # Each minute once: what was marked again since is computed with the fresh.
    old = [part for mark in waiting if not mark.fresh for part in mark.cut_by(spans.get(mark.bioreactor_id, ()))[1]]
    recent, rest = cut([*fresh, *old], [(minute - RECENT_MINUTES, minute + 1)])
    # Not of what is live: today is under way, and would be computed anew all the time, of every bioreactor.
    late_spans = _by_bioreactor(mark for mark in rest if mark.fresh)
    days = {id_: joined(map(_days_of, found)) for id_, found in late_spans.items()}
    now, left = within(recent, budget // 2)
    rest += left
    budget -= _total(now)

    late = sorted((mark for mark in rest if mark.fresh), key=lambda mark: mark.series_minutes)
    beside: list[Waiting] = []
    oldest: list[Waiting] = []
    for mark in sorted((mark for mark in rest if not mark.fresh), key=lambda mark: mark.marked_at):
        inside, outside = mark.cut_by(days.get(mark.bioreactor_id, ()))
        beside += inside
        oldest += outside
    taken, left = within([*late, *beside], budget - (budget // OLD_SHARE if oldest else 0))
    budget -= _total(taken)
    taken_old, _ = within(oldest, budget)
    taken_more, _ = within(left, budget - _total(taken_old))
    now += [*taken, *taken_old, *taken_more]

    done = _by_bioreactor(now)
    # The rest of the days is as urgent the next time, when the late minutes themselves are done.
    since = {
        mark.bioreactor_id: mark.marked_at for mark in sorted(fresh, key=lambda mark: mark.marked_at, reverse=True)
    }
    marks = [*waiting, *(replace(mark, marked_at=since[mark.bioreactor_id], fresh=True) for mark in beside)]
    later = [part for mark in marks for part in mark.cut_by(done.get(mark.bioreactor_id, ()))[1]]
    return Choice(now, later)


def cut(marks: Iterable[Waiting], spans: Spans) -> tuple[list[Waiting], list[Waiting]]:
    """The parts of marks inside the spans, and those outside."""
    inside: list[Waiting] = []
    outside: list[Waiting] = []
    for mark in marks:
        within_, without = mark.cut_by(spans)
        inside += within_
        outside += without
    return inside, outside


def within(marks: Iterable[Waiting], budget: int) -> tuple[list[Waiting], list[Waiting]]:
    """As much as fits a budget in series-minutes, in the order given, and the rest."""
    fitting: list[Waiting] = []
    rest: list[Waiting] = []
    for mark in marks:
        part, left = mark.split(budget)
        if part is not None:
            fitting.append(part)
            budget -= part.series_minutes
        if left is not None:
            rest.append(left)
    return fitting, rest


def _by_bioreactor(marks: Iterable[Waiting]) -> dict[UUID, list[tuple[int, int]]]:
    found: dict[UUID, list[tuple[int, int]]] = {}
    for mark in marks:
        found.setdefault(mark.bioreactor_id, []).append((mark.first, mark.last))
    return {id_: joined(spans) for id_, spans in found.items()}


def _days_of(span: tuple[int, int]) -> tuple[int, int]:
    first, last = span
    return first - first % DAY_MINUTES, last - last % DAY_MINUTES + DAY_MINUTES - 1


def _total(marks: Iterable[Waiting]) -> int:
    return sum(mark.series_minutes for mark in marks)
