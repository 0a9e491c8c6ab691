"""Events as sentences for the activity feed; what one agent did at once is told once.

Before it: kernel/events.py. After it: partials/activity_feed.html.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from lms_cloud.kernel.events import Event

SHOWN = 12
READ = 300
_TOGETHER = timedelta(minutes=2)
_DONE = {"created": "added", "updated": "changed", "deleted": "removed"}


@dataclass(frozen=True, slots=True)
class Activity:
    """One line of the feed."""

    at: datetime
    sentence: str
    actor: str


def concerning(events: Iterable[Event], bioreactor_id: UUID) -> list[Event]:
    """Keep the events of one bioreactor and of its tags."""
    wanted = str(bioreactor_id)
    return [e for e in events if str(e.entity_id) == wanted or _properties(e).get("bioreactor_id") == wanted]


def activities(events: Iterable[Event], names: Mapping[str, str]) -> list[Activity]:
    """Tell events, newest first.

    Args:
        events: newest first.
        names: people by "user <id>", bioreactors by id.
    """
    groups: list[list[Event]] = []
    for event in events:
        if groups and _belongs(event, groups[-1][-1]):
            groups[-1].append(event)
        else:
            groups.append([event])
    return [Activity(group[0].at, _sentence(group, names), _actor(group[0], names)) for group in groups[:SHOWN]]


def _belongs(event: Event, after: Event) -> bool:
    return (
        event.entity_type == after.entity_type == "tag"
        and event.kind == after.kind
        and event.actor == after.actor
        and _properties(event).get("bioreactor_id") == _properties(after).get("bioreactor_id")
        and after.at - event.at <= _TOGETHER
    )


def _sentence(group: Sequence[Event], names: Mapping[str, str]) -> str:
    event = group[0]
    done = _DONE.get(event.kind, event.kind)
    kind = event.entity_type.replace("_", " ")
    if event.entity_type != "tag":
        return f"{kind.capitalize()} {_name(event)} {done}"
    where = names.get(str(_properties(event).get("bioreactor_id")), "")
    of = f" of {where}" if where else ""
    if len(group) == 1:
        return f"Tag {_name(event)}{of} {done}"
    return f"{len(group)} tags{of} {done}"


def _actor(event: Event, names: Mapping[str, str]) -> str:
    if event.actor.startswith("user "):
        return names.get(event.actor, "a former member")
    return event.actor


def _snapshot(event: Event) -> Mapping[str, Any]:
    return event.after or event.before or {}


def _name(event: Event) -> str:
    return str(_snapshot(event).get("name", ""))


def _properties(event: Event) -> Mapping[str, Any]:
    found = _snapshot(event).get("properties")
    return found if isinstance(found, dict) else {}
