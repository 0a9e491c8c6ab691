"""History: the readings of any tags of a bioreactor in any window, in at most as many points as asked for.

Few enough readings come out as they are; more are thinned, or come as an envelope: one point a bucket, with mean,
minimum and maximum. Either way a spike of one second is to be seen in a chart of a month. Reached from REST (`api.py`),
pages and WebSocket; what is read how is chosen by `history_series`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from lms_protocol.reading import Datatype

from lms_cloud.fleet.service import FleetService
from lms_cloud.kernel.database import UnitOfWork
from lms_cloud.kernel.errors import Invalid
from lms_cloud.telemetry.history import rows
from lms_cloud.telemetry.history.series import Budget, SeriesReader, Wanted, Window
from lms_cloud.telemetry.history.shaping import GapRecord, Resolution, SeriesHistory
from lms_cloud.telemetry.incoming import EPOCH
from lms_cloud.telemetry.instants import check_instant
from lms_cloud.telemetry.values import TagInfo

MIN_POINTS: Final = 10
MAX_POINTS: Final = 5000
DEFAULT_POINTS: Final = 1000
LONGEST: Final = timedelta(days=100 * 366)
MAX_TAGS: Final = 200
LONGEST_FILL: Final = timedelta(days=400)
MOST_GAPS: Final = 5000
"""So many of the longest gaps make breaks."""
USUAL_WAIT_S: Final = 120
"""A minute's readings wait until it has ended, and for the refresher's turn."""
_COARSEST: Final[tuple[Resolution, ...]] = ("envelope", "downsampled", "raw")


@dataclass(frozen=True, slots=True)
class History:
    """Readings of a bioreactor from `start` (included) to `end` (not included).

    Attributes:
        cursor: of the bioreactor's feed: everything committed up to it is in the readings, if the unit of work is a
            snapshot.
        gaps: in which some of the tags were not read; of many, the longest.
        rollups_behind_s: for how long readings of the window have waited to get into the rollups, so that envelopes
            may lack them; None: nothing has waited for longer than usual.
    """

    start: datetime
    end: datetime
    cursor: int
    series: list[SeriesHistory]
    gaps: list[GapRecord]
    rollups_behind_s: int | None = None

    @property
    def resolution(self) -> Resolution:
        """The coarsest of any series."""
        found = {each.resolution for each in self.series}
        return next((each for each in _COARSEST if each in found), "raw")

    @property
    def bucket_s(self) -> int | None:
        """Length of the longest buckets of those series that are envelopes, seconds; None if none is."""
        return max((each.bucket_s for each in self.series if each.bucket_s is not None), default=None)


class HistoryService:
    """Reads history in one unit of work.

    Args:
        uow: of the tenant.
        budget: how much one answer may read.
    """

    def __init__(self, uow: UnitOfWork, budget: Budget | None = None) -> None:
        self._uow = uow
        self._budget = budget or Budget()

    async def read(
        self,
        bioreactor_id: UUID,
        *,
        start: datetime,
        end: datetime,
        tags: Sequence[str] | None = None,
        max_points: int = DEFAULT_POINTS,
        resolution: Wanted = "auto",
        zone: ZoneInfo | None = None,
    ) -> History:
        """Readings of some tags in a window.

        Args:
            bioreactor_id: whose.
            start, end: the window, aware, in any zone; `start` is included, `end` is not.
            tags: their names; all if None.
            max_points: most points per tag, 10 to 5000, breaks included.
            resolution: "auto" chooses for each tag; "raw", "1m", "1h" and "1d" insist.
            zone: whose days the buckets of days are; UTC if None.

        Raises:
            NotFound: there is no such bioreactor in this organization.
            Invalid: a tag is unknown, the window is absurd, `max_points` is out of range, or the resolution asked for
                has more points.
        """
        check_window(start, end, max_points)
        known = await self.tags(bioreactor_id)
        chosen = _choose(known, tags)
        by_series = {tag.series: tag for tag in chosen if tag.series is not None}
        cursor = await self.cursor(bioreactor_id)
        gaps = await self._gaps(bioreactor_id, start, end, list(by_series), MOST_GAPS)
        window = Window(_first_ms(start), _first_ms(end), max_points, resolution, zone)
        found = await SeriesReader(self._uow, window, by_series, gaps, self._budget).read()
        everything = [found[tag.series] if tag.series is not None else SeriesHistory(tag) for tag in chosen]
        told = sorted(gaps[: max(1, max_points // 4)], key=lambda gap: gap.began_at)
        return History(start, end, cursor, everything, told, await self._behind(bioreactor_id, start, end, everything))

    async def every_reading(
        self, bioreactor_id: UUID, *, start: datetime, end: datetime, tags: Sequence[str] | None = None
    ) -> tuple[list[TagInfo], Window]:
        """The tags and the window of an answer that is to be streamed; see `history_stream`.

        Raises:
            NotFound, Invalid: as `read`.
        """
        check_window(start, end)
        chosen = _choose(await self.tags(bioreactor_id), tags)
        return chosen, Window(_first_ms(start), _first_ms(end), MAX_POINTS)

    async def tags(self, bioreactor_id: UUID) -> dict[str, TagInfo]:
        """All tags of a bioreactor, by name.

        Raises:
            NotFound: there is no such bioreactor in this organization.
        """
        await FleetService(self._uow).get_bioreactor(bioreactor_id)
        found = await self._uow.session.execute(rows.TAGS, {"bioreactor_id": str(bioreactor_id)})
        return {row.name: TagInfo.from_row(row.id, row.name, row.properties, row.series) for row in found}

    async def cursor(self, bioreactor_id: UUID) -> int:
        """How often commits have touched the bioreactor; 0 before the first."""
        found = await self._uow.session.execute(rows.CURSOR, {"bioreactor_id": bioreactor_id})
        return int(found.scalar_one_or_none() or 0)

    async def latest_time(self, tags: Mapping[str, TagInfo], before: datetime) -> datetime | None:
        """When the newest of the tags' readings was taken, of those taken before a time."""
        series = [tag.series for tag in tags.values() if tag.series is not None]
        found = await self._uow.session.execute(rows.LATEST_TIME, {"series": series, "before": before})
        return found.scalar_one()  # type: ignore[no-any-return]  # timestamptz or null

    async def gaps(self, bioreactor_id: UUID, start: datetime, end: datetime, most: int = 1000) -> list[GapRecord]:
        """Gaps of a bioreactor that touch a window, the longest `most` of them, in order of time.

        Raises:
            NotFound: there is no such bioreactor in this organization.
            Invalid: the window is absurd.
        """
        check_window(start, end)
        series = [tag.series for tag in (await self.tags(bioreactor_id)).values() if tag.series is not None]
        found = await self._gaps(bioreactor_id, start, end, series, most)
        return sorted(found, key=lambda gap: gap.began_at)

    async def since(self, bioreactor_id: UUID, cursor: int, *, max_points: int) -> History | None:
        """The readings that commits after `cursor` brought; None if that is too much, or not known exactly.

        Readings of other commits are in the answer only where they were taken during the same batch.
        """
        known = await self.tags(bioreactor_id)
        now = await self.cursor(bioreactor_id)
        values = {"bioreactor_id": bioreactor_id, "cursor": cursor, "most": max_points}
        commits = (await self._uow.session.execute(rows.COMMITS_SINCE, values)).all()
        # Every number is there only if all of them were batches of the ledger, and none was cut off.
        if len({row.cursor for row in commits}) != now - cursor:
            return None
        spans = [(row.first_taken_at, row.last_taken_at) for row in commits if row.first_taken_at is not None]
        found = {tag.series: SeriesHistory(tag) for tag in known.values() if tag.series is not None}
        if not spans:
            instant = self._uow.now()
            return History(instant, instant, now, list(found.values()), [])
        start, last = min(first for first, _ in spans), max(last for _, last in spans)
        if last - start > LONGEST_FILL:
            return None
        end = last + timedelta(milliseconds=1)
        window = Window(_first_ms(start), _first_ms(end), max_points, "raw")
        tags = {number: each.tag for number, each in found.items()}
        read = await SeriesReader(self._uow, window, tags, (), self._budget).read_all(list(tags), max_points)
        if any(count > max_points for count, _ in read.values()):
            return None
        for number, (_, readings) in read.items():
            found[number] = readings.whole()
            found[number].keep_within(spans)
        return History(start, end, now, list(found.values()), [])

    async def _behind(
        self, bioreactor_id: UUID, start: datetime, end: datetime, series: Sequence[SeriesHistory]
    ) -> int | None:
        # Thinned numbers come from the readings themselves.
        if not any(
            each.resolution == "envelope" or (each.resolution == "downsampled" and each.tag.datatype is Datatype.STRING)
            for each in series
        ):
            return None
        values = {"bioreactor_id": bioreactor_id, "start": start, "end": end, "usual_s": USUAL_WAIT_S}
        return (await self._uow.session.execute(rows.ROLLUPS_BEHIND, values)).scalar_one()  # type: ignore[no-any-return]

    async def _gaps(
        self, bioreactor_id: UUID, start: datetime, end: datetime, series: Sequence[int], most: int
    ) -> list[GapRecord]:
        values = {"bioreactor_id": bioreactor_id, "start": start, "end": end, "series": list(series), "most": most}
        found = await self._uow.session.execute(rows.GAPS, values)
        return [GapRecord(frozenset(row.series), row.began_at, row.ended_at, row.reason) for row in found]


def check_window(start: datetime, end: datetime, max_points: int = DEFAULT_POINTS) -> None:
    """Refuse windows that nobody can mean.

    Raises:
        Invalid: a time without zone, start not before end, a window outside 2000 to 9999 or longer than 100 years, or
            `max_points` out of range.
    """
    check_instant("start", start)
    check_instant("end", end)
    if start >= end:
        raise Invalid("start", start.isoformat(), f"a time before the end, {end.isoformat()}")
    if end - start > LONGEST:
        raise Invalid("end", end.isoformat(), "a window of at most 100 years")
    if not MIN_POINTS <= max_points <= MAX_POINTS:
        raise Invalid("max_points", max_points, f"{MIN_POINTS} to {MAX_POINTS}")


def _choose(known: Mapping[str, TagInfo], names: Sequence[str] | None) -> list[TagInfo]:
    if names is None:
        return list(known.values())[:MAX_TAGS]
    if len(names) > MAX_TAGS:
        raise Invalid("tags", f"{len(names)} tags", f"at most {MAX_TAGS} tags at once")
    for name in names:
        if name not in known:
            listed = ", ".join(known) or "none yet: its agent has not been heard"
            raise Invalid("tags", name, f"tags of this bioreactor ({listed})")
    return [known[name] for name in dict.fromkeys(names)]


def _first_ms(instant: datetime) -> int:
    """The first whole millisecond not before an instant: readings are taken at whole ones."""
    return -((EPOCH - instant) // timedelta(milliseconds=1))
