"""REST of accounts: `/auth/…`, and the same under `/api/v1`."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from lms_cloud.accounts.cookies import clear_session_cookie, session_token, set_session_cookie
from lms_cloud.accounts.dependencies import (
    CurrentAccounts,
    CurrentIdentity,
    CurrentSettings,
    client_address,
)
from lms_cloud.accounts.form_tokens import form_token
from lms_cloud.accounts.models import User
from lms_cloud.accounts.roles import Role


class Credentials(BaseModel):
    """What a login needs."""

    model_config = ConfigDict(extra="forbid")

    email: str = Field(max_length=320)
    password: SecretStr = Field(max_length=4096)
    remember_me: bool = False


class Registration(BaseModel):
    """What a new user gives."""

    model_config = ConfigDict(extra="forbid")

    email: str = Field(max_length=320)
    password: SecretStr = Field(max_length=4096)
    name: str | None = Field(None, max_length=100)


class PasswordChange(BaseModel):
    """The present password and the one from now on."""

    model_config = ConfigDict(extra="forbid")

    old_password: SecretStr = Field(max_length=4096)
    new_password: SecretStr = Field(max_length=4096)
    end_other_sessions: bool = True


class UserAnswer(BaseModel):
    """A user, as others and the user may see it."""

    id: UUID
    email: str
    name: str | None
    is_active: bool
    created_at: datetime
    updated_at: datetime
    organization_id: UUID | None

    @classmethod
    def of(cls, user: User) -> "UserAnswer":
        """The fields of `user` that leave the server."""
        return cls.model_validate(user, from_attributes=True)


class LoginAnswer(BaseModel):
    """An access token and whose it is."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - RFC 6750's word
    expires_in: int = Field(description="Seconds that the access token is valid.")
    user: UserAnswer


class IdentityAnswer(BaseModel):
    """Who is asking."""

    user_id: UUID
    email: str
    name: str | None
    organization_id: UUID | None
    role: Role | None


class PasswordChanged(BaseModel):
    """What a change of password did."""

    sessions_ended: int


auth = APIRouter(prefix="/auth", tags=["accounts"])


@auth.post("/login")
async def log_in(
    credentials: Credentials,
    request: Request,
    response: Response,
    accounts: CurrentAccounts,
    settings: CurrentSettings,
) -> LoginAnswer:
    """Log in: gives an access token for API clients, and sets the session cookie for browsers.

    A script that goes on with the cookie sends the header `X-CSRF-Token` of this answer with its unsafe requests.
    """
    login = await accounts.log_in(
        credentials.email,
        credentials.password.get_secret_value(),
        remember=credentials.remember_me,
        address=client_address(request),
        replaces=session_token(request),
    )
    set_session_cookie(response, settings, login.session.token, login.session.max_age_s if login.remember else None)
    response.headers["X-CSRF-Token"] = form_token(settings, login.session.token)
    return LoginAnswer(access_token=login.access_token, expires_in=login.expires_in_s, user=UserAnswer.of(login.user))


@auth.post("/register", status_code=201)
async def register(registration: Registration, request: Request, accounts: CurrentAccounts) -> UserAnswer:
    """Register: creates a user without an organization. Log in afterwards."""
    user = await accounts.register(
        registration.email,
        registration.password.get_secret_value(),
        registration.name,
        address=client_address(request),
    )
    return UserAnswer.of(user)


@auth.post("/logout", status_code=204)
async def log_out(identity: CurrentIdentity, accounts: CurrentAccounts, settings: CurrentSettings) -> Response:
    """End this session: its cookie and its access tokens are of no use from now on."""
    await accounts.log_out(identity)
    response = Response(status_code=204)
    clear_session_cookie(response, settings)
    return response


@auth.get("/me")
async def who_am_i(identity: CurrentIdentity) -> IdentityAnswer:
    """Who is logged in, in which organization, with which role."""
    return IdentityAnswer.model_validate(identity, from_attributes=True)


@auth.post("/password")
async def change_password(
    change: PasswordChange, identity: CurrentIdentity, request: Request, accounts: CurrentAccounts
) -> PasswordChanged:
    """Change the own password, and end the other sessions unless asked not to."""
    ended = await accounts.change_password(
        identity,
        change.old_password.get_secret_value(),
        change.new_password.get_secret_value(),
        address=client_address(request),
        end_others=change.end_other_sessions,
    )
    return PasswordChanged(sessions_ended=ended)


router = APIRouter()
router.include_router(auth)
router.include_router(auth, prefix="/api/v1")
