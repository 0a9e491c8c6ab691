"""What a scan came to, in words and as JSON.

Neighbours: `command.py` and `unit.py` print it.
"""

from dataclasses import dataclass, field
from typing import Any

from lms_protocol.instruments.model import Profile

from lms_agent.cli.scan.plan import Plan
from lms_agent.scanning.places import Place
from lms_agent.scanning.scanning import Found
from lms_agent.scanning.settings_order import LineSetting


@dataclass
class Tally:
    """What a scan came to."""

    found: list[Found] = field(default_factory=list)
    noise: list[Found] = field(default_factory=list)
    failures: list[tuple[Place, str]] = field(default_factory=list)


def told(found: Found) -> str:
    """Setting and unit, for people; 8N1 and 8N2 cannot be told apart, and need not."""
    unit = "" if found.heard.unit is None else f"unit {found.heard.unit}"
    if found.setting is None:
        return unit
    either = found.setting.parity == "none" and found.setting.stop_bits == 2 and not (found.model and found.model.sure)
    return f"{found.setting}{' (or 8N1)' if either else ''}{', ' * bool(unit)}{unit}"


def what(found: Found) -> str:
    """What an instrument is, or at least what it answered."""
    if found.model is None:
        return f"unknown; {found.heard.said}"
    shown = f", says {found.model.shown!r}" if found.model.shown else ""
    perhaps = "" if found.model.sure else "perhaps "
    return f"{perhaps}{found.model.profile} ({found.model.name}){shown}"


def _next_step(found: Found, profiles: tuple[Profile, ...]) -> list[str]:
    """What to do with an instrument that was found."""
    place, unit = found.place, found.heard.unit
    if found.model is None:
        return [f"what unit {unit} holds: `lms-agent scan {place.name} --unit {unit}`"]
    where = f"host={place.host}:{place.port}" if place.host else f"port={place.name}"
    option = f"profile={found.model.profile},{where}" + (f",unit={unit}" if unit is not None else "")
    boxed = next((profile.links[0] for profile in profiles if profile.id == found.model.profile), None)
    if found.setting is not None and boxed is not None and found.setting.baud != boxed.baud:
        option += f",baud={found.setting.baud}"
    if found.setting is not None and boxed is not None and found.setting.parity != boxed.parity:
        option += f",parity={found.setting.parity}"
    return [f"to set it up: `lms-agent init --instrument {option}`"]


def summary(place: Place, plan: Plan, mine: list[Found], noise: list[Found]) -> list[str]:
    """What to say when all was asked."""
    if mine:
        known = [found for found in mine if found.model is not None]
        return _next_step((known or mine)[0], plan.profiles)
    if noise:
        return [
            f"no unit answers, but something is heard at {', '.join(str(found.setting) for found in noise[:3])}:",
            "another protocol, two units with one number, or noise on the line",
        ]
    first, last = plan.units[0], plan.units[-1]
    units = f"unit {first}" if first == last else f"units {first} to {last}"
    at = "" if place.host else f" at {_several(plan.settings)}"
    return [f"no unit answers; asked: {units}{at}"]


def _several(settings: list[LineSetting]) -> str:
    return str(settings[0]) if len(settings) == 1 else f"{len(settings)} settings from {settings[0]} on"


def report(tally: Tally) -> dict[str, Any]:
    """All of it, for programs."""
    return {
        "units": [
            {
                "place": found.place.name,
                "baud": found.setting.baud if found.setting else None,
                "parity": found.setting.parity if found.setting else None,
                "stop_bits": found.setting.stop_bits if found.setting else None,
                "unit": found.heard.unit,
                "said": found.heard.said,
                "profile": found.model.profile if found.model else None,
                "sure": found.model.sure if found.model else None,
                "shown": found.model.shown if found.model else None,
            }
            for found in tally.found
        ],
        "noise": [{"place": found.place.name, "setting": str(found.setting)} for found in tally.noise],
        "failures": [{"place": place.name, "reason": reason} for place, reason in tally.failures],
    }
