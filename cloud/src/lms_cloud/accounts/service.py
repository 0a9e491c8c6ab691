"""What can be done with accounts: register, log in both ways, change a password, disable. Knows no HTTP.

`Accounts` is made once per process (web/app.py) because it holds the throttle's counts and the hasher's threads.
"""

from dataclasses import dataclass

import structlog
from sqlalchemy import select

from lms_cloud.accounts.identity import Identity
from lms_cloud.accounts.models import Password, User
from lms_cloud.accounts.password_rules import MAX_LENGTH, check_password
from lms_cloud.accounts.passwords import PasswordHasher
from lms_cloud.accounts.sessions import NewSession, Sessions
from lms_cloud.accounts.throttle import Throttle
from lms_cloud.accounts.tokens import AccessTokens
from lms_cloud.accounts.users import Users, password_context
from lms_cloud.kernel.database import Database
from lms_cloud.kernel.entities import Entity
from lms_cloud.kernel.errors import Invalid, Unauthenticated
from lms_cloud.kernel.settings import CloudSettings

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
        self.users = Users(database, self._hasher)
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
        if address is not None:
            self._throttle.register(address)
        return await self.users.create(email, password, name)

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
        stored = await self.users.stored_password(email)
        matches = len(password) <= MAX_LENGTH * 4 and await self._hasher.verify(password, stored)
        user = await self.users.find(email) if matches else None
        if user is None or not user.is_active:
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

    async def change_password(self, identity: Identity, old: str, new: str, *, address: str, end_others: bool) -> int:
        """Change the user's own password. Returns how many other sessions were ended.

        Args:
            identity: whose.
            old: the present password.
            new: the one from now on.
            address: the client's, for the throttle.
            end_others: end the user's other sessions.

        Raises:
            Invalid: the old one is wrong, or the new one is not allowed.
            TooManyRequests: too many attempts.
        """
        self._throttle.log_in(identity.email, address)
        stored = await self.users.stored_password(identity.email)
        if not await self._hasher.verify(old, stored):
            raise Invalid("old_password", "(not shown)", "the present password")
        self._throttle.logged_in(identity.email, address)
        context = [*password_context(identity.email, identity.name), *await self._organization_names(identity)]
        check_password(new, context=context, field="new_password")
        stored = await self._hasher.hash(new)
        async with self._database.unit_of_work(None, identity.user_id) as uow:
            password = await uow.session.get_one(Password, identity.user_id)
            password.hash = stored
            password.changed_at = uow.now()
            return await self.sessions.end_all(uow, identity.user_id, but=identity.session_id) if end_others else 0

    async def _organization_names(self, identity: Identity) -> list[str]:
        query = select(Entity.name).where(Entity.entity_type == "organization")
        async with self._database.unit_of_work(None, identity.user_id) as uow:
            return list(await uow.session.scalars(query))
