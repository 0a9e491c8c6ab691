"""Takes marks and computes exactly those minutes anew, then the hours and days that they lie in, in one transaction.

Before it: `marks`, written by every commit. After it: the relations `rollup_1m`, `rollup_1h` and `rollup_1d`. Several
refreshers may run at once, one in each ingest worker and one at the command line: a lock for each bioreactor keeps two
from writing the same bucket, where the one that read earlier could write later. One that dies leaves its marks.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from lms_cloud.kernel.database import Database, UnitOfWork
from lms_cloud.telemetry.storage.rollups import queries
from lms_cloud.telemetry.storage.rollups.choosing import Waiting, choose, cut

POLL_S: Final = 5.0
SERIES_MINUTES: Final = 30_000
"""Most of one transaction: at 1 Hz, 1.8 million readings."""
BIOREACTORS: Final = 1_000
FRESH_S: Final = 600.0
"""What was marked in so many seconds goes before what has waited for longer."""
SET_ASIDE_S: Final = 600.0
REST: Final = 1.0
"""Rest after work, in parts of the time that the work took: late data does not starve what is live."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What one transaction did.

    Attributes:
        bioreactors: how many had marks.
        series_minutes: how many minutes were computed anew, counted for each series.
        more: whether it had to leave marks for the next.
    """

    bioreactors: int = 0
    series_minutes: int = 0
    more: bool = False


async def refresh(
    uow: UnitOfWork,
    *,
    at_once: bool = False,
    without: Iterable[UUID] = (),
    most: int = BIOREACTORS,
    series_minutes: int = SERIES_MINUTES,
) -> Refreshed:
    """Compute rollups anew for marks of the series that `uow` sees; they are gone when it commits.

    Args:
        uow: its transaction must not have read anything that it could have to read again: READ COMMITTED.
        at_once: also minutes that are still running.
        without: bioreactors to leave alone.
        most: most bioreactors.
        series_minutes: about how much to compute.
    """
    values = {"at_once": at_once, "without": list(without), "most": most}
    bioreactors = list((await uow.session.execute(queries.LOCK_DUE, values)).scalars())
    if not bioreactors:
        return Refreshed()
    found = await uow.session.execute(
        queries.TAKE_MARKS, {"bioreactors": bioreactors, "at_once": at_once, "fresh_s": FRESH_S}
    )
    marks = [Waiting(row.bioreactor_id, row.marked_at, row.first, row.last, row.series, row.fresh) for row in found]
    now, later = choose(marks, int(uow.now().timestamp() // 60), series_minutes)
    if now:
        await uow.session.execute(queries.UNBOUNDED)
        await _compute(uow, now)
    if later:
        await uow.session.execute(queries.PUT_BACK, {**_columns(later), "marked_at": [m.marked_at for m in later]})
    more = bool(later) or len(bioreactors) == most
    return Refreshed(len(bioreactors), sum(each.series_minutes for each in now), more)


async def _compute(uow: UnitOfWork, marks: Sequence[Waiting]) -> None:
    """Compute the marked minutes anew; late readings of removed pieces are added to what the rollups hold."""
    span = {"first": min(mark.first for mark in marks), "last": max(mark.last for mark in marks)}
    removed = [(row.first, row.last) for row in await uow.session.execute(queries.REMOVED, span)]
    inside, whole = cut(marks, removed)
    for part in inside:
        values = {"bioreactor_id": part.bioreactor_id, "first": part.first, "last": part.last}
        await uow.session.execute(queries.FOLD, values)
    if whole:
        columns = _columns(whole)
        for statement in (queries.COMPUTE_MINUTES, queries.COMPUTE_HOURS, queries.COMPUTE_DAYS):
            await uow.session.execute(statement, columns)


async def waiting(uow: UnitOfWork) -> int:
    """How many marks wait, of the series that `uow` sees."""
    return int((await uow.session.execute(queries.WAITING)).one().marks)


def _columns(marks: list[Waiting]) -> dict[str, object]:
    return {
        "bioreactors": [mark.bioreactor_id for mark in marks],
        "first": [mark.first for mark in marks],
        "last": [mark.last for mark in marks],
    }


class Refresher:
    """Keeps the rollups right while the ingest worker runs.

    Args:
        database: as `lms_ingest`, which sees the series of all organizations.
        monotonic_s: tells durations.
    """

    def __init__(self, database: Database, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._monotonic_s = monotonic_s
        self._set_aside: dict[UUID, float] = {}

    async def run(self) -> None:
        """Refresh every few seconds, until cancelled. While the database is away, wait."""
        while True:
            try:
                pause_s = await self._round()
            except (DBAPIError, PoolTimeout, OSError) as error:
                _log.warning("rollups could not be refreshed; trying again", why=" ".join(str(error).split()))
                pause_s = POLL_S
            await asyncio.sleep(pause_s)

    async def _round(self) -> float:
        """One transaction; how long to rest after it."""
        began_s = self._monotonic_s()
        self._set_aside = {id_: until for id_, until in self._set_aside.items() if until > began_s}
        try:
            async with self._scope() as uow:
                done = await refresh(uow, without=self._set_aside)
        except DBAPIError as error:
            if error.connection_invalidated or not await self._one_by_one():
                raise
            done = Refreshed()
        took_s = self._monotonic_s() - began_s
        return took_s * REST if done.more else max(POLL_S, took_s * REST)

    async def _one_by_one(self) -> bool:
        """Refresh each bioreactor alone, and set aside for a while those that fail; False if none could be done."""
        tried = set(self._set_aside)
        succeeded = False
        while True:
            async with self._scope() as uow:
                values = {"at_once": False, "without": list(tried), "most": 1}
                found = (await uow.session.execute(queries.LOCK_DUE, values)).scalar_one_or_none()
            if found is None:
                return succeeded
            tried.add(found)
            try:
                async with self._scope() as uow:
                    await refresh(uow, without=tried - {found}, most=1)
                succeeded = True
            except DBAPIError as error:
                if error.connection_invalidated:
                    raise
                self._set_aside[found] = self._monotonic_s() + SET_ASIDE_S
                _log.error("rollups of a bioreactor cannot be computed", bioreactor=str(found), why=str(error.orig))

    def _scope(self) -> "AbstractAsyncContextManager[UnitOfWork]":
        return self._database.unit_of_work(None)
