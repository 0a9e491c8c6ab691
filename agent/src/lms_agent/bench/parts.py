"""The parts of a calibration that an instrument keeps itself: what it is told, and for which value.

Neighbours: `lms_protocol.instruments.calibration` has the procedure; `lms_agent.bench.bench` tells.
"""

from collections.abc import Sequence
from typing import Final

from lms_protocol.errors import LmsError
from lms_protocol.instruments.calibration import Step

from lms_agent.settings.points import Point

BEFORE: Final = "before"
AFTER: Final = "after"


class NotTold(LmsError):
    """There is no such part of a calibration, or not with this value; nothing was sent."""


class NotObeyed(LmsError):
    """An instrument was told something, and it is not known whether it obeyed.

    Attributes:
        doubt: why not.
    """

    def __init__(self, tag: str, part: str, doubt: str) -> None:
        self.doubt = doubt
        super().__init__(f"{tag}: it is not known whether the instrument took {part!r} ({doubt}); look at it")


class NotTaken(LmsError):
    """An instrument says that it did not take a reference.

    Attributes:
        why: as it says.
    """

    def __init__(self, tag: str, part: str, why: str) -> None:
        self.why = why
        super().__init__(f"{tag}: the instrument did not take {part!r}: {why}")


def part_of(point: Point, part: str, reference: float | None) -> tuple[float, Sequence[Step]]:
    """What is told for a part, and the value of its reference (0 where there is none).

    Raises:
        NotTold: there is no such part, or the value cannot be the reference's.
    """
    procedure = getattr(point, "calibration", None)
    if procedure is None or procedure.kind != "instrument":
        raise NotTold(f"{point.tag} has no calibration that its instrument keeps")
    if part in (BEFORE, AFTER):
        steps: Sequence[Step] = procedure.before if part == BEFORE else procedure.after
        return 0.0, steps
    found = next((one for one in procedure.references if one.name == part), None)
    if found is None:
        known = ", ".join(one.name for one in procedure.references)
        raise NotTold(f"{point.tag} has no reference {part!r}; it has {known}")
    value = found.value if reference is None else reference
    if not found.minimum <= value <= found.maximum:
        raise NotTold(f"{part} of {point.tag} is {found.minimum:g} to {found.maximum:g}, not {value:g}")
    return value, found.steps
