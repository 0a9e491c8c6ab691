"""Signing in, registering and signing out, as forms that work without scripts.

Neighbours: accounts/service.py does it, accounts/cookies.py carries the session. A form that is refused comes back
with what was typed, except the password.
"""

from http import HTTPStatus
from typing import Annotated

from fastapi import Form, Query, Request, Response
from fastapi.responses import RedirectResponse

from lms_cloud.accounts.cookies import clear_session_cookie, session_token, set_session_cookie
from lms_cloud.accounts.dependencies import (
    CurrentAccounts,
    CurrentIdentity,
    CurrentSettings,
    client_address,
    optional_identity,
)
from lms_cloud.accounts.service import Login
from lms_cloud.kernel.errors import RequestError, TooManyRequests, Unauthenticated
from lms_cloud.web.errors import status_of
from lms_cloud.web.pages.context import FormToken
from lms_cloud.web.pages.routing import page_router
from lms_cloud.web.pages.templates import render

HOME = "/app/"
router = page_router()


def inside(address: str) -> str:
    """Where to go after the login: only ever to a page of ours, whatever the address says."""
    plain = address.startswith("/app/") and not any(mark in address for mark in ("\\", "\r", "\n", "\t", "//"))
    return address if plain else HOME


@router.get("/app/login")
async def login_page(
    request: Request, form_token: FormToken, next_url: Annotated[str, Query(alias="next")] = HOME
) -> Response:
    """The login form; whoever is logged in already goes on."""
    if await optional_identity(request) is not None:
        return RedirectResponse(inside(next_url), HTTPStatus.SEE_OTHER)
    context = {"problem": None, "email": "", "next_url": inside(next_url), "csrf_token": form_token}
    return render("pages/auth/login.html", context)


@router.post("/app/login")
async def log_in(
    *,
    request: Request,
    accounts: CurrentAccounts,
    settings: CurrentSettings,
    form_token: FormToken,
    email: Annotated[str, Form(max_length=320)] = "",
    password: Annotated[str, Form(max_length=4096)] = "",
    remember_me: Annotated[bool, Form()] = False,
    next_url: Annotated[str, Form(alias="next")] = HOME,
) -> Response:
    """Check the form; the session goes into a cookie."""
    try:
        login = await accounts.log_in(
            email, password, remember=remember_me, address=client_address(request), replaces=session_token(request)
        )
    except (Unauthenticated, TooManyRequests) as error:
        return _refused(request, error, email, inside(next_url), form_token)
    response = _go(request, inside(next_url))
    _keep(response, settings, login)
    return response


def _refused(request: Request, error: RequestError, email: str, next_url: str, form_token: str) -> Response:
    remedy = "Check both and try again." if isinstance(error, Unauthenticated) else "Other accounts are not affected."
    context = {
        "problem": {"title": str(error), "text": remedy},
        "email": email,
        "next_url": next_url,
        "csrf_token": form_token,
    }
    template = "partials/login_form.html" if "hx-request" in request.headers else "pages/auth/login.html"
    response = render(template, context, status_of(error))
    if isinstance(error, TooManyRequests):
        response.headers["Retry-After"] = str(error.retry_after_s)
    return response


def _keep(response: Response, settings: CurrentSettings, login: Login) -> None:
    set_session_cookie(response, settings, login.session.token, login.session.max_age_s if login.remember else None)


def _go(request: Request, address: str) -> Response:
    if "hx-request" in request.headers:
        return Response(headers={"HX-Redirect": address, "Cache-Control": "no-store"})
    return RedirectResponse(address, HTTPStatus.SEE_OTHER)


@router.get("/app/register")
async def register_page(form_token: FormToken) -> Response:
    """The form for a new account."""
    return render("pages/auth/register.html", {"problem": None, "email": "", "name": "", "csrf_token": form_token})


@router.post("/app/register")
async def register(
    *,
    request: Request,
    accounts: CurrentAccounts,
    settings: CurrentSettings,
    form_token: FormToken,
    email: Annotated[str, Form(max_length=320)] = "",
    password: Annotated[str, Form(max_length=4096)] = "",
    name: Annotated[str, Form(max_length=100)] = "",
) -> Response:
    """Create the account and sign in with it."""
    address = client_address(request)
    try:
        await accounts.register(email, password, name or None, address=address)
    except RequestError as error:
        problem = {"title": str(error), "text": ""}
        context = {"problem": problem, "email": email, "name": name, "csrf_token": form_token}
        return render("pages/auth/register.html", context, status_of(error))
    login = await accounts.log_in(email, password, address=address, replaces=session_token(request))
    response = RedirectResponse("/app/organizations", HTTPStatus.SEE_OTHER)
    _keep(response, settings, login)
    return response


@router.post("/app/logout")
async def log_out(identity: CurrentIdentity, accounts: CurrentAccounts, settings: CurrentSettings) -> Response:
    """End the session; its cookie is of no use from now on."""
    await accounts.log_out(identity)
    response = RedirectResponse("/app/login", HTTPStatus.SEE_OTHER)
    clear_session_cookie(response, settings)
    return response
