"""Tags with their latest readings, states and last minutes, as pages show them.

Before it: fleet/service.py (tags), telemetry/latest.py and telemetry/history/service.py. After it: fleet.py and
bioreactors.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby
from math import isfinite
from statistics import fmean
from uuid import UUID

from lms_protocol.reading import NOT_FOR_SCREENS, Value
from lms_protocol.units import is_former

from lms_cloud.fleet.service import FleetService
from lms_cloud.kernel.database import UnitOfWork
from lms_cloud.telemetry.history.service import HistoryService
from lms_cloud.telemetry.history.shaping import SeriesHistory
from lms_cloud.telemetry.latest import LatestService
from lms_cloud.web.pages.measurements import SPARK_MINUTES, TagNow
from lms_cloud.web.pages.shapes import Trace

SPARK_POINTS = 60
SPARK_READINGS = 2000
"""Ten minutes at 3 Hz come as they were read."""


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
        latest = {each.tag.id: each for each in await LatestService(self._uow).of_bioreactors(bioreactor_ids)}
        tags = await FleetService(self._uow).tags_of(bioreactor_ids)
        names: dict[UUID, set[str]] = {}
        for tag in tags:
            names.setdefault(tag.typed.bioreactor_id, set()).add(tag.name)
        for tag in tags:
            known = tag.typed
            if is_former(tag.name, known.unit, names[known.bioreactor_id]):
                continue  # history: nothing is read in that unit any more
            if tag.name.startswith(NOT_FOR_SCREENS):
                continue  # events, as JSON for programs
            made = TagNow(tag.id, tag.name, known.unit, known.low, known.high, known.decimals)
            reading = latest.get(tag.id)
            if reading is not None:
                made = replace(made, value=reading.value, quality=reading.quality, taken_at=reading.taken_at)
            found[known.bioreactor_id].append(made)
        return found

    async def states(self, bioreactor_ids: Sequence[UUID]) -> Mapping[UUID, FeedState]:
        """Connection states of several bioreactors."""
        statuses = await LatestService(self._uow).statuses()
        known = {id_: FeedState(each.online, each.since) for id_, each in statuses.items() if each.since is not None}
        return {id_: known.get(id_, FeedState(None, None)) for id_ in bioreactor_ids}

    async def traces(self, bioreactor_id: UUID, tags: Sequence[TagNow], now: datetime) -> Mapping[UUID, Trace]:
        """The last minutes of some tags of one bioreactor, by tag id."""
        if not tags:
            return {}
        begin = now - timedelta(minutes=SPARK_MINUTES)
        names = [tag.name for tag in tags]
        history = await HistoryService(self._uow).read(
            bioreactor_id, start=begin, end=now, tags=names, max_points=SPARK_READINGS
        )
        width_ms = SPARK_MINUTES * 60_000 // SPARK_POINTS
        return {each.tag.id: _means(each, width_ms) for each in history.series}


def _means(series: SeriesHistory, width_ms: int) -> Trace:
    """The mean of each stretch, at the time of its first point, so that the line shows the trend and not the noise."""
    at_ms: list[int] = []
    values: list[float | None] = []
    points = zip(series.taken_at_ms, map(_figure, series.value), strict=True)
    for (_, broken), stretch in groupby(points, lambda point: (point[0] // width_ms, point[1] is None)):
        found = list(stretch)
        numbers = [] if broken else [figure for _, figure in found if figure is not None]
        at_ms.append(found[0][0])
        values.append(fmean(numbers) if numbers else None)
    return Trace(at_ms, values)


def _figure(value: Value) -> float | None:
    return float(value) if isinstance(value, int | float) and isfinite(value) else None
