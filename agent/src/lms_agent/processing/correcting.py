"""Correction by calibration: beside the value stand the one that was read, and the number of the calibration.

    pH/RAW   7.10  →  pH/PV   7.00,  pH/Calibration  3

Which calibration holds can change between two scans, never within one. A reading without a value is corrected to none.

Neighbours: `lms_agent.calibration` has the calibrations; `processing.py` hands over what was read.
"""

from collections.abc import Mapping
from typing import NamedTuple

from lms_protocol.reading import Reading

from lms_agent.calibration.holding import Holding, by_holding, holding
from lms_agent.calibration.store import Calibrations
from lms_agent.settings.companions import companions_of
from lms_agent.settings.derived import Key
from lms_agent.settings.model import AgentSettings


class Corrected(NamedTuple):
    """What became of a reading.

    Attributes:
        reading: corrected.
        raw: as it was read; none if the instrument corrects by itself.
        number: which calibration made it; none if there is no value.
    """

    reading: Reading
    raw: tuple[Reading, ...]
    number: tuple[Reading, ...]


class _Calibrated(NamedTuple):
    """One tag that is calibrated: its names, the numbers of the tags beside it, and what holds for it now."""

    key: Key
    unit: str
    raw: int | None
    number: int
    holds: Holding


class Correcting:
    """Corrects the readings of all bioreactors.

    Args:
        settings: which tags are calibrated.
        numbers: of all tags.
        calibrations: those that hold at first.
    """

    def __init__(self, settings: AgentSettings, numbers: Mapping[Key, int], calibrations: Calibrations) -> None:
        self._tags: dict[int, _Calibrated] = {}
        for key, point, _ in settings.measured():
            names = companions_of(point)
            if names is not None:
                raw = None if names.raw is None else numbers[key[0], names.raw]
                number = numbers[key[0], names.number]
                self._tags[numbers[key]] = _Calibrated(key, point.unit, raw, number, Holding())
        self.follow(calibrations)

    def follow(self, calibrations: Calibrations) -> set[int]:
        """From the next reading on these hold; the tags for which another one holds than before."""
        changed = set()
        for tag, known in self._tags.items():
            fresh = holding(known.key, known.unit, calibrations)
            self._tags[tag] = known._replace(holds=fresh)
            if fresh.number != known.holds.number:
                changed.add(tag)
        return changed

    def __bool__(self) -> bool:
        return bool(self._tags)

    def corrected(self, reading: Reading) -> Corrected:
        """A reading, and what is to be told beside it."""
        known = self._tags.get(reading.tag)
        if known is None:
            return Corrected(reading, (), ())
        tag, at_ms, value, quality = reading
        raw = () if known.raw is None else (Reading(known.raw, at_ms, value, quality),)
        if not isinstance(value, int | float):
            return Corrected(reading, raw, ())
        value, quality = by_holding(known.holds, value, quality, corrects=known.raw is not None)
        number = Reading(known.number, at_ms, known.holds.number)
        return Corrected(Reading(tag, at_ms, value, quality), raw, (number,))

    def numbers(self) -> list[tuple[int, int]]:
        """Each calibrated tag, and the tag of its calibration's number."""
        return [(tag, known.number) for tag, known in self._tags.items()]
