"""What an instrument showed against references, as the figures by which people know a good probe.

    slope    how much of a true difference it shows, in percent; in millivolts, of Nernst's slope at the temperature
    offset   what it shows too much at its zero: pH 7 for pH, 0 for everything else

Pure; neighbours: `fitting.py` makes the correction of the same points.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from lms_agent.calibration.fitting import Point

NEUTRAL_PH = 7.0
NERNST_MV_PER_PH = 59.159
"""At 25 °C: 2.303 RT / F."""
STANDARD_K = 298.15
ZERO_CELSIUS_K = 273.15


class Limits(Protocol):
    """The range in which a figure is believed."""

    @property
    def minimum(self) -> float:
        """The least."""
        ...

    @property
    def maximum(self) -> float:
        """The most."""
        ...


class Figures(NamedTuple):
    """What the points say of the probe.

    Attributes:
        slope_percent: None if there is one point only, which says nothing of it.
        offset: in the unit of the readings.
    """

    slope_percent: float | None
    offset: float


def figures(points: Sequence[Point], *, nernst: bool, unit: str, temperature_c: float = 25.0) -> Figures:
    """The figures of the straight line through the outermost points.

    Args:
        points: at least one, with different references.
        nernst: whether it is pH: in `unit` "mV" the readings are a pH electrode's, else they are pH.
        unit: of the readings.
        temperature_c: of the buffers; for millivolts.
    """
    first, last = min(points, key=lambda point: point.reference), max(points, key=lambda point: point.reference)
    zero = NEUTRAL_PH if nernst else 0.0
    whole = 1.0  # what a perfect probe shows for a difference of 1
    if nernst and unit == "mV":
        whole = -NERNST_MV_PER_PH * (temperature_c + ZERO_CELSIUS_K) / STANDARD_K
    shown = whole
    if first.reference != last.reference:
        shown = (last.measured - first.measured) / (last.reference - first.reference)
    at_zero = first.measured + shown * (zero - first.reference)
    offset = at_zero if unit == "mV" and nernst else at_zero - zero
    return Figures(None if first.reference == last.reference else 100 * shown / whole, offset)


def doubts(found: Figures, slope: Limits | None, offset: Limits | None, *, unit: str, nernst: bool) -> Iterator[str]:
    """What of the figures is not plausible, in sentences that say what to do.

    Args:
        slope, offset: what is believed; None: anything.
    """
    percent = found.slope_percent
    if percent is not None and slope is not None and not slope.minimum <= percent <= slope.maximum:
        of = " of Nernst's slope" if nernst else ""
        yield (
            f"the slope is {percent:.1f} %{of}, but {slope.minimum:g} to {slope.maximum:g} % is plausible: clean the "
            "probe, take fresh references, and calibrate again; replace the probe if that does not help"
        )
    if offset is not None and not offset.minimum <= found.offset <= offset.maximum:
        yield (
            f"the offset is {found.offset:+.3g} {unit}".rstrip() + f", but {offset.minimum:g} to {offset.maximum:g} is "
            "plausible: was the right reference used, and the probe rinsed?"
        )
