"""The pages that people see, under /app/; short addresses lead there.

Each module has the routes of one area; `router` has them all. What they show comes from the services of accounts,
organizations, fleet and telemetry: no SQL here.
"""

from http import HTTPStatus

from fastapi import APIRouter, Response
from fastapi.responses import RedirectResponse

from lms_cloud.web.pages import bioreactors, completeness, dead_letters, fleet, organizations, sign_in
from lms_cloud.web.pages.routing import error_page, page_router

router = APIRouter()
for _area in (sign_in, fleet, bioreactors, completeness, dead_letters, organizations):
    router.include_router(_area.router)

_SHORT = {"/": "/app/", "/app": "/app/", "/login": "/app/login", "/register": "/app/register", "/dashboard": "/app/"}
_rest = page_router()


def _add_short(address: str, target: str) -> None:
    @_rest.get(address)
    async def lead() -> Response:
        return RedirectResponse(target, HTTPStatus.SEE_OTHER)


for _address, _target in _SHORT.items():
    _add_short(_address, _target)


@_rest.get("/app/{rest:path}")
async def nothing_here(rest: str) -> Response:
    """Say on a page that there is no such page."""
    return error_page(HTTPStatus.NOT_FOUND, f"There is no page at /app/{rest[:100]}.")


router.include_router(_rest)
