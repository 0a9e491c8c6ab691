"""Against forged requests: nothing unsafe happens because some other page made the browser send it.

1. A request that says it comes from elsewhere (Origin, Sec-Fetch-Site) is refused, whatever else it carries.
2. One that the browser authenticates by itself (session cookie), or that any page could make it send (a form), must
   also carry a token that only our own pages know: in the header `X-CSRF-Token` or the form field `csrf_token`.

A bearer token is proof enough: no page but its owner's can make a browser send one. Login and registration as JSON
need the check of the origin only. The token is bound to the session cookie, or before login to a cookie of its own.
Pages get it from `csrf_token(request)`.
"""

import hmac
import secrets

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lms_cloud.accounts.cookies import cookie_name, session_token
from lms_cloud.accounts.dependencies import bearer_token, get_settings, is_own_origin
from lms_cloud.accounts.form_tokens import form_token
from lms_cloud.kernel.errors import Forbidden
from lms_cloud.kernel.settings import CloudSettings

HEADER = "x-csrf-token"
FIELD = "csrf_token"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")
_OPEN = ("/auth/login", "/auth/register")
_NEW_FORM_COOKIE = "lms_new_form_cookie"


def csrf_token(request: HTTPConnection) -> str:
    """The form token for the page that answers `request`; sets the cookie that it is bound to where needed."""
    bound_to = session_token(request) or _form_cookie(request)
    if bound_to is None:
        bound_to = getattr(request.state, _NEW_FORM_COOKIE, None) or secrets.token_urlsafe(24)
        setattr(request.state, _NEW_FORM_COOKIE, bound_to)
    return form_token(get_settings(request), bound_to)


async def guard(connection: HTTPConnection) -> None:
    """Refuse forged requests; a dependency of every route.

    Raises:
        Forbidden: the request comes from another page, or carries no valid token.
    """
    if not isinstance(connection, Request) or connection.method in _SAFE_METHODS:
        return  # WebSockets check their Origin in identify_websocket
    settings = get_settings(connection)
    _check_origin(connection.headers, settings)
    if bearer_token(connection) is not None:
        return
    is_form = connection.headers.get("content-type", "").lower().startswith(_FORMS)
    bound_to = session_token(connection)
    if not is_form and (bound_to is None or connection.url.path.endswith(_OPEN)):
        return
    sent = connection.headers.get(HEADER) or (await _field(connection) if is_form else None)
    expected = form_token(settings, bound_to or _form_cookie(connection) or secrets.token_urlsafe(24))
    if sent is None or not hmac.compare_digest(sent.encode(), expected.encode()):
        raise Forbidden("do this", "the form's token is missing or too old; reload the page and try again")


def _check_origin(headers: Headers, settings: CloudSettings) -> None:
    origin = headers.get("origin")
    if origin is not None:
        if not is_own_origin(origin, settings):
            raise Forbidden("do this from another site", f"open {settings.public_url} and do it there")
    elif headers.get("sec-fetch-site", "none") in {"cross-site", "same-site"}:
        raise Forbidden("do this from another site", f"open {settings.public_url} and do it there")


async def _field(request: Request) -> str | None:
    value = (await request.form()).get(FIELD)
    return value if isinstance(value, str) else None


def _form_cookie_name(settings: CloudSettings) -> str:
    return cookie_name(settings, "lms_form")


def _form_cookie(connection: HTTPConnection) -> str | None:
    return connection.cookies.get(_form_cookie_name(get_settings(connection)))


class FormCookieMiddleware:
    """Sets the cookie that a form's token is bound to before login, where `csrf_token` has made one."""

    def __init__(self, app: ASGIApp, settings: CloudSettings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and add the cookie to the answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_cookie(message: Message) -> None:
            value = scope.get("state", {}).get(_NEW_FORM_COOKIE)
            if message["type"] == "http.response.start" and value is not None:
                secure = "; Secure" if self._settings.is_https else ""
                name = _form_cookie_name(self._settings)
                cookie = f"{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}"
                MutableHeaders(scope=message).append("set-cookie", cookie)
            await send(message)

        await self._app(scope, receive, send_with_cookie)
