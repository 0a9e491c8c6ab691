"""The page of one bioreactor, and the parts of it that are fetched again: status and tiles.

Before it: fleet/service.py and telemetry (through readings_now.py). After it: pages/bioreactors/show.html; from there
on static/js/bioreactor.js shows what /ws/live-data brings.
"""

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Query, Response

from lms_cloud.fleet.models import Bioreactor
from lms_cloud.fleet.service import FleetService
from lms_cloud.telemetry.clocks import ClockService
from lms_cloud.telemetry.dead_letters.service import DeadLetterService
from lms_cloud.web.pages.cards import Status, status_of
from lms_cloud.web.pages.context import CurrentViewer, Viewer
from lms_cloud.web.pages.measurements import TagNow, default_choice, measurements
from lms_cloud.web.pages.readings_now import FeedState, ReadingsNow
from lms_cloud.web.pages.routing import page_router
from lms_cloud.web.pages.templates import render

router = page_router()


@dataclass(frozen=True, slots=True)
class Window:
    """How much time the trend shows; `name` is what the address says."""

    name: str
    label: str
    seconds: int


WINDOWS = (
    Window("15m", "15 min", 15 * 60),
    Window("1h", "1 h", 60 * 60),
    Window("6h", "6 h", 6 * 60 * 60),
    Window("24h", "24 h", 24 * 60 * 60),
)


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing worth knowing of the bioreactor, in the page's head."""

    name: str
    value: str


async def facts(viewer: Viewer, bioreactor: Bioreactor) -> list[Fact]:
    """Agent, place, kind and volume, as far as they are known, and what is to be known of the agent's clock."""
    known = bioreactor.typed
    agents = {agent.id: agent.name for agent in await FleetService(viewer.uow).list_agents()}
    clock = await ClockService(viewer.uow).newest(bioreactor.id)
    found = {
        "Agent": agents.get(known.agent_id) if known.agent_id else None,
        "Place": known.location,
        "Kind": known.kind,
        "Volume": None if known.volume_l is None else f"{known.volume_l:g} L",
        "Clock": clock.remark if clock is not None else None,
    }
    return [Fact(name, value) for name, value in found.items() if value]


async def _now(viewer: Viewer, bioreactor_id: UUID) -> tuple[list[TagNow], FeedState, dict[str, object]]:
    """Tags and state of one bioreactor, and what the status badge names."""
    readings = ReadingsNow(viewer.uow)
    tags = (await readings.tags([bioreactor_id]))[bioreactor_id]
    state = (await readings.states([bioreactor_id]))[bioreactor_id]
    last_at = max((tag.taken_at for tag in tags if tag.taken_at is not None), default=None)
    status: Status = status_of(state.online, last_at, viewer.uow.now())
    return tags, state, {"status": status, "since": last_at if status == "stale" else state.since}


@router.get("/app/bioreactors/{bioreactor_id}")
async def show_page(
    bioreactor_id: UUID,
    viewer: CurrentViewer,
    window: Annotated[str, Query()] = WINDOWS[0].name,
    tags: Annotated[str | None, Query()] = None,
) -> Response:
    """The whole page; the address says which tags and which window are on view."""
    bioreactor = await FleetService(viewer.uow).get_bioreactor(bioreactor_id)
    known, _, badge = await _now(viewer, bioreactor_id)
    made = measurements(known, viewer.uow.now())
    names = {tag.name for tag in known}
    chosen = default_choice(made) if tags is None else [name for name in tags.split(",") if name in names]
    context = viewer.context("fleet") | badge
    context |= {
        "bioreactor": bioreactor,
        "facts": await facts(viewer, bioreactor),
        "measurements": made,
        "tags": known,
        "chosen": chosen,
        "chosen_in_url": tags is not None,
        "window": next((w for w in WINDOWS if w.name == window), WINDOWS[0]),
        "windows": WINDOWS,
        "letters": (await DeadLetterService(viewer.uow).open_of([bioreactor_id])).get(bioreactor_id),
        "activities": await viewer.activities([bioreactor], bioreactor_id),
    }
    return render("pages/bioreactors/show.html", context)


@router.get("/app/bioreactors/{bioreactor_id}/status")
async def status_part(bioreactor_id: UUID, viewer: CurrentViewer) -> Response:
    """The status alone."""
    await FleetService(viewer.uow).get_bioreactor(bioreactor_id)
    _, _, badge = await _now(viewer, bioreactor_id)
    return render("partials/status.html", viewer.context("fleet") | badge)


@router.get("/app/bioreactors/{bioreactor_id}/tiles")
async def tiles_part(bioreactor_id: UUID, viewer: CurrentViewer) -> Response:
    """The tiles alone."""
    await FleetService(viewer.uow).get_bioreactor(bioreactor_id)
    tags, _, _ = await _now(viewer, bioreactor_id)
    context = viewer.context("fleet") | {"measurements": measurements(tags, viewer.uow.now())}
    return render("partials/tag_tiles.html", context)
