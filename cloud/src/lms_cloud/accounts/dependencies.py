"""What routes ask FastAPI for: who is asking, and a unit of work of that user's organization.

`create_app` puts `settings`, `database` and `accounts` on `app.state`; everything here comes from there.
"""

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, WebSocket
from starlette.requests import HTTPConnection

from lms_cloud.accounts.cookies import session_token
from lms_cloud.accounts.identity import Identity
from lms_cloud.accounts.roles import Role
from lms_cloud.accounts.service import Accounts
from lms_cloud.kernel.database import Database, UnitOfWork
from lms_cloud.kernel.errors import Unauthenticated
from lms_cloud.kernel.settings import LOCAL_HOSTS, CloudSettings


def get_settings(connection: HTTPConnection) -> CloudSettings:
    """The application's settings."""
    settings: CloudSettings = connection.app.state.settings
    return settings


def get_database(connection: HTTPConnection) -> Database:
    """The application's database."""
    database: Database = connection.app.state.database
    return database


def get_accounts(connection: HTTPConnection) -> Accounts:
    """The application's accounts."""
    accounts: Accounts = connection.app.state.accounts
    return accounts


def bearer_token(connection: HTTPConnection) -> str | None:
    """The token of the `Authorization: Bearer` header; None where there is no such header."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


async def current_identity(connection: HTTPConnection) -> Identity:
    """Who is asking, by access token or by cookie. The token wins where both are sent.

    Raises:
        Unauthenticated: neither is there, or what is there is not valid.
    """
    accounts = get_accounts(connection)
    token = bearer_token(connection)
    if token is not None:
        return await accounts.identify_token(token)
    cookie = session_token(connection)
    if cookie is None:
        raise Unauthenticated
    return await accounts.sessions.by_token(cookie)


async def optional_identity(connection: HTTPConnection) -> Identity | None:
    """Who is asking; None where nobody is logged in."""
    try:
        return await current_identity(connection)
    except Unauthenticated:
        return None


async def identify_websocket(websocket: WebSocket) -> Identity | None:
    """Who opens a WebSocket: by bearer header, by `?token=`, or by cookie if the page is ours. Call it before accept.

    Returns:
        None where nobody is logged in, or a cookie comes with a foreign Origin; refuse it then.
    """
    accounts = get_accounts(websocket)
    token = bearer_token(websocket) or websocket.query_params.get("token")
    try:
        if token is not None:
            return await accounts.identify_token(token)
        cookie = session_token(websocket)
        if cookie is None or not is_own_origin(websocket.headers.get("origin"), get_settings(websocket)):
            return None
        return await accounts.sessions.by_token(cookie)
    except Unauthenticated:
        return None


def is_own_origin(origin: str | None, settings: CloudSettings) -> bool:
    """Whether `origin` (the header) is the cloud's own address. 127.0.0.1 and localhost are the same place."""
    if origin is None:
        return False
    own, found = urlsplit(settings.public_url), urlsplit(origin)
    if found.scheme != own.scheme or found.netloc == "":
        return False
    try:
        same_port = found.port == own.port
    except ValueError:
        return False
    hosts = LOCAL_HOSTS if own.hostname in LOCAL_HOSTS else {own.hostname}
    return same_port and found.hostname in hosts


CurrentIdentity = Annotated[Identity, Depends(current_identity)]


async def unit_of_work(identity: CurrentIdentity, connection: HTTPConnection) -> AsyncIterator[UnitOfWork]:
    """One transaction of the user's organization, committed before the answer is sent."""
    async with get_database(connection).unit_of_work(identity.organization_id, identity.user_id) as uow:
        yield uow


CurrentUnitOfWork = Annotated[UnitOfWork, Depends(unit_of_work, scope="function")]
CurrentSettings = Annotated[CloudSettings, Depends(get_settings)]
CurrentAccounts = Annotated[Accounts, Depends(get_accounts)]


def require_role(role: Role, action: str) -> Callable[[Identity], Coroutine[Any, Any, Identity]]:
    """A dependency that lets only members with `role` or a greater one pass, as in "You may not {action}"."""

    async def check(identity: CurrentIdentity) -> Identity:
        identity.require(role, action)
        return identity

    return check


def client_address(connection: HTTPConnection) -> str:
    """The client's address as the server knows it; X-Forwarded-For counts only from LMS_TRUSTED_PROXIES."""
    return connection.client.host if connection.client else "unknown"
