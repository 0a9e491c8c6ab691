"""Windows of an organization in which retention removes nothing, such as a batch under review. Never deleted."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from lms_cloud.kernel.database import UnitOfWork
from lms_cloud.kernel.errors import Invalid, NotFound

_LOCK = text("""
insert into locked_windows (organization_id, bioreactor_id, from_at, to_at, reason)
values (:organization_id, :bioreactor_id, :from_at, :to_at, :reason) returning id
""")
_UNLOCK = text("update locked_windows set unlocked_at = now() where id = :id and unlocked_at is null")
_LOCKED = text("""
select w.id, b.properties ->> 'wire_id' as bioreactor, w.from_at, w.to_at, w.reason, w.locked_at
from locked_windows w left join entities b on b.id = w.bioreactor_id where w.unlocked_at is null order by w.id
""")


async def lock_window(
    uow: UnitOfWork, bioreactor_id: UUID | None, from_at: datetime, to_at: datetime, reason: str
) -> int:
    """Lock a window of a bioreactor, or of all (None); its number.

    Raises:
        Invalid: the window ends before it begins, or the reason is empty.
    """
    if from_at >= to_at:
        raise Invalid("start", from_at.isoformat(), f"a time before the end, {to_at.isoformat()}")
    if not reason.strip():
        raise Invalid("reason", reason, "a sentence that says why")
    values = {"organization_id": uow.organization_id, "bioreactor_id": bioreactor_id, "reason": reason.strip()}
    result = await uow.session.execute(_LOCK, {**values, "from_at": from_at, "to_at": to_at})
    return int(result.scalar_one())


async def unlock_window(uow: UnitOfWork, number: int) -> None:
    """Unlock a window.

    Raises:
        NotFound: the organization has no window of that number that is locked.
    """
    if (await uow.session.execute(_UNLOCK, {"id": number})).rowcount == 0:  # type: ignore[attr-defined]
        raise NotFound("locked window", number)


async def locked_windows(uow: UnitOfWork) -> list[dict[str, Any]]:
    """The windows that are locked now."""
    return [dict(row) for row in (await uow.session.execute(_LOCKED)).mappings()]
