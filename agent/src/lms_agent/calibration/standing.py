"""How the calibrations stand: what is overdue, what is in doubt, what was never done. For status, doctor and people.

Neighbours: `store.py` has all calibrations, `making.py` knows what can be calibrated.
"""

from typing import NamedTuple

from lms_agent.calibration.making import Calibratable, calibratable
from lms_agent.calibration.record import Calibration
from lms_agent.calibration.store import Calibrations
from lms_agent.settings import AgentSettings


class Standing(NamedTuple):
    """How one point stands.

    Attributes:
        newest: the calibration that holds; None if there never was one.
        overdue: whether it should have been calibrated again by now.
        doubt: why it is in doubt which calibration holds, in words; "" if it is not.
    """

    able: Calibratable
    newest: Calibration | None
    overdue: bool
    doubt: str = ""

    @property
    def in_doubt(self) -> bool:
        """Whether it is in doubt which calibration holds."""
        return bool(self.doubt)

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.able.point.tag} of {self.able.instrument.bioreactor}"


def standings(settings: AgentSettings, held: Calibrations, now_ms: int) -> list[Standing]:
    """How every point stands that can be calibrated, in the order of the file."""
    found = []
    for able in calibratable(settings):
        newest = held.newest(*able.key)
        overdue = newest is not None and newest.is_due(now_ms)
        found.append(Standing(able, newest, overdue, held.doubt_of(*able.key)))
    return found
