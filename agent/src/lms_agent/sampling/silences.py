"""How long each tag of an instrument has been silent, by the times that its readings bear.

The grid says which scans nobody came for. It does not say how far apart readings are: a scan that began late and was
answered late is none that is missed, yet up to three periods may lie between its readings and those before; the blocks
of one scan may be held up one by one; and the grid stands still while the computer sleeps, times do not.

`watching.py` asks here and makes gaps of what it hears.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from lms_protocol.reading import Reading


class Silence(NamedTuple):
    """An interval in which none of some tags was read.

    Attributes:
        tags: their numbers.
        began_at_ms: time of the last reading before it, ms UTC.
        ended_at_ms: time of the first reading after it, ms UTC.
    """

    tags: tuple[int, ...]
    began_at_ms: int
    ended_at_ms: int


class Silences:
    """The tags of one instrument, and up to when there are readings of them, or gaps that say why not.

    Args:
        period_s: from scan to scan.
    """

    def __init__(self, period_s: float) -> None:
        self._period_ms = 1000 * period_s
        self._told_ms: dict[int, int] = {}

    def longer_than(self, periods: float, readings: Sequence[Reading]) -> list[Silence]:
        """The silences that these readings end: one for all tags whose ends lie no more than a period apart.

        Args:
            periods: what need not be told, 1 or more.
            readings: of one scan, in the order taken.
        """
        bearable_ms = periods * self._period_ms
        if not readings or not self._told_ms or readings[-1].taken_at_ms - min(self._told_ms.values()) <= bearable_ms:
            return []  # the usual case
        return self._together(
            [
                (told_ms, reading.taken_at_ms, reading.tag)
                for reading in readings
                if reading.taken_at_ms - (told_ms := self._told_ms.get(reading.tag, reading.taken_at_ms)) > bearable_ms
            ]
        )

    def of(self, tags: Iterable[int], now_ms: int) -> list[Silence]:
        """The silences of these tags up to now, however short; of a tag that was never read it begins now."""
        return self._together([(self._told_ms.get(tag, now_ms), now_ms, tag) for tag in tags])

    def read(self, readings: Iterable[Reading]) -> None:
        """These readings were taken."""
        self._told_ms.update((reading.tag, reading.taken_at_ms) for reading in readings)

    def told(self, tags: Iterable[int], upto_ms: int) -> None:
        """A gap tells of these tags up to a moment."""
        self._told_ms.update(dict.fromkeys(tags, upto_ms))

    def _together(self, ends: Iterable[tuple[int, int, int]]) -> list[Silence]:
        """Make as few silences as can be of (began, ended in ms, tag); each is silent in the whole of its tags'."""
        groups: list[list[tuple[int, int, int]]] = []
        for began_ms, ended_ms, tag in ends:
            if (
                not groups
                or abs(began_ms - groups[-1][0][0]) > self._period_ms
                or abs(ended_ms - groups[-1][0][1]) > self._period_ms
            ):
                groups.append([])
            groups[-1].append((began_ms, ended_ms, tag))
        silences = []
        for group in groups:
            begins, ends_ms, tags = zip(*group, strict=True)
            silences.append(Silence(tags, max(begins), max(*begins, min(ends_ms))))
        return silences
