"""What can be done with accounts: register, log in both ways, change a password, disable. Knows no HTTP.

`Accounts` is made once per process (web/app.py) because it holds the throttle's counts and the hasher's threads.
"""

import re
from dataclasses import dataclass
from uuid import uuid4

import structlog
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from lms_cloud.accounts.identity import Identity
from lms_cloud.accounts.models import Password, User
from lms_cloud.accounts.password_rules import MAX_LENGTH, check_password
from lms_cloud.accounts.passwords import PasswordHasher
from lms_cloud.accounts.sessions import NewSession, Sessions
from lms_cloud.accounts.throttle import Throttle
from lms_cloud.accounts.tokens import AccessTokens
from lms_cloud.kernel.database import Database
from lms_cloud.kernel.entities import check_name
from lms_cloud.kernel.errors import Conflict, Invalid, NotFound, Unauthenticated
from lms_cloud.kernel.settings import CloudSettings

_EMAIL = re.compile(r"[^\s@<>()\[\],;:\\\"\x00-\x1f\x7f]{1,64}@(?=.{1,253}$)[\w-]{1,63}(\.[\w-]{1,63})*")
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Login:
    """A login that succeeded: the same session behind a cookie and behind an access token.

    Attributes:
        session: its token goes into the cookie.
        remember: the cookie outlives the browser.
        access_token: for API clients; valid for `expires_in_s`.
    """

    user: User
    session: NewSession
    remember: bool
    access_token: str
    expires_in_s: int


class Accounts:
    """Users and their logins."""

    def __init__(self, database: Database, settings: CloudSettings, *, hasher: PasswordHasher | None = None) -> None:
        self._database = database
        self._hasher = hasher or PasswordHasher()
        self._throttle = Throttle()
        self._tokens = AccessTokens(settings, database.clock)
        self.sessions = Sessions(database, settings)

    async def warm_up(self) -> None:
        """Do what would make the first login slower than the others."""
        await self._hasher.warm_up()

    async def register(self, email: str, password: str, name: str | None = None, *, address: str | None = None) -> User:
        """Create a user, who belongs to no organization yet.

        Args:
            email: unique; case does not matter.
            password: by the rules of accounts/password_rules.py.
            name: as shown to others.
            address: of who asks, for the throttle; None for the operator.

        Raises:
            Invalid: a field is not allowed.
            Conflict: there is a user with that address.
            TooManyRequests: too many registrations from `address`.
        """
        email = normalize_email(email)
        name = None if name is None or not name.strip() else check_name(name)
        check_password(password, context=[*re.split(r"[@.]", email), email, name or ""])
        if address is not None:
            self._throttle.register(address)
        stored = await self._hasher.hash(password)
        now = self._database.clock.now()
        user = User(id=uuid4(), email=email, name=name, is_active=True, created_at=now, updated_at=now)
        try:
            async with self._database.unit_of_work(None, user.id, login_email=email) as uow:
                uow.session.add(user)
                await uow.session.flush()
                uow.session.add(Password(user_id=user.id, hash=stored, changed_at=now))
        except IntegrityError as error:
            raise Conflict("user", email, "is registered already; log in, or choose another address") from error
        _log.info("user_registered", user_id=str(user.id))
        return user

    async def log_in(
        self, email: str, password: str, *, remember: bool = False, address: str, replaces: str | None = None
    ) -> Login:
        """Check address and password, and begin a session.

        Args:
            email: as typed.
            password: as typed.
            remember: keep the session for weeks.
            address: the client's, for the throttle.
            replaces: the session token that the browser sent, which is of no use from now on.

        Raises:
            Unauthenticated: wrong password, no such user, or disabled; the same for all, after the same time.
            TooManyRequests: too many attempts at this account from this address.
        """
        email = email.strip().lower()
        self._throttle.log_in(email[:320], address)
        stored = await self._stored_password(email)
        matches = len(password) <= MAX_LENGTH * 4 and await self._hasher.verify(password, stored)
        user = await self._active_user(email) if matches else None
        if user is None:
            _log.info("login_refused", address=address)
            raise Unauthenticated("The address or the password is wrong")
        self._throttle.logged_in(email[:320], address)
        async with self._database.unit_of_work(None, user.id) as uow:
            session = await self.sessions.begin(uow, user.id, remember=remember, replaces=replaces)
        _log.info("logged_in", user_id=str(user.id), address=address)
        token = self._tokens.issue(user.id, session.id)
        return Login(user, session, remember, token, self._tokens.lifetime_s)

    async def identify_token(self, token: str) -> Identity:
        """Who an access token speaks for.

        Raises:
            Unauthenticated: it is not valid, or its session has ended.
        """
        claims = self._tokens.read(token)
        return await self.sessions.by_id(claims.session_id, claims.user_id)

    async def log_out(self, identity: Identity) -> None:
        """End the session behind `identity`, with its cookie and its access tokens."""
        await self.sessions.end(identity)
        _log.info("logged_out", user_id=str(identity.user_id))

    async def change_password(
        self, identity: Identity, old: str, new: str, *, address: str, end_others: bool, context: list[str]
    ) -> int:
        """Change the user's own password. Returns how many other sessions were ended.

        Args:
            identity: whose.
            old: the present password.
            new: the one from now on.
            address: the client's, for the throttle.
            end_others: end the user's other sessions.
            context: further words that the password may not be made of, such as organizations' names.

        Raises:
            Invalid: the old one is wrong, or the new one is not allowed.
            TooManyRequests: too many attempts.
        """
        self._throttle.log_in(identity.email, address)
        if not await self._hasher.verify(old, await self._stored_password(identity.email)):
            raise Invalid("old_password", "(not shown)", "the present password")
        self._throttle.logged_in(identity.email, address)
        own = [*re.split(r"[@.]", identity.email), identity.name or "", *context]
        check_password(new, context=own, field="new_password")
        stored = await self._hasher.hash(new)
        async with self._database.unit_of_work(None, identity.user_id) as uow:
            password = await uow.session.get_one(Password, identity.user_id)
            password.hash = stored
            password.changed_at = uow.now()
            return await self.sessions.end_all(uow, identity.user_id, but=identity.session_id) if end_others else 0

    async def set_active(self, email: str, *, active: bool) -> User:
        """Disable a user, which ends every session at once, or enable it again.

        Raises:
            NotFound: there is no such user.
        """
        email = normalize_email(email)
        async with self._database.unit_of_work(None, login_email=email) as uow:
            user = (await uow.session.scalars(select(User).where(User.email == email))).one_or_none()
            if user is None:
                raise NotFound("user", email)
            await uow.enter_user(user.id)
            user.is_active = active
            user.updated_at = uow.now()
            if not active:
                await self.sessions.end_all(uow, user.id)
        return user

    async def find(self, email: str) -> User | None:
        """The user with that address; None where there is none."""
        return await self._user(email.strip().lower())

    async def _stored_password(self, email: str) -> str | None:
        query = select(Password.hash).join(User, User.id == Password.user_id).where(User.email == email)
        async with self._database.unit_of_work(None, login_email=email) as uow:
            return (await uow.session.scalars(query)).one_or_none()

    async def _active_user(self, email: str) -> User | None:
        user = await self._user(email)
        return user if user is not None and user.is_active else None

    async def _user(self, email: str) -> User | None:
        async with self._database.unit_of_work(None, login_email=email) as uow:
            return (await uow.session.scalars(select(User).where(User.email == email))).one_or_none()


def normalize_email(email: str) -> str:
    """`email` in lower case, without blanks around it.

    Raises:
        Invalid: it is not an address. Addresses of local networks (`ana@lab.local`) are.
    """
    email = email.strip().lower()
    if _EMAIL.fullmatch(email) is None:
        raise Invalid("email", email[:100], "an address such as ana@example.org")
    return email
