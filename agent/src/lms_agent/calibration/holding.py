"""What holds for a tag now: its correction, the number of its calibration, and whether that is in doubt.

Neighbours: `store.py` has all calibrations; `lms_agent.processing.correcting` asks for every scan's tags,
`lms_agent.bench.visit` for a technician's reading.
"""

from typing import NamedTuple

from lms_protocol.reading import Quality

from lms_agent.calibration.fitting import UNCORRECTED, CalibrationError, Correction
from lms_agent.calibration.store import Calibrations
from lms_agent.drivers.driver import quality_of
from lms_agent.settings.derived import Key

NEVER = 0
"""The number of a calibration where there is none."""


class Holding(NamedTuple):
    """What holds for a tag.

    Attributes:
        number: of the calibration; `NEVER` if there is none.
        in_doubt: whether a newer one may have been lost.
    """

    correction: Correction = UNCORRECTED
    number: int = NEVER
    in_doubt: bool = False


def holding(key: Key, unit: str, calibrations: Calibrations) -> Holding:
    """What holds for a tag; a calibration in another unit is one of another tag."""
    in_doubt = calibrations.in_doubt(*key)
    newest = calibrations.newest(*key)
    if newest is None or newest.unit != unit:
        return Holding(in_doubt=in_doubt)
    try:
        return Holding(newest.correction, newest.number, in_doubt)
    except CalibrationError:
        return Holding(UNCORRECTED, newest.number, in_doubt=True)


def by_holding(holds: Holding, value: float, quality: Quality, *, corrects: bool) -> tuple[float, Quality]:
    """A value and its quality as the calibration that holds leaves them.

    Args:
        corrects: whether the agent corrects; else the instrument has done so.
    """
    if corrects:
        value = holds.correction.value(float(value))
        quality = min(quality, quality_of(value, None, None))
    return value, min(quality, Quality.UNCERTAIN) if holds.in_doubt else quality
