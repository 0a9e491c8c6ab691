"""Sessions on the server: the browser has a random token, the database its hash, and ending one is deleting a row."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, and_, delete, select

from lms_cloud.accounts.identity import Identity
from lms_cloud.accounts.models import Membership, Session, User
from lms_cloud.accounts.roles import Role
from lms_cloud.kernel.database import Database, UnitOfWork
from lms_cloud.kernel.errors import Unauthenticated
from lms_cloud.kernel.settings import CloudSettings

_SEEN_STEP = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session that was just begun; the only moment when its token is known here."""

    id: UUID
    token: str
    max_age_s: int


def hash_token(token: str) -> bytes:
    """What the database keeps of a token: it has 256 random bits, so one fast hash is enough."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


class Sessions:
    """Begins, recognizes and ends sessions."""

    def __init__(self, database: Database, settings: CloudSettings) -> None:
        self._database = database
        self._settings = settings

    async def begin(self, uow: UnitOfWork, user_id: UUID, *, remember: bool, replaces: str | None = None) -> NewSession:
        """Begin a session of `user_id`, whose own rows `uow` sees, and clear away the user's ended ones.

        Args:
            uow: a unit of work that has entered the user.
            user_id: who logged in.
            remember: keep it for weeks rather than for a working day.
            replaces: the token that the browser had before; whatever it meant, it means nothing from now on.
        """
        now = uow.now()
        absolute_h = self._settings.session_remembered_h if remember else self._settings.session_absolute_h
        idle_h = self._settings.session_remembered_h if remember else self._settings.session_idle_h
        ended = and_(Session.user_id == user_id, Session.expires_at <= now)
        await uow.session.execute(delete(Session).where(ended))
        if replaces is not None:
            await uow.session.execute(delete(Session).where(Session.token_hash == hash_token(replaces)))
        token = secrets.token_urlsafe(32)
        session = Session(
            id=uuid4(),
            token_hash=hash_token(token),
            user_id=user_id,
            created_at=now,
            seen_at=now,
            idle_s=int(idle_h * 3600),
            expires_at=now + timedelta(hours=absolute_h),
        )
        uow.session.add(session)
        await uow.session.flush()
        return NewSession(session.id, token, int(absolute_h * 3600))

    async def by_token(self, token: str) -> Identity:
        """Who the browser with `token` is.

        Raises:
            Unauthenticated: there is no such session, it has ended, or its user is disabled.
        """
        token_hash = hash_token(token)
        async with self._database.unit_of_work(None, session_hash=token_hash) as uow:
            query = select(Session.user_id).where(Session.token_hash == token_hash)
            user_id = (await uow.session.scalars(query)).one_or_none()
            if user_id is None:
                raise Unauthenticated
            await uow.enter_user(user_id)
            return await self._identify(uow, Session.token_hash == token_hash, through_cookie=True)

    async def by_id(self, session_id: UUID, user_id: UUID) -> Identity:
        """Who an access token speaks for.

        Raises:
            Unauthenticated: as `by_token`.
        """
        async with self._database.unit_of_work(None, user_id) as uow:
            own = and_(Session.id == session_id, Session.user_id == user_id)
            return await self._identify(uow, own, through_cookie=False)

    async def end(self, identity: Identity) -> None:
        """End the session behind `identity`, and every access token that hangs on it."""
        async with self._database.unit_of_work(None, identity.user_id) as uow:
            await uow.session.execute(delete(Session).where(Session.id == identity.session_id))

    async def end_all(self, uow: UnitOfWork, user_id: UUID, *, but: UUID | None = None) -> int:
        """End all sessions of `user_id`, whose own rows `uow` sees, but one. Returns how many ended."""
        query = delete(Session).where(Session.user_id == user_id)
        if but is not None:
            query = query.where(Session.id != but)
        result = await uow.session.execute(query.returning(Session.id))
        return len(result.all())

    async def _identify(self, uow: UnitOfWork, which: ColumnElement[bool], *, through_cookie: bool) -> Identity:
        query = (
            select(Session, User, Membership.role)
            .join(User, User.id == Session.user_id)
            .outerjoin(
                Membership,
                and_(Membership.user_id == User.id, Membership.organization_id == User.organization_id),
            )
            .where(which)
        )
        row = (await uow.session.execute(query)).one_or_none()
        if row is None:
            raise Unauthenticated
        session, user = row[0], row[1]
        role: str | None = row[2]  # of an outer join
        now = uow.now()
        if not user.is_active:
            raise Unauthenticated
        if now >= session.expires_at or now >= session.seen_at + timedelta(seconds=session.idle_s):
            raise Unauthenticated
        if now >= session.seen_at + _SEEN_STEP:
            session.seen_at = now
        return Identity(
            user_id=user.id,
            email=user.email,
            name=user.name,
            organization_id=user.organization_id if role is not None else None,
            role=None if role is None else Role(role),
            session_id=session.id,
            through_cookie=through_cookie,
        )
