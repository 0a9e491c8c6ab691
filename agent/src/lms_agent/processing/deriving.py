"""Derived tags: computed from the newest values of others, once for each round of the fastest of these.

A round is over when every input that is read as often as the fastest has been read anew; slower ones are taken as they
are. So two lines that are read at the same pace give one value a period, of readings that belong together, and not two
a moment apart, which would look like a pace that nobody keeps.

    all inputs have values        the value, with the time of the newest input and the quality of the worst
    an input is too old           the same, UNCERTAIN
    no value for these inputs     BAD, without a value: a division by 0, a root of -1
    an input has no value         BAD, without a value, once: the input's gap, which holds for this tag too, says why

Neighbours: `lms_agent.settings.derived` has the expressions; `processing.py` hands over what was read.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import TypeAlias, cast

from lms_protocol.reading import Quality, Reading

from lms_agent.drivers.driver import quality_of
from lms_agent.settings.derived import DerivedTag, Key, Pace, in_order

MAX_AGE_PERIODS = 3.0
"""An input is too old when it has missed so many scans, if the settings do not say."""
AS_FAST = 1.5
"""An input that is read at least so nearly as often as the fastest belongs to its rounds."""

Numbers: TypeAlias = Mapping[Key, int]
"""The number of each tag, by bioreactor and name."""


class Deriving:
    """Computes the derived tags of all bioreactors.

    Args:
        derived: of the settings.
        paces: how often each tag is read.
        numbers: of all tags.
    """

    def __init__(self, derived: Sequence[DerivedTag], paces: Mapping[Key, Pace], numbers: Numbers) -> None:
        self._all = [_Computed(each, paces, numbers) for each in in_order(derived)]
        self._inputs = frozenset(tag for one in self._all for tag in one.inputs)
        self._latest: dict[int, Reading] = {}

    def from_readings(self, readings: Iterable[Reading]) -> list[Reading]:
        """The readings of derived tags that these bring about, in the order of need.

        Args:
            readings: of one scan.
        """
        fresh = {reading.tag for reading in readings if reading.tag in self._inputs}
        if not fresh:
            return []
        self._latest.update((reading.tag, reading) for reading in readings if reading.tag in fresh)
        made = []
        for one in self._all:
            if one.is_due(fresh, self._latest) and (reading := one.computed(self._latest)) is not None:
                made.append(reading)
                self._latest[reading.tag] = reading
                fresh.add(reading.tag)
        return made


class _Computed:
    """One derived tag."""

    def __init__(self, settings: DerivedTag, paces: Mapping[Key, Pace], numbers: Numbers) -> None:
        pace = paces[settings.bioreactor, settings.tag]
        self.number = numbers[settings.bioreactor, settings.tag]
        self._expression = settings.parsed
        self.inputs = tuple(numbers[settings.bioreactor, tag] for tag in self._expression.tags)
        self._fast = frozenset(
            number
            for tag, number in zip(self._expression.tags, self.inputs, strict=True)
            if paces[settings.bioreactor, tag].shortest_s <= AS_FAST * pace.shortest_s
        )
        self._awaited = set(self._fast)
        self._range = settings.minimum, settings.maximum
        self._max_age_ms = 1000 * (settings.max_age_s or MAX_AGE_PERIODS * pace.longest_s)
        self._last: Reading | None = None

    def is_due(self, fresh: Set[int], latest: Mapping[int, Reading]) -> bool:
        """Whether a round is over with what was just read; or an input has no value, which is told at once."""
        if fresh.isdisjoint(self.inputs):
            return False
        self._awaited -= fresh
        if self._awaited and all(latest[tag].value is not None for tag in self.inputs if tag in latest):
            return False
        self._awaited = set(self._fast)
        return True

    def computed(self, latest: Mapping[int, Reading]) -> Reading | None:
        """The reading that follows from the newest of its inputs; None if there is nothing new to say."""
        try:
            inputs = [latest[tag] for tag in self.inputs]
        except KeyError:
            return None  # one of them was never read
        times = [reading.taken_at_ms for reading in inputs]
        at_ms = max(times)
        if self._last is not None:
            at_ms = max(at_ms, self._last.taken_at_ms + 1)  # of two lines the one may be told after the other
        reading = self._reading(inputs, at_ms, too_old=max(times) - min(times) > self._max_age_ms)
        if reading.value is None and any(one.value is None for one in inputs) and self._is_silent():
            return None
        self._last = reading
        return reading

    def _is_silent(self) -> bool:
        return self._last is not None and self._last.value is None

    def _reading(self, inputs: Sequence[Reading], at_ms: int, *, too_old: bool) -> Reading:
        values = [reading.value for reading in inputs]
        if any(value is None for value in values):
            return Reading(self.number, at_ms, None, Quality.BAD)
        value = self._expression.value(cast("list[float]", values))
        if value is None:
            return Reading(self.number, at_ms, None, Quality.BAD)
        worst = min(_rank(reading.quality) for reading in inputs)
        own = min(quality_of(value, *self._range), Quality.UNCERTAIN if too_old else Quality.GOOD)
        return Reading(self.number, at_ms, value, min(worst, own))


def _rank(quality: Quality) -> Quality:
    return Quality.UNCERTAIN if quality is Quality.STALE else quality
