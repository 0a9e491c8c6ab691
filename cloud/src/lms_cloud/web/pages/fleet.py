"""The fleet page and the parts of it that are fetched again: cards, figures, activity.

Before it: fleet/service.py and telemetry (through readings_now.py). After it: pages/dashboard/fleet.html.
"""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import Query, Response
from fastapi.responses import RedirectResponse

from lms_cloud.fleet.models import Bioreactor
from lms_cloud.fleet.service import FleetService
from lms_cloud.telemetry.dead_letters.service import DeadLetterService
from lms_cloud.web.pages.cards import KEY_VALUES, FleetCard, card, stats
from lms_cloud.web.pages.context import CurrentViewer, Viewer
from lms_cloud.web.pages.measurements import TagNow, measurements
from lms_cloud.web.pages.readings_now import ReadingsNow
from lms_cloud.web.pages.routing import page_router
from lms_cloud.web.pages.shapes import Trace
from lms_cloud.web.pages.templates import render

SPARKLINES = 24
router = page_router()


async def fleet_cards(viewer: Viewer, *, with_traces: bool = True) -> list[FleetCard]:
    """All bioreactors of the viewer's organization, the one that needs attention first.

    Sparklines only for as many as people look at together: each bioreactor's history is a query of its own.
    """
    now = viewer.uow.now()
    bioreactors = await FleetService(viewer.uow).list_bioreactors()
    readings = ReadingsNow(viewer.uow)
    ids = [each.id for each in bioreactors]
    tags = await readings.tags(ids)
    states = await readings.states(ids)
    letters = await DeadLetterService(viewer.uow).open_of(ids)
    traces: dict[UUID, Trace] = {}
    for id_ in ids[:SPARKLINES] if with_traces else ():
        traces |= await readings.traces(id_, _key_tags(tags[id_], now), now)
    made = [
        card(
            id_=each.id,
            name=each.name,
            place=place(each),
            online=states[each.id].online,
            since=states[each.id].since,
            tags=tags[each.id],
            now=now,
            traces=traces,
            letters=letters.get(each.id),
        )
        for each in bioreactors
    ]
    return sorted(made, key=lambda c: c.urgency)


def _key_tags(tags: list[TagNow], now: datetime) -> list[TagNow]:
    shown = measurements(tags, now)[:KEY_VALUES]
    return [tag for m in shown for tag in (m.main, m.set) if tag is not None]


def place(bioreactor: Bioreactor) -> str:
    """Kind, volume and place in one line, as far as they are known."""
    known = bioreactor.typed
    volume = f"{known.volume_l:g} L" if known.volume_l is not None else None
    vessel = ", ".join(part for part in (known.kind, volume) if part)
    return " · ".join(part for part in (vessel, known.location) if part)


@router.get("/app/")
async def fleet_page(viewer: CurrentViewer) -> Response:
    """The whole page; who has no organization yet is led to make one."""
    if viewer.identity.organization_id is None:
        return RedirectResponse("/app/organizations", HTTPStatus.SEE_OTHER)
    cards = await fleet_cards(viewer)
    recent = await viewer.activities(await FleetService(viewer.uow).list_bioreactors())
    context = viewer.context("fleet") | {"cards": cards, "stats": stats(cards), "activities": recent}
    return render("pages/dashboard/fleet.html", context)


@router.get("/app/fleet/cards")
async def cards_part(viewer: CurrentViewer) -> Response:
    """The cards alone."""
    return render("partials/fleet_cards.html", viewer.context("fleet") | {"cards": await fleet_cards(viewer)})


@router.get("/app/fleet/stats")
async def stats_part(viewer: CurrentViewer) -> Response:
    """The figures alone."""
    context = viewer.context("fleet") | {"stats": stats(await fleet_cards(viewer, with_traces=False))}
    return render("partials/dashboard_stats.html", context)


@router.get("/app/activity")
async def activity_part(viewer: CurrentViewer, bioreactor: Annotated[UUID | None, Query()] = None) -> Response:
    """The latest changes alone, of all or of one bioreactor."""
    recent = await viewer.activities(await FleetService(viewer.uow).list_bioreactors(), bioreactor)
    return render("partials/activity_feed.html", viewer.context("fleet") | {"activities": recent})
