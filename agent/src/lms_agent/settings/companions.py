"""The tags beside one that is calibrated: what was read before it was corrected, and which calibration made it.

    pH/PV            corrected by the agent, or by the instrument itself
    pH/RAW           as it was read; only if the agent corrects
    pH/Calibration   the number of the calibration that holds; 0: none

Neighbours: `lms_protocol.instruments.calibration` says how a point is calibrated; `lms_agent.processing.correcting`
fills them.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from lms_protocol.checked_toml.findings import Wrong
from lms_protocol.reading import Datatype, TagDescription

from lms_agent.settings.derived import Key
from lms_agent.settings.points import InstrumentPoint, Point

_NO_QUANTITIES = (Datatype.BOOLEAN, Datatype.STRING)


class Companions(NamedTuple):
    """Names of the tags beside one; `raw` is None if the instrument keeps its calibrations."""

    raw: str | None
    number: str


def companions_of(point: Point) -> Companions | None:
    """The tags beside a point's; None if it is not calibrated."""
    if not isinstance(point, InstrumentPoint) or point.calibration is None:
        return None
    stem = point.tag.removesuffix("/PV")
    return Companions(f"{stem}/RAW" if point.calibration.kind == "agent" else None, f"{stem}/Calibration")


def datatype_of(point: Point) -> Datatype:
    """The datatype of a point's tag: what the agent has corrected is a double."""
    companions = companions_of(point)
    return Datatype.DOUBLE if companions is not None and companions.raw is not None else point.datatype


def companion_tags(bioreactor: str, point: Point) -> list[TagDescription]:
    """The tags beside a point's, numbered 0."""
    companions = companions_of(point)
    if companions is None:
        return []
    raw = (
        []
        if companions.raw is None
        else [TagDescription(0, bioreactor, companions.raw, point.datatype, point.unit, decimals=point.decimals)]
    )
    return [*raw, TagDescription(0, bioreactor, companions.number, Datatype.INT64)]


def unfit_calibrations(points: Iterable[tuple[Key, tuple[str, Point]]]) -> Iterator[Wrong]:
    """What of the calibrations of all points cannot be.

    Args:
        points: of the instruments: bioreactor and tag, and where in the file which point stands.
    """
    points = list(points)
    taken = {key for key, _ in points}
    for (bioreactor, tag), (place, point) in points:
        companions = companions_of(point)
        if companions is None:
            continue
        if point.datatype in _NO_QUANTITIES:
            yield f"{place}.calibration", "a calibration", "none: only a quantity can be calibrated"
        if companions.raw is not None and point.access == "write":
            yield f"{place}.access", '"write"', '"read": what is set is not corrected'
        for name in (companions.raw, companions.number):
            if name is not None and (bioreactor, name) in taken:
                yield f"{place}.tag", f'"{tag}"', f"another name: {name} would stand beside it, and is taken"
            if name is not None:
                taken.add((bioreactor, name))
