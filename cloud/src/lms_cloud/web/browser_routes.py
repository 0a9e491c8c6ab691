"""Addresses that are both a page and part of REST: a browser that navigates there is sent to the page.

`GET /organizations` is in the contract twice. Who asks for HTML gets the page, everyone else the list as JSON.
"""

from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope


class BrowserRoute(Route):
    """A route that only exists for those who accept HTML."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As the base class, but nothing for a client that does not name HTML."""
        if scope["type"] != "http" or "text/html" not in Headers(scope=scope).get("accept", ""):
            return Match.NONE, {}
        return super().matches(scope)


async def _to_organizations(request: Request) -> Response:
    return RedirectResponse("/app/organizations", HTTPStatus.SEE_OTHER)


BROWSER_ROUTES: list[BaseRoute] = [BrowserRoute("/organizations", _to_organizations, methods=["GET"])]
