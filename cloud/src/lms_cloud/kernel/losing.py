"""Going back to a former migration loses nothing unless the operator says so.

Used by the downgrades in migrations/versions, before they drop anything; `go_back` of kernel/migrating.py says whether
the operator does.
"""

from typing import Final, NamedTuple

from alembic import context, op
from sqlalchemy import text

from lms_cloud.kernel.errors import DatabaseSetupError

MAY_LOSE: Final = "lose_data"
"""Of Alembic's configuration: attribute that says that losses are meant."""

_FORCED = text("select relforcerowsecurity from pg_class where oid = cast(:table as regclass)")


class Loss(NamedTuple):
    """What a downgrade would lose.

    Attributes:
        what: in words, to go on with "would lose …".
        table: in which it lies.
        condition: SQL: which of its rows (`r`) hold it.
    """

    what: str
    table: str
    condition: str = "true"


def refuse_to_lose(revision: str, *losses: Loss) -> None:
    """Refuse a downgrade below `revision` that would lose something that is there.

    Raises:
        DatabaseSetupError: it would, and nobody said that it may; names what.
    """
    if context.config.attributes.get(MAY_LOSE):
        return
    lost = [loss.what for loss in losses if _is_there(loss)]
    if lost:
        raise DatabaseSetupError(
            f"Going back below {revision} would lose {'; '.join(lost)}. Nothing is changed",
            "Make a backup, then say `--lose-data` if it may be lost",
        )


def _is_there(loss: Loss) -> bool:
    """Row security is forced on the owner too: for this once, he has to see every organization's rows."""
    connection = op.get_bind()
    forced = connection.execute(_FORCED, {"table": loss.table}).scalar_one()
    if forced:
        op.execute(f"alter table {loss.table} no force row level security")
    asked = f"select exists (select from {loss.table} r where {loss.condition})"  # noqa: S608 - constants
    found = bool(connection.execute(text(asked)).scalar_one())
    if forced:
        op.execute(f"alter table {loss.table} force row level security")
    return found
