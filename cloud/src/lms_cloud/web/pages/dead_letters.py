"""The page of the dead letters: what could not be stored, why, and what can be done about it.

Before it: telemetry/dead_letters/service.py. After it: pages/data/dead_letters.html. While a letter waits to be read
again, its row fetches itself anew.
"""

from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import Form, Query, Request, Response
from fastapi.responses import RedirectResponse

from lms_cloud.accounts.roles import Role
from lms_cloud.fleet.service import FleetService
from lms_cloud.kernel.errors import Conflict, RequestError
from lms_cloud.telemetry.dead_letters.service import DeadLetterService, KeptLetter, LetterState
from lms_cloud.web.errors import status_of
from lms_cloud.web.pages.context import CurrentViewer, Viewer
from lms_cloud.web.pages.routing import page_router
from lms_cloud.web.pages.templates import render

router = page_router()
PAGE = 50
ADDRESS = "/app/dead-letters"
_WAITING: tuple[LetterState, ...] = ("open", "asked")
_DONE: tuple[LetterState, ...] = ("stored", "dismissed")


async def _context(viewer: Viewer, *, show: str, before: UUID | None, bioreactor: UUID | None) -> dict[str, Any]:
    states = {"open": _WAITING, "done": _DONE}.get(show)
    letters = await DeadLetterService(viewer.uow).list_letters(
        states=states, before=before, bioreactor_id=bioreactor, limit=PAGE
    )
    names = {each.id: each.name for each in await FleetService(viewer.uow).list_bioreactors()}
    return viewer.context("data") | {
        "tab": "dead-letters",
        "letters": letters,
        "names": names,
        "show": show if states else "all",
        "bioreactor": bioreactor,
        "more": letters[-1].id if len(letters) == PAGE else None,
        "may_act": _may_act(viewer),
        "problem": None,
    }


def _may_act(viewer: Viewer) -> bool:
    role = viewer.identity.role
    return role is not None and role.includes(Role.TECHNICIAN)


@router.get(ADDRESS)
async def list_page(
    viewer: CurrentViewer,
    show: Annotated[str, Query()] = "open",
    before: Annotated[UUID | None, Query()] = None,
    bioreactor: Annotated[UUID | None, Query()] = None,
) -> Response:
    """The letters that wait for somebody, or all of them."""
    context = await _context(viewer, show=show, before=before, bioreactor=bioreactor)
    return render("pages/data/dead_letters.html", context)


@router.get(ADDRESS + "/{letter_id}/row")
async def row_part(letter_id: UUID, viewer: CurrentViewer) -> Response:
    """One row alone."""
    letter = await DeadLetterService(viewer.uow).get(letter_id)
    return render("partials/dead_letter.html", await _row(viewer, letter))


async def _row(viewer: Viewer, letter: KeptLetter) -> dict[str, Any]:
    names = {each.id: each.name for each in await FleetService(viewer.uow).list_bioreactors()}
    return viewer.context("data") | {"letter": letter, "names": names, "may_act": _may_act(viewer)}


@router.post(ADDRESS + "/{letter_id}/replay")
async def replay(letter_id: UUID, viewer: CurrentViewer, request: Request) -> Response:
    """Have it read again and stored."""
    viewer.identity.require(Role.TECHNICIAN, "have dead letters read again")
    return await _act(viewer, request, letter_id, DeadLetterService(viewer.uow).ask_for_replay(letter_id))


@router.post(ADDRESS + "/{letter_id}/dismiss")
async def dismiss(
    letter_id: UUID, viewer: CurrentViewer, request: Request, reason: Annotated[str, Form(max_length=500)] = ""
) -> Response:
    """Take it off the list of what somebody should look at."""
    viewer.identity.require(Role.TECHNICIAN, "dismiss dead letters")
    return await _act(viewer, request, letter_id, DeadLetterService(viewer.uow).dismiss(letter_id, reason))


async def _act(viewer: Viewer, request: Request, letter_id: UUID, action: Any) -> Response:
    """Do it; answer with the row where the page asked for that, else with the list."""
    try:
        letter = await action
    except Conflict as error:
        return await _refused(viewer, error)
    if request.headers.get("hx-request") == "true":
        return render("partials/dead_letter.html", await _row(viewer, letter))
    return RedirectResponse(f"{ADDRESS}?show=all#letter-{letter_id}", HTTPStatus.SEE_OTHER)


async def _refused(viewer: Viewer, error: RequestError) -> Response:
    context = await _context(viewer, show="all", before=None, bioreactor=None)
    return render("pages/data/dead_letters.html", context | {"problem": str(error)}, status_of(error))
