"""From what was measured, and by whom, to a calibration that can be kept; checked by who keeps it, not by who asks.

Neighbours: `session.py` measured; `store.py` gives the number and keeps it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, NamedTuple, Self

from lms_protocol.commands import MAX_WORDS, flaw_of
from lms_protocol.instruments.calibration import Procedure

from lms_agent.calibration.fitting import CalibrationError, Point, fit
from lms_agent.calibration.judging import Figures, doubts, figures
from lms_agent.calibration.record import DAY_MS, Calibration, Measured
from lms_agent.calibration.store import Calibrations
from lms_agent.settings import AgentSettings, InstrumentSettings
from lms_agent.settings.derived import Key
from lms_agent.settings.points import InstrumentPoint

MOST_POINTS = 20
MAX_REMARK = 1000


class NotPlausible(CalibrationError):
    """The figures of a calibration cannot be believed, and nobody has said that it is to be kept all the same.

    Attributes:
        doubts: what of them, in sentences.
    """

    def __init__(self, found: tuple[str, ...]) -> None:
        self.doubts = found
        super().__init__("; ".join(found))


@dataclass(frozen=True)
class Wish:
    """A calibration as it is asked for.

    Attributes:
        points: what was measured; none: back to uncorrected readings.
        accepted: keep it although its figures are not plausible.
        remarks: what went wrong while it was made.
        slope_percent: what an instrument that adjusts itself says of its probe; None: nothing.
        unconfirmed: whether nobody knows if the instrument has taken the last point.
    """

    bioreactor: str
    tag: str
    points: tuple[Measured, ...]
    by: str
    why: str
    accepted: bool = False
    remarks: tuple[str, ...] = ()
    slope_percent: float | None = None
    unconfirmed: bool = False

    def to_json(self) -> dict[str, Any]:
        """For the door."""
        return {
            "bioreactor": self.bioreactor,
            "tag": self.tag,
            "points": [point._asdict() for point in self.points],
            "by": self.by,
            "why": self.why,
            "accepted": self.accepted,
            "remarks": list(self.remarks),
            "slope_percent": self.slope_percent,
            "unconfirmed": self.unconfirmed,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """What `to_json` told.

        Raises:
            CalibrationError: it is none.
        """
        for key in ("bioreactor", "tag", "by", "why"):
            if flaw := flaw_of(data.get(key), MAX_WORDS):
                raise CalibrationError(f"{key} {flaw}")
        try:
            points = tuple(_measured(point) for point in data["points"])
        except (KeyError, TypeError, ValueError) as error:
            raise CalibrationError(f"the points are not in their form ({error!r})") from error
        if len(points) > MOST_POINTS:
            raise CalibrationError(f"at most {MOST_POINTS} points")
        remarks = data.get("remarks", [])
        if (
            not isinstance(remarks, list)
            or len(remarks) > MOST_POINTS
            or any(flaw_of(one, MAX_REMARK) for one in remarks)
        ):
            raise CalibrationError("the remarks are not in their form")
        slope = data.get("slope_percent")
        if slope is not None and (isinstance(slope, bool) or not isinstance(slope, int | float) or not isfinite(slope)):
            raise CalibrationError("slope_percent is a number, or is left out")
        accepted = data.get("accepted") is True
        who = data["by"], data["why"]
        unconfirmed = data.get("unconfirmed") is True
        return cls(data["bioreactor"], data["tag"], points, *who, accepted, tuple(remarks), slope, unconfirmed)


class Calibratable(NamedTuple):
    """A point that can be calibrated."""

    instrument: InstrumentSettings
    point: InstrumentPoint
    procedure: Procedure

    @property
    def key(self) -> Key:
        """Its bioreactor and tag."""
        return self.instrument.bioreactor, self.point.tag


def calibratable(settings: AgentSettings) -> list[Calibratable]:
    """All points that can be calibrated, in the order of the file."""
    return [
        Calibratable(instrument, point, point.calibration)
        for instrument in settings.instruments
        for point in instrument.points
        if point.calibration is not None
    ]


def find(settings: AgentSettings, bioreactor: str, tag: str) -> Calibratable:
    """The point of a tag that can be calibrated.

    Raises:
        CalibrationError: there is none; the sentence names those that there are.
    """
    able = calibratable(settings)
    for one in able:
        if one.key == (bioreactor, tag):
            return one
    can = ", ".join(f"{one.point.tag} of {one.instrument.bioreactor}" for one in able)
    can = can or "nothing: no point has a procedure; use an instrument's profile, or write one"
    raise CalibrationError(f"{tag} of {bioreactor} cannot be calibrated; what can is {can}")


def judge(
    able: Calibratable, points: tuple[Measured, ...], slope_percent: float | None = None
) -> tuple[Figures | None, tuple[str, ...]]:
    """The figures of what was measured, and what of them is not plausible.

    The slope of an instrument that adjusts itself between two references cannot be seen from outside.

    Args:
        slope_percent: what such an instrument says of it; None: nothing.

    Raises:
        CalibrationError: the points make no correction.
    """
    _, point, procedure = able
    if not points:
        return None, ()
    pairs = [Point(one.measured, one.reference) for one in points]
    if procedure.kind == "agent":
        fit(pairs)
        found = figures(pairs, nernst=procedure.nernst, unit=point.unit)
    else:
        furthest = max(pairs, key=lambda pair: abs(pair.measured - pair.reference))
        found = Figures(slope_percent, furthest.measured - furthest.reference)
    told = doubts(found, procedure.slope_percent, procedure.offset, unit=point.unit, nernst=procedure.nernst)
    unsteady = (
        f"{one.name} was still drifting by {one.drift_per_min:+.3g} {point.unit}".rstrip() + " a minute"
        for one in points
        if not one.stable
    )
    return found, (*told, *unsteady)


def maker(settings: AgentSettings, wish: Wish, *, now_ms: int, account: str) -> Callable[[Calibrations], Calibration]:
    """What makes the calibration, once its number is known.

    Raises:
        CalibrationError: it is none that can be kept; NotPlausible: nobody has accepted its figures.
    """
    able = find(settings, wish.bioreactor, wish.tag)
    instrument, point, procedure = able
    found, doubtful = judge(able, wish.points, wish.slope_percent)
    if doubtful and not wish.accepted:
        raise NotPlausible(doubtful)
    slope, offset = 1.0, 0.0
    if procedure.kind == "agent" and wish.points:
        slope, offset = _line(wish.points)
    if not wish.points and procedure.kind == "instrument":
        raise CalibrationError(f"{instrument.id} keeps its calibration itself: reset it there")

    def make(before: Calibrations) -> Calibration:
        return Calibration(
            number=before.next_number,
            bioreactor=wish.bioreactor,
            tag=wish.tag,
            unit=point.unit,
            instrument=instrument.id,
            kind=procedure.kind,
            at_ms=now_ms,
            points=wish.points,
            slope=slope,
            offset=offset,
            slope_percent=None if found is None else found.slope_percent,
            zero=None if found is None else found.offset,
            by=wish.by,
            why=wish.why,
            account=account,
            doubts=(*doubtful, *wish.remarks),
            due_at_ms=None if procedure.due_days is None else now_ms + round(procedure.due_days * DAY_MS),
            unconfirmed=wish.unconfirmed,
        )

    return make


def _line(points: tuple[Measured, ...]) -> tuple[float, float]:
    """The straight line through the outermost points."""
    outer = {min(points, key=lambda one: one.reference), max(points, key=lambda one: one.reference)}
    line = fit([Point(one.measured, one.reference) for one in outer]).lines[0]
    return line.slope, line.offset


def _measured(data: Mapping[str, Any]) -> Measured:
    if flaw := flaw_of(data["name"], MAX_WORDS):
        raise ValueError(f"name {flaw}")
    return Measured(
        str(data["name"]),
        float(data["reference"]),
        float(data["measured"]),
        int(data["readings"]),
        float(data["drift_per_min"]),
        data["stable"] is True,
    )
