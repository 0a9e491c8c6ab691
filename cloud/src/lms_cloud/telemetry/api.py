"""REST of the readings: `/api/v1/bioreactors/{id}/history`, `/latest` and `/gaps`. Every member reads.

`history.csv` and `history.ndjson` stream every reading of a window; see `history_stream`.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fastapi import APIRouter, Depends, Query
from starlette.requests import HTTPConnection
from starlette.responses import StreamingResponse

from lms_cloud.accounts.dependencies import CurrentIdentity, CurrentUnitOfWork
from lms_cloud.kernel.errors import Invalid
from lms_cloud.telemetry.clocks import ClockService
from lms_cloud.telemetry.history.series import Wanted
from lms_cloud.telemetry.history.service import DEFAULT_POINTS, HistoryService
from lms_cloud.telemetry.history.shaping import GapRecord
from lms_cloud.telemetry.history.stream import Format, HistoryStreams, StreamOfHistory
from lms_cloud.telemetry.instants import check_instant
from lms_cloud.telemetry.latest import LatestService

router = APIRouter(prefix="/api/v1/bioreactors/{bioreactor_id}", tags=["readings"])
DEFAULT_WINDOW = timedelta(hours=1)

Names = Annotated[list[str] | None, Query(description="Names of tags, by commas or repeated; all if left out.")]
Start = Annotated[datetime | None, Query(description="Beginning, included; an hour before the end if left out.")]
End = Annotated[datetime | None, Query(description="End, not included; now if left out.")]
Points = Annotated[int, Query(description="Most points per tag, 10 to 5000, breaks included.")]
Resolution = Annotated[Wanted, Query(description="auto chooses for each tag; the others insist.")]
Zone = Annotated[
    str | None, Query(description="Whose days buckets of days are, such as Europe/Berlin; UTC if left out.")
]


def get_streams(connection: HTTPConnection) -> HistoryStreams:
    """The application's streams of history."""
    streams: HistoryStreams = connection.app.state.history_streams
    return streams


Streams = Annotated[HistoryStreams, Depends(get_streams)]


@router.get("/history")
async def history(
    bioreactor_id: UUID,
    uow: CurrentUnitOfWork,
    *,
    tags: Names = None,
    start: Start = None,
    end: End = None,
    max_points: Points = DEFAULT_POINTS,
    resolution: Resolution = "auto",
    time_zone: Zone = None,
) -> dict[str, Any]:
    """Readings of some tags in a window, in at most `max_points` points each.

    Few enough readings come as they are ("raw"); more are thinned to those that shape the line, the lowest and highest
    among them ("downsampled"), or come as an "envelope", where each point stands for a stretch of time with its mean
    (`value`), `minimum` and `maximum`. A value of null is a break: nothing was read, or nothing valid. Where
    `rollups_behind_s` is a number, readings of the window have waited that long to be counted in: points may lack some.
    """
    start, end = _window(uow.now(), start, end)
    found = await HistoryService(uow).read(
        bioreactor_id,
        start=start,
        end=end,
        tags=_names(tags),
        max_points=max_points,
        resolution=resolution,
        zone=_zone(time_zone),
    )
    return {
        "bioreactor_id": str(bioreactor_id),
        "start": found.start.astimezone(UTC).isoformat(),
        "end": found.end.astimezone(UTC).isoformat(),
        "resolution": found.resolution,
        "bucket_s": found.bucket_s,
        "cursor": found.cursor,
        "rollups_behind_s": found.rollups_behind_s,
        "series": [each.as_json() for each in found.series],
        "gaps": [_gap(gap) for gap in found.gaps],
    }


@router.get("/history.{kind}", response_class=StreamingResponse)
async def history_stream(
    bioreactor_id: UUID,
    kind: Format,
    identity: CurrentIdentity,
    streams: Streams,
    *,
    tags: Names = None,
    start: Start = None,
    end: End = None,
) -> StreamOfHistory:
    """Every reading of some tags in a window, streamed: tag by tag, each in order of time.

    As `csv`, whose first line says what the columns are (taken_at in UTC, tag, unit, quality, value); as `ndjson` one
    JSON object a line, with the same names.
    """
    window = _window(streams.now(), start, end)
    return await streams.answer(identity, bioreactor_id, tags=_names(tags), window=window, kind=kind)


@router.get("/latest")
async def latest(bioreactor_id: UUID, uow: CurrentUnitOfWork) -> dict[str, Any]:
    """The newest reading of each tag, and whether the bioreactor is connected."""
    service = LatestService(uow)
    readings = await service.of_bioreactor(bioreactor_id)
    status = await service.status(bioreactor_id)
    return {
        "bioreactor_id": str(bioreactor_id),
        "online": status.online,
        "since_ms": status.since_ms,
        "cursor": status.cursor,
        "readings": [reading.as_json() for reading in readings],
    }


@router.get("/gaps")
async def gaps(bioreactor_id: UUID, uow: CurrentUnitOfWork, start: Start = None, end: End = None) -> dict[str, Any]:
    """Stretches of time in which tags were due but not read, and why; at most 1000, the longest."""
    start, end = _window(uow.now(), start, end)
    service = HistoryService(uow)
    names = {tag.series: name for name, tag in (await service.tags(bioreactor_id)).items()}
    found = await service.gaps(bioreactor_id, start, end)
    return {
        "start": start.isoformat(),
        "end": end.isoformat(),
        "gaps": [
            {**_gap(gap), "tags": sorted(names[number] for number in gap.series if number in names)} for gap in found
        ],
    }


@router.get("/clock")
async def clock(bioreactor_id: UUID, uow: CurrentUnitOfWork, start: Start = None, end: End = None) -> dict[str, Any]:
    """How far the times of readings can be trusted: boot, offset and trust of the agent's clock; the newest 1000.

    A reading's time minus `offset_ms` is the time since the computer's boot, which no step of a clock disturbs.
    """
    start, end = _window(uow.now(), start, end)
    found = await ClockService(uow).within(bioreactor_id, start, end)
    return {"start": start.isoformat(), "end": end.isoformat(), "clocks": [each.as_json() for each in found]}


def _names(tags: list[str] | None) -> list[str] | None:
    names = None if tags is None else [name.strip() for name in ",".join(tags).split(",") if name.strip()]
    if names == []:
        raise Invalid("tags", "no name", "names of tags, by commas; leave it out for all")
    return names


def _zone(name: str | None) -> ZoneInfo | None:
    try:
        return None if name is None else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise Invalid("time_zone", name, "a name of the IANA database, such as Europe/Berlin") from error


def _window(now: datetime, start: datetime | None, end: datetime | None) -> tuple[datetime, datetime]:
    end = now if end is None else check_instant("end", end)
    return (end - DEFAULT_WINDOW if start is None else start), end


def _gap(gap: GapRecord) -> dict[str, Any]:
    return {"began_at_ms": gap.began_at_ms, "ended_at_ms": gap.ended_at_ms, "reason": gap.reason}
