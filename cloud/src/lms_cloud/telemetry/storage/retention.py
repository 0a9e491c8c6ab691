"""Retention: how long readings and rollups are kept, and removing what is older, in whole pieces.

Kept for ever unless the deployment says otherwise. What may be removed is decided in the database, by `remove_piece`
(migrations/versions/0008_retention.py): nothing that is not in every rollup yet, nothing that a locked window touches,
nothing younger than 30 days, and no rollup before what it was computed from. Every removal is a row of
`storage_removals`. Run by the ingest worker, and by `lms-cloud storage retention run`.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from lms_cloud.kernel.database import Database, UnitOfWork
from lms_cloud.kernel.settings import CloudSettings

EVERY_S: Final = 3_600.0
RELATIONS: Final = (
    ("readings", "readings"),
    ("readings_text", "readings"),
    ("rollup_1m", "rollup_1m"),
    ("rollup_1h", "rollup_1h"),
)
"""Each relation that has pieces, and the level that it belongs to."""

_log = structlog.get_logger(__name__)

_DUE = text("""
select level, from_at, to_at, keep_days
from storage_pieces() join unnest(
    cast(:relations as text[]), cast(:levels as text[]), cast(:keep_days as integer[])
) as kept (name, level, keep_days) on kept.name = relation
where to_at <= now() - make_interval(days => keep_days)
group by level, from_at, to_at, keep_days
order by array_position(array['readings', 'rollup_1m', 'rollup_1h'], level), from_at
""")
_REMOVE = text("select remove_piece(:level, :from_at, :to_at, :keep_days)")
_REMOVALS = text("""
select at, level, from_at, to_at, readings, bytes, keep_days, reason, by from storage_removals
order by id desc limit :most
""")


class DuePiece(NamedTuple):
    """A piece that is older than it is to be kept."""

    level: str
    from_at: datetime
    to_at: datetime
    keep_days: int


@dataclass(frozen=True, slots=True)
class KeepingRule:
    """How many days each level is kept after a piece of it has ended; None: for ever. Days are kept for ever."""

    readings_days: int | None = None
    minutes_days: int | None = None
    hours_days: int | None = None

    @classmethod
    def from_settings(cls, settings: CloudSettings) -> "KeepingRule":
        """What the deployment says."""
        return cls(settings.keep_raw_days, settings.keep_1m_days, settings.keep_1h_days)

    def by_level(self) -> dict[str, int]:
        """Days by level, of those that are not kept for ever."""
        days = {"readings": self.readings_days, "rollup_1m": self.minutes_days, "rollup_1h": self.hours_days}
        return {level: kept for level, kept in days.items() if kept is not None}


async def due_pieces(uow: UnitOfWork, rule: KeepingRule) -> list[DuePiece]:
    """The pieces that are older than `rule` keeps them, what others are computed from first."""
    kept = rule.by_level()
    relations = [(name, level) for name, level in RELATIONS if level in kept]
    if not relations:
        return []
    values = {
        "relations": [name for name, _ in relations],
        "levels": [level for _, level in relations],
        "keep_days": [kept[level] for _, level in relations],
    }
    found = await uow.session.execute(_DUE, values)
    return [DuePiece(*row) for row in found]


async def remove(uow: UnitOfWork, piece: DuePiece) -> str | None:
    """Drop a piece; None, or why it stays."""
    return (await uow.session.execute(_REMOVE, piece._asdict())).scalar_one()  # type: ignore[no-any-return]  # text


async def removals(uow: UnitOfWork, most: int) -> list[dict[str, Any]]:
    """What was removed, the newest first."""
    return [dict(row) for row in (await uow.session.execute(_REMOVALS, {"most": most})).mappings()]


class Retention:
    """Removes what is due, once an hour, while the ingest worker runs.

    Args:
        database: as `lms_ingest`.
        rule: how long what is kept.
    """

    def __init__(self, database: Database, rule: KeepingRule) -> None:
        self._database = database
        self._rule = rule

    async def run(self) -> None:
        """Work until cancelled; ends at once where everything is kept for ever."""
        while self._rule.by_level():
            try:
                await self.once()
            except (DBAPIError, PoolTimeout, OSError) as error:
                _log.warning("retention failed; trying again in an hour", why=" ".join(str(error).split()))
            await asyncio.sleep(EVERY_S)

    async def once(self) -> list[tuple[DuePiece, str | None]]:
        """Remove what is due, each piece in a transaction of its own; with why it stays, where it does."""
        async with self._database.unit_of_work(None) as uow:
            pieces = await due_pieces(uow, self._rule)
        done: list[tuple[DuePiece, str | None]] = []
        for piece in pieces:
            async with self._database.unit_of_work(None) as uow:
                why = await remove(uow, piece)
            done.append((piece, why))
            words = {"level": piece.level, "start": piece.from_at.isoformat(), "end": piece.to_at.isoformat()}
            if why is None:
                _log.info("removed by retention", **words, keep_days=piece.keep_days)
            else:
                _log.warning("retention leaves a piece that is due", **words, why=why)
        return done
