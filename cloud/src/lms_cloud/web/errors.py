"""The one place where errors become HTTP answers: problem details as RFC 9457 has them, without a stack trace.

A browser that is not logged in and asks for a page is sent to the login page instead.
"""

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlsplit

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from lms_protocol.errors import LmsError
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from lms_cloud.kernel.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    RequestError,
    TooManyRequests,
    Unauthenticated,
)
from lms_cloud.web.allowed import allowed

PROBLEM = "application/problem+json"
LOGIN_PAGE = "/app/login"
_STATUS: Mapping[type[LmsError], HTTPStatus] = {
    Unauthenticated: HTTPStatus.UNAUTHORIZED,
    Forbidden: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    Invalid: HTTPStatus.UNPROCESSABLE_ENTITY,
    TooManyRequests: HTTPStatus.TOO_MANY_REQUESTS,
}
_LONGEST_FOUND = 100
_SECRET_FIELDS = ("password", "token", "secret")
_log = structlog.get_logger(__name__)


def problem(status: int, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any) -> JSONResponse:
    """A problem details answer (RFC 9457).

    Args:
        status: the HTTP status.
        detail: a sentence for people.
        headers: further headers.
        members: further members of the document, such as `errors`.
    """
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": int(status), "detail": detail}
    return JSONResponse({**body, **members}, int(status), headers=dict(headers or {}), media_type=PROBLEM)


def status_of(error: LmsError) -> HTTPStatus:
    """The status that `error` becomes; 500 for one that no client can be blamed for."""
    for kind in type(error).__mro__:
        if kind in _STATUS:
            return _STATUS[kind]
    return HTTPStatus.INTERNAL_SERVER_ERROR


def install_error_handlers(app: FastAPI) -> None:
    """Register the handlers of this module."""
    app.add_exception_handler(RequestError, _on_request_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    for kind in (OperationalError, InterfaceError, PoolTimeout):
        app.add_exception_handler(kind, _on_database_error)


async def _on_request_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)  # noqa: S101 - registered for it
    status = status_of(error)
    if isinstance(error, Unauthenticated):
        return _ask_to_log_in(request, error)
    headers = {}
    members: dict[str, Any] = {}
    if isinstance(error, TooManyRequests):
        headers["Retry-After"] = str(error.retry_after_s)
        members["retry_after_s"] = error.retry_after_s
    if isinstance(error, Invalid):
        members["errors"] = [{"field": error.field, "found": _show(error.field, error.found), "allowed": error.allowed}]
    return problem(status, str(error), headers=headers, **members)


def _ask_to_log_in(request: Request, error: Unauthenticated) -> Response:
    if request.url.path.startswith("/app/") and request.url.path != LOGIN_PAGE:
        if "hx-request" in request.headers:
            back = _address_within(request.headers.get("hx-current-url", ""))
            return Response(status_code=HTTPStatus.UNAUTHORIZED, headers={"HX-Redirect": _login_page(back)})
        if request.method in {"GET", "HEAD"}:
            back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse(_login_page(back), HTTPStatus.SEE_OTHER)
    return problem(HTTPStatus.UNAUTHORIZED, str(error), headers={"WWW-Authenticate": "Bearer"})


def _address_within(url: str) -> str:
    """Path and query of an address, to come back to after the login; empty where it is none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return parts.path + (f"?{parts.query}" if parts.query else "")


def _login_page(back: str) -> str:
    return f"{LOGIN_PAGE}?next={quote(back, safe='')}" if back else LOGIN_PAGE


async def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
    errors = [_describe(each) for each in error.errors()]
    first = errors[0] if errors else {"field": "body", "found": None, "allowed": "a valid request"}
    detail = _writable(f"{first['field']}: found {first['found']!r}; allowed is: {first['allowed']}.")
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors=errors)


def _describe(error: Mapping[str, Any]) -> dict[str, Any]:
    location = [_writable(str(part)) for part in error["loc"]]
    if error["type"] == "json_invalid":
        why = error.get("ctx", {}).get("error", "it cannot be read")
        return {"field": "body", "found": "(not shown)", "allowed": f"JSON; at character {location[-1]}: {why}"}
    field = ".".join(location[1:] if len(location) > 1 and location[0] in {"body", "query", "path"} else location)
    missing = error["type"] == "missing"
    return {
        "field": field,
        "found": None if missing else _show(field, error.get("input")),
        "allowed": allowed(error),
    }


def _show(field: str, found: Any) -> Any:
    """What was found, short, and never a secret."""
    if any(word in field.lower() for word in _SECRET_FIELDS) or isinstance(found, dict | list | bytes):
        return "(not shown)"
    if isinstance(found, float) and not math.isfinite(found):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(found)]  # JSON has no such numbers
    if found is None or isinstance(found, bool | int | float):
        return found
    text = _writable(str(found))
    return text if len(text) <= _LONGEST_FOUND else text[:_LONGEST_FOUND] + "…"


def _writable(text: str) -> str:
    """The text without lone surrogates, which JSON can hold as escapes and no answer can be written with."""
    return text.encode("utf-8", "backslashreplace").decode()


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    detail = error.detail
    if error.status_code == HTTPStatus.BAD_REQUEST and isinstance(error.__cause__, RecursionError):
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "The body is nested too deeply.")
    if error.status_code == HTTPStatus.NOT_FOUND and detail == HTTPStatus.NOT_FOUND.phrase:
        detail = f"There is nothing at {request.url.path[:_LONGEST_FOUND]}."
    return problem(error.status_code, detail, headers=error.headers)


async def _on_database_error(request: Request, error: Exception) -> Response:
    _log.error("database_unavailable", path=request.url.path, error=str(error))
    detail = "The database does not answer at the moment. Try again in a few seconds."
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": "5"})
