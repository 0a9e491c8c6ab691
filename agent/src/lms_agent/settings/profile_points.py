"""A point of a profile as the table that somebody would have written by hand, with what the file says of it besides.

Called by `expanding.py`. What is a fact of the instrument (address, kind, field) cannot be said otherwise in the file,
nor can a unit that it does not give: nothing is converted, so that would be another value under a trusted name.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from lms_protocol.checked_toml.findings import Checked, Finding, KeyPath
from lms_protocol.checked_toml.shapes import keys_of
from lms_protocol.instruments.facts import Fact
from lms_protocol.instruments.model import AnyPoint, Profile
from lms_protocol.instruments.points import ModbusProfilePoint, ProfilePoint
from lms_protocol.instruments.registers_profile import ModbusProfile

from lms_agent.settings.points import InstrumentPoint

_FREE = frozenset(InstrumentPoint.model_fields)
"""Keys of a profile's point that the file may set; all others are facts of the instrument."""
_IN_ITS_UNIT = ("low", "high", "minimum", "maximum", "set_low", "set_high", "decimals", "calibration")
_OF_SETTING = ("set_low", "set_high")
_OF_THE_PROFILE = frozenset(
    {"name", "words", "default", "unit_varies", "status", "status_address", "unit_address", *Fact.model_fields}
)
"""Keys of a profile's point that a point of the configuration has not, or not in this form."""


def point_table(
    place: KeyPath, point: AnyPoint, said: Mapping[str, Any], profile: Profile
) -> tuple[dict[str, Any], list[Finding]]:
    """A point's table: the facts of the profile, and what the file says of it; and what is wrong with that.

    Args:
        place: where the file says it.
        point: of the profile.
        said: the file's table of the point; empty if there is none.
        profile: the instrument's.
    """
    facts = {"tag": point.tag, **_facts_of(point)}
    fixed = {*keys_of(type(point)), "status", "unit_code"} - _FREE
    kept = {key: value for key, value in said.items() if key not in fixed}
    unit = kept.get("unit", point.unit)
    if unit != point.unit:
        facts = {key: value for key, value in facts.items() if key not in _IN_ITS_UNIT}
    if kept.get("access") == "read":
        facts = {key: value for key, value in facts.items() if key not in _OF_SETTING}
    if isinstance(profile, ModbusProfile) and isinstance(point, ModbusProfilePoint):
        facts |= _beside(point, unit, profile)
    findings = [
        *_fixed_keys(place, said, fixed, profile),
        *_unfit_access(place, point, kept, profile),
        *_unfit_unit(place, point, unit, profile),
    ]
    return facts | {"point": point.name} | kept, findings


def _fixed_keys(place: KeyPath, said: Mapping[str, Any], fixed: set[str], profile: Profile) -> Iterator[Finding]:
    for key in said:
        if key in fixed:
            allowed = f"no such key: profile {profile.id} knows it; an own profile may say otherwise"
            yield Finding((*place, key), "a fact of the instrument", allowed)


def _unfit_access(place: KeyPath, point: AnyPoint, kept: Mapping[str, Any], profile: Profile) -> Iterator[Finding]:
    if kept.get("access") == "write" and point.access == "read":
        yield Finding((*place, "access"), '"write"', f'"read": profile {profile.id} knows no way to write it')


def _unfit_unit(place: KeyPath, point: AnyPoint, unit: object, profile: Profile) -> Iterator[Finding]:
    """Units that the instrument does not give."""
    if unit == point.unit or point.unit_varies or not isinstance(unit, str):
        return
    if isinstance(point, ModbusProfilePoint) and isinstance(profile, ModbusProfile):
        if profile.unit_code_of(point, unit) is not None:
            return
        if point.unit_address is not None and profile.unit_codes is not None:
            known = ", ".join(f'"{name.unit}"' for name in profile.unit_codes.names)
            yield Finding((*place, "unit"), f'"{unit}"', f"a unit that the instrument can say it gives: {known}")
            return
    allowed = f'"{point.unit}": the instrument gives no other, and nothing is converted'
    yield Finding((*place, "unit"), f'"{unit}"', allowed)


def _facts_of(point: ProfilePoint) -> dict[str, Any]:
    return {key: value for key, value in dumped(point).items() if key not in _OF_THE_PROFILE}


def _beside(point: ModbusProfilePoint, unit: object, profile: ModbusProfile) -> dict[str, Any]:
    """The words beside a value that say how far to trust it, and in which unit it is."""
    words = {
        "status": profile.status_of(point),
        "unit_code": profile.unit_code_of(point, unit) if isinstance(unit, str) else None,
    }
    return {key: dumped(word) for key, word in words.items() if word is not None}


def dumped(model: Checked) -> dict[str, Any]:
    """A model as a table of the file, without what goes without saying."""
    return model.model_dump(by_alias=True, exclude_defaults=True)
