"""The organizations of the viewer: a list, a form for a new one, and which of them to work in."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import Form, Response
from fastapi.responses import RedirectResponse
from starlette.requests import Request

from lms_cloud.accounts.dependencies import CurrentIdentity, CurrentUnitOfWork, get_database
from lms_cloud.accounts.identity import Identity
from lms_cloud.kernel.database import UnitOfWork
from lms_cloud.kernel.errors import RequestError
from lms_cloud.organizations.service import OrganizationService
from lms_cloud.web.errors import status_of
from lms_cloud.web.pages.context import FormToken
from lms_cloud.web.pages.routing import page_router
from lms_cloud.web.pages.templates import render

router = page_router()


async def _context(uow: UnitOfWork, identity: Identity, form_token: str) -> dict[str, object]:
    found = await OrganizationService(uow).list_organizations()
    listed = [
        {
            "id": each.id,
            "name": each.name,
            "description": each.description or "",
            "wire_id": each.typed.wire_id,
            "created_at": each.created_at,
            "current": each.id == identity.organization_id,
        }
        for each in found
    ]
    return {
        "identity": identity,
        "area": "organizations",
        "organizations": listed,
        "csrf_token": form_token,
        "problem": None,
        "name": "",
        "description": "",
    }


@router.get("/app/organizations")
async def list_page(identity: CurrentIdentity, uow: CurrentUnitOfWork, form_token: FormToken) -> Response:
    """The organizations that the viewer is a member of."""
    return render("pages/organizations/list.html", await _context(uow, identity, form_token))


@router.post("/app/organizations")
async def create(
    request: Request,
    identity: CurrentIdentity,
    form_token: FormToken,
    name: Annotated[str, Form(max_length=1000)] = "",
    description: Annotated[str, Form(max_length=5000)] = "",
) -> Response:
    """Create an organization; the viewer becomes its owner and works in it."""
    database = get_database(request)
    try:
        async with database.unit_of_work(identity.organization_id, identity.user_id) as uow:
            service = OrganizationService(uow)
            await service.create_organization(name, description=description or None, owner_id=identity.user_id)
    except RequestError as error:
        async with database.unit_of_work(identity.organization_id, identity.user_id) as uow:
            context = await _context(uow, identity, form_token)
        problem = {"title": str(error), "text": ""}
        context |= {"problem": problem, "name": name, "description": description}
        return render("pages/organizations/list.html", context, status_of(error))
    return RedirectResponse("/app/", HTTPStatus.SEE_OTHER)


@router.post("/app/organizations/{organization_id}/enter")
async def enter(organization_id: UUID, identity: CurrentIdentity, uow: CurrentUnitOfWork) -> Response:
    """Work in another organization from now on."""
    await OrganizationService(uow).work_in(identity.user_id, organization_id)
    return RedirectResponse("/app/", HTTPStatus.SEE_OTHER)
