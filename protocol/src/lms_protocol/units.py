"""What becomes of a tag whose unit changes: readings that were taken in °C stay readings in °C.

A reading does not carry its unit; its tag does. So a tag in another unit is another tag, with a number and a series of
its own. The one that is read now has the name; the one in the unit of before is called `Temp/PV [°C]`. When the unit
changes back, the names do too, and the history goes on.

    known before   told now   then
    ─────────────  ─────────  ──────────────────────────────────────────────────────────
    °C             °C         the same tag
    none           °C         the same tag: its unit is told for the first time
    °C             °F, none   another tag; the one before is called `… [°C]` from now on
    … and a tag `… [°F]` is there: the same that it was before, under its name again

Neighbours: `lms_agent.log.tags` gives the numbers; `lms_cloud.fleet.directory` keeps the tags; both name them alike, so
that a backlog in the old unit finds the series that it belongs to.
"""

from collections.abc import Collection, Iterable
from typing import Final

from lms_protocol.reading import TagDescription

MOST_CHARACTERS: Final = 100
"""Of a tag's name in the cloud."""


def is_other_unit(known: str, told: str) -> bool:
    """Whether a tag whose unit was `known` is another one if its unit is `told`."""
    return known not in ("", told)


def former_name(name: str, unit: str) -> str:
    """What a tag is called from when on another unit has its name."""
    suffix = _suffix(unit)
    return name[: MOST_CHARACTERS - len(suffix)].rstrip() + suffix


def is_former(name: str, unit: str, names: Collection[str]) -> bool:
    """Whether a tag is one that was read in a unit of before, and another of these has its name now."""
    suffix = _suffix(unit)
    return name.endswith(suffix) and name.removesuffix(suffix) in names


def _suffix(unit: str) -> str:
    return f" [{unit.replace('/', ' per ') or 'no unit'}]"


def counterpart(tag: TagDescription, known: Iterable[TagDescription]) -> TagDescription | None:
    """The tag among those of another log that holds the same quantity in the same unit; None if there is none."""
    of_device = [other for other in known if other.device == tag.device]
    for other in of_device:
        if other.name == tag.name and (other.unit == tag.unit or "" in (other.unit, tag.unit)):
            return other
    for other in of_device:
        names = {former_name(tag.name, tag.unit), tag.name}
        if other.unit == tag.unit and names & {other.name, former_name(other.name, other.unit)}:
            return other
    return None


def name_beside(tag: TagDescription, taken: Collection[str]) -> str:
    """The name of a tag that has no counterpart, among others of its device."""
    return former_name(tag.name, tag.unit) if tag.name in taken else tag.name
