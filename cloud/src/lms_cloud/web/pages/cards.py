"""The fleet as cards, the one that needs attention first, and the figures above them.

Before it: bioreactors, status and latest readings (pages/fleet.py collects them). After it: partials/fleet_cards.html
and partials/dashboard_stats.html.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from lms_cloud.telemetry.dead_letters.service import OpenLetters
from lms_cloud.web.pages.measurements import STALE_AFTER, Measurement, TagNow, measurements
from lms_cloud.web.pages.shapes import Trace

Status = Literal["online", "stale", "offline", "never"]
KEY_VALUES = 3
_URGENCY: dict[Status, int] = {"offline": 0, "stale": 1, "never": 3, "online": 4}
_OUTSIDE = 2


@dataclass(frozen=True, slots=True)
class FleetCard:
    """One bioreactor on the fleet page."""

    id: UUID
    name: str
    place: str
    status: Status
    since: datetime | None
    key_values: Sequence[Measurement]
    others: Sequence[Measurement]
    tag_count: int
    last_at: datetime | None
    letters: OpenLetters | None = None

    @property
    def outside(self) -> int:
        """How many measurements are outside their normal range or have no value."""
        return sum(m.state in {"outside", "absent"} for m in (*self.key_values, *self.others))

    @property
    def urgency(self) -> tuple[int, str]:
        """Sorts cards: what needs attention first, then by name."""
        if self.letters is not None:
            return (0 if self.letters.conflicts else 1, self.name)
        rank = _URGENCY[self.status]
        return (min(rank, _OUTSIDE) if self.outside and self.tag_count else rank, self.name)


@dataclass(frozen=True, slots=True)
class FleetStats:
    """The figures above the cards."""

    bioreactors: int
    online: int
    stale: int
    offline: int
    outside: int
    tags: int


def status_of(online: bool | None, last_at: datetime | None, now: datetime) -> Status:
    """Judge a bioreactor: ``online`` only while readings really come; ``None`` for one that never connected."""
    if online is None:
        return "never"
    if not online:
        return "offline"
    return "online" if last_at is not None and now - last_at <= STALE_AFTER else "stale"


def card(
    *,
    id_: UUID,
    name: str,
    place: str,
    online: bool | None,
    since: datetime | None,
    tags: Sequence[TagNow],
    now: datetime,
    traces: Mapping[UUID, Trace],
    letters: OpenLetters | None = None,
) -> FleetCard:
    """Make the card of one bioreactor from its status, its tags' latest readings, and what could not be stored."""
    made = measurements(tags, now, traces)
    last_at = max((tag.taken_at for tag in tags if tag.taken_at is not None), default=None)
    status = status_of(online, last_at, now)
    return FleetCard(
        id=id_,
        name=name,
        place=place,
        status=status,
        since=last_at if status == "stale" else since,
        key_values=made[:KEY_VALUES],
        others=made[KEY_VALUES:],
        tag_count=len(tags),
        last_at=last_at,
        letters=letters,
    )


def stats(cards: Sequence[FleetCard]) -> FleetStats:
    """Count the fleet."""
    return FleetStats(
        bioreactors=len(cards),
        online=sum(c.status == "online" for c in cards),
        stale=sum(c.status == "stale" for c in cards),
        offline=sum(c.status == "offline" for c in cards),
        outside=sum(m.state == "outside" for c in cards for m in (*c.key_values, *c.others)),
        tags=sum(c.tag_count for c in cards),
    )
