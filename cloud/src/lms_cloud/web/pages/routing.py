"""Routes of pages answer errors with a page that says what to do, not with problem details.

Before it: the pages modules, whose routers use `PageRoute`. Errors of who is asking go on to web/errors.py, which sends
a browser to the login page.
"""

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from lms_cloud.kernel.errors import NotFound, RequestError, Unauthenticated
from lms_cloud.web.errors import status_of
from lms_cloud.web.pages.templates import render

REMEDIES = {
    HTTPStatus.FORBIDDEN: "Ask an owner or admin of your organization for the right to do it.",
    HTTPStatus.NOT_FOUND: "It may have been removed, or belongs to another organization. Start again from the fleet.",
    HTTPStatus.CONFLICT: "Somebody may have changed it meanwhile. Load the page again.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "Check the address, or start again from the fleet.",
    HTTPStatus.TOO_MANY_REQUESTS: "Wait a little, then try again.",
}


def error_page(status: HTTPStatus, sentence: str) -> Response:
    """Make the page that says what went wrong and what to do."""
    context = {"title": status.phrase.capitalize(), "detail": sentence, "remedy": REMEDIES.get(status, "")}
    return render("pages/error.html", context, status)


class PageRoute(APIRoute):
    """A route whose errors are pages."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the handler."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                return await handle(request)
            except Unauthenticated:
                raise
            except RequestError as error:
                return error_page(status_of(error), str(error))
            except RequestValidationError as error:
                first = error.errors()[0]
                where = ".".join(str(part) for part in first["loc"][1:])
                if first["loc"][0] == "path":
                    return error_page(HTTPStatus.NOT_FOUND, str(NotFound("page", request.url.path[:100])))
                return error_page(HTTPStatus.UNPROCESSABLE_ENTITY, f"{where}: {first['msg']}.")

        return guarded


def page_router() -> APIRouter:
    """Make a router for pages: errors are pages, and nothing of it is in the API's description."""
    return APIRouter(route_class=PageRoute, include_in_schema=False)
