"""From what was measured against references to a correction of what will be measured.

    one point     the difference is taken off:           value = measured + offset
    two           a straight line:                       value = slope × measured + offset
    more          straight from point to point; beyond the outer ones their lines go on

Pure; neighbours: `record.py` keeps the points, `lms_agent.processing.correcting` computes every reading with it.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from math import isfinite
from typing import NamedTuple

from lms_protocol.errors import LmsError


class CalibrationError(LmsError):
    """A calibration is none that can be used; the sentence says why, and what to do."""


class Point(NamedTuple):
    """What was measured against one reference, both in the tag's unit.

    Attributes:
        measured: what the instrument showed, uncorrected.
        reference: what it should have shown.
    """

    measured: float
    reference: float


class Line(NamedTuple):
    """value = slope × measured + offset."""

    slope: float
    offset: float

    def at(self, measured: float) -> float:
        """The corrected value."""
        return self.slope * measured + self.offset


class Correction:
    """Corrects readings. Made by `fit`.

    Args:
        lines: in the order of measured values.
        bounds: where one line ends and the next begins; one fewer.
    """

    def __init__(self, lines: Sequence[Line], bounds: Sequence[float] = ()) -> None:
        self.lines = tuple(lines)
        self._bounds = tuple(bounds)

    def value(self, measured: float) -> float:
        """The corrected value, in the tag's unit; what is no finite number stays none."""
        if not self._bounds:
            slope, offset = self.lines[0]
            return slope * measured + offset
        return self.lines[bisect_right(self._bounds, measured)].at(measured)


UNCORRECTED = Correction([Line(1.0, 0.0)])


def fit(points: Sequence[Point]) -> Correction:
    """The correction by which each measured value becomes its reference.

    Raises:
        CalibrationError: no point, points that say the same twice, or measured values that do not rise (or fall) with
            the references.
    """
    if not points:
        raise CalibrationError("a calibration needs at least one reference")
    if not all(isfinite(number) for point in points for number in point):
        raise CalibrationError("a reading was no finite number; look at the probe and its cable")
    ordered = sorted(points)
    if len(ordered) == 1:
        return Correction([Line(1.0, ordered[0].reference - ordered[0].measured)])
    lines = [_line(one, other) for one, other in pairwise(ordered)]
    if len({line.slope > 0 for line in lines}) > 1:
        raise CalibrationError(
            f"the readings ({_listed(ordered)}) go up and down while the references rise: "
            "was one of them mistaken for another?"
        )
    return Correction(lines, [point.measured for point in ordered[1:-1]])


def _line(one: Point, other: Point) -> Line:
    if one.reference == other.reference:
        raise CalibrationError(f"two references are both {one.reference:g}: they must differ")
    if one.measured == other.measured:
        raise CalibrationError(
            f"{one.measured:g} was read at {one.reference:g} and at {other.reference:g}: the probe does not respond"
        )
    slope = (other.reference - one.reference) / (other.measured - one.measured)
    if not isfinite(slope):
        raise CalibrationError(f"the readings {one.measured:g} and {other.measured:g} are too near to each other")
    return Line(slope, one.reference - slope * one.measured)


def _listed(points: Sequence[Point]) -> str:
    return ", ".join(f"{point.measured:g} at {point.reference:g}" for point in points)
