"""Everything that the configuration asks to be done with readings, scan by scan; for all bioreactors of the agent.

    scan of a line → corrected → judged → derived tags → by exception → scan for the log

A gap record always passes, and with it the readings on both its sides: nobody may take for a silence what was only not
worth telling, nor the other way round. It holds for all that is made from its tags as well.

Neighbours: `lms_agent.sampling.outlet` asks before it hands a scan over to the log, and says which were lost.
"""

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

from lms_protocol.reading import Gap, Reading

from lms_agent.calibration.store import Calibrations
from lms_agent.processing.correcting import Correcting
from lms_agent.processing.deriving import Deriving, Numbers
from lms_agent.processing.following import followers, with_followers
from lms_agent.processing.judging import Judging
from lms_agent.processing.reporting import ByException
from lms_agent.settings.derived import Pace, paces
from lms_agent.settings.model import AgentSettings
from lms_agent.settings.points import Point
from lms_agent.settings.processing import heartbeat_s

Readings: TypeAlias = tuple[Reading, ...]
UNCALIBRATED = Calibrations()


class _Told(NamedTuple):
    """A reading, and what is told along with it, or not at all."""

    reading: Reading
    along: Readings = ()


class Processing:
    """Processes the scans of all lines.

    Args:
        settings: what is to be done with which tag.
        numbers: of all tags of the settings.
        calibrations: by which readings are corrected; see `follow`.

    Attributes:
        following: the tags that are made from each tag.
        calibrations: by which readings are corrected now.
    """

    def __init__(self, settings: AgentSettings, numbers: Numbers, calibrations: Calibrations = UNCALIBRATED) -> None:
        self._judging: dict[int, Judging] = {}
        self._reporting: dict[int, ByException] = {}
        self._device = {number: device for (device, _), number in numbers.items()}
        known = paces(settings.derived, settings.periods_s())
        points: list[tuple[str, Point]] = [(device, point) for (device, _), point, _ in settings.measured()]
        for device, point in [*points, *((each.bioreactor, each) for each in settings.derived)]:
            self._add(numbers[device, point.tag], point, known[device, point.tag])
        self.calibrations = calibrations
        self._correcting = Correcting(settings, numbers, calibrations)
        paces_by_number = {numbers[key]: pace for key, pace in known.items()}
        for _, number in self._correcting.numbers():
            shortest_s = paces_by_number[number].shortest_s
            self._reporting[number] = ByException(0.0, heartbeat_s(None, shortest_s), shortest_s)
        self._deriving = Deriving(settings.derived, known, numbers)
        self.following = followers(settings, numbers)
        self._idle = not (self._judging or self._reporting or settings.derived)

    def follow(self, calibrations: Calibrations) -> None:
        """From the next scan on, readings are corrected by these."""
        self.calibrations = calibrations
        for tag in self._correcting.follow(calibrations):
            if tag in self._judging:
                self._judging[tag].forget()

    def take(self, readings: Readings, gaps: tuple[Gap, ...]) -> tuple[Readings, tuple[Gap, ...]]:
        """What of a scan is to be logged.

        Args:
            readings: of one scan of one bioreactor, in the order taken.
            gaps: that opened or closed with it.
        """
        if self._idle:
            return readings, gaps
        told = [each for reading in readings for each in self._corrected(reading)]
        everything = [reading for each in told for reading in (each.reading, *each.along)]
        told += [_Told(self._judged(reading)) for reading in self._deriving.from_readings(everything)]
        gaps = tuple(gap._replace(tags=with_followers(gap.tags, self.following)) for gap in gaps)
        wanted = {tag for gap in gaps for tag in gap.tags}
        due = self._held_back(wanted)
        due += [reading for each in told for reading in self._due(each, wanted)]
        return tuple(sorted(due, key=_taken_at_ms)), gaps

    def lost(self, tags: Iterable[int]) -> None:
        """Readings of these tags did not get into the log: the next ones say something new, whatever they say."""
        for tag in tags:
            if tag in self._reporting:
                self._reporting[tag].forget()

    def held_back(self) -> dict[str, Readings]:
        """What nobody has had yet, by bioreactor: reading ends."""
        held: dict[str, list[Reading]] = {}
        for reading in sorted(self._held_back(self._reporting), key=_taken_at_ms):
            held.setdefault(self._device[reading.tag], []).append(reading)
        return {device: tuple(readings) for device, readings in held.items()}

    def _add(self, number: int, point: Point, pace: Pace) -> None:
        if point.max_rate_per_s is not None or point.stuck_after_s is not None:
            self._judging[number] = Judging(point.max_rate_per_s, point.stuck_after_s)
        if point.dead_band is not None:
            longest_s = heartbeat_s(point.heartbeat_s, pace.shortest_s)
            self._reporting[number] = ByException(point.dead_band, longest_s, pace.shortest_s)

    def _corrected(self, reading: Reading) -> list[_Told]:
        corrected, raw, number = self._correcting.corrected(reading)
        return [_Told(self._judged(corrected), raw), *map(_Told, number)]

    def _judged(self, reading: Reading) -> Reading:
        judging = self._judging.get(reading.tag)
        return reading if judging is None else judging.judge(reading)

    def _due(self, told: _Told, wanted: set[int]) -> list[Reading]:
        reporting = self._reporting.get(told.reading.tag)
        if reporting is None:
            return [told.reading, *told.along]
        return reporting.offer(*told, wanted=told.reading.tag in wanted)

    def _held_back(self, tags: Iterable[int]) -> list[Reading]:
        return [held for tag in tags if tag in self._reporting for held in self._reporting[tag].held_back()]


def _taken_at_ms(reading: Reading) -> int:
    return reading.taken_at_ms
