"""Users as such: create, find, disable. Used by accounts/service.py and by the command line."""

import re
from uuid import uuid4

import structlog
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from lms_cloud.accounts.models import Password, Session, User
from lms_cloud.accounts.password_rules import check_password
from lms_cloud.accounts.passwords import PasswordHasher
from lms_cloud.kernel.database import Database
from lms_cloud.kernel.entities import check_name
from lms_cloud.kernel.errors import Conflict, Invalid, NotFound

_EMAIL = re.compile(r"[^\s@<>()\[\],;:\\\"\x00-\x1f\x7f]{1,64}@(?=.{1,253}$)[\w-]{1,63}(\.[\w-]{1,63})*")
_log = structlog.get_logger(__name__)


class Users:
    """Everyone who can log in, whatever the organization."""

    def __init__(self, database: Database, hasher: PasswordHasher) -> None:
        self._database = database
        self._hasher = hasher

    async def create(self, email: str, password: str, name: str | None = None) -> User:
        """Create a user, who belongs to no organization yet.

        Args:
            email: unique; case does not matter.
            password: by the rules of accounts/password_rules.py.
            name: as shown to others.

        Raises:
            Invalid: a field is not allowed.
            Conflict: there is a user with that address.
        """
        email = normalize_email(email)
        name = None if name is None or not name.strip() else check_name(name)
        check_password(password, context=password_context(email, name))
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
        _log.info("user_created", user_id=str(user.id))
        return user

    async def find(self, email: str) -> User | None:
        """The user with that address; None where there is none."""
        email = email.strip().lower()
        async with self._database.unit_of_work(None, login_email=email) as uow:
            return (await uow.session.scalars(select(User).where(User.email == email))).one_or_none()

    async def stored_password(self, email: str) -> str | None:
        """The hash of that user's password; None where there is no such user."""
        query = select(Password.hash).join(User, User.id == Password.user_id).where(User.email == email)
        async with self._database.unit_of_work(None, login_email=email) as uow:
            return (await uow.session.scalars(query)).one_or_none()

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
                await uow.session.execute(delete(Session).where(Session.user_id == user.id))
        _log.info("user_enabled" if active else "user_disabled", user_id=str(user.id))
        return user


def normalize_email(email: str) -> str:
    """`email` in lower case, without blanks around it.

    Raises:
        Invalid: it is not an address. Addresses of local networks (`ana@lab.local`) are.
    """
    email = email.strip().lower()
    if _EMAIL.fullmatch(email) is None:
        raise Invalid("email", email[:100], "an address such as ana@example.org")
    return email


def password_context(email: str, name: str | None) -> list[str]:
    """The words that are guessed first for this user's password."""
    return [email, *email.split("@"), name or ""]
