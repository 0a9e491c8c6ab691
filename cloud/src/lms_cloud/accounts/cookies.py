"""The session cookie: `__Host-`, Secure, HttpOnly, SameSite=Lax.

Only where the cloud is reached as http://127.0.0.1 or localhost (the settings allow http nowhere else) it has a plain
name and no Secure, because browsers refuse both there.
"""

from starlette.requests import HTTPConnection
from starlette.responses import Response

from lms_cloud.kernel.settings import CloudSettings


def cookie_name(settings: CloudSettings, name: str) -> str:
    """`name` as the browser knows it."""
    return f"__Host-{name}" if settings.is_https else name


def session_cookie_name(settings: CloudSettings) -> str:
    """The session cookie's name."""
    return cookie_name(settings, "lms_session")


def session_token(connection: HTTPConnection) -> str | None:
    """The session token that the browser sent; None where it sent none."""
    return connection.cookies.get(session_cookie_name(connection.app.state.settings))


def set_session_cookie(response: Response, settings: CloudSettings, token: str, max_age_s: int | None) -> None:
    """Give the browser a session token; for `max_age_s` seconds, or until it is closed."""
    response.set_cookie(
        session_cookie_name(settings),
        token,
        max_age=max_age_s,
        path="/",
        secure=settings.is_https,
        httponly=True,
        samesite="lax",
    )


def clear_session_cookie(response: Response, settings: CloudSettings) -> None:
    """Take the session token back."""
    response.delete_cookie(
        session_cookie_name(settings), path="/", secure=settings.is_https, httponly=True, samesite="lax"
    )
