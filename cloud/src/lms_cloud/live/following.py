"""Following one bioreactor for one browser: history first, then every commit, without hole or repetition at the seam.

It joins the live queue, then reads history in one snapshot, whose cursor says which commits are in it; messages up to
that cursor are dropped, the next one must say `previous` = that cursor. If one does not, or none comes for a while, or
the reader was too slow, the database fills what is missing. So the cursor never jumps over a commit.

Before it: `lms_cloud.live.hub`. After it: `lms_cloud.live.sockets`, which sends what is produced here.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from lms_protocol.topics import LiveTopic

from lms_cloud.kernel.database import Database
from lms_cloud.live.hub import LiveHub, Lost
from lms_cloud.live.messages import LiveMessage
from lms_cloud.telemetry.announcing import shown
from lms_cloud.telemetry.history.service import History, HistoryService
from lms_cloud.telemetry.history.shaping import SeriesHistory
from lms_cloud.telemetry.latest import BioreactorStatus, LatestService

ALIVE_S: Final = 15.0
"""After so long a silence the reader is told that the line is alive, and the cursor is compared with the database's."""
FUTURE: Final = timedelta(days=1)
"""Readings of clocks that are ahead by less than this belong to the present window."""

Send = Callable[[dict[str, Any]], Awaitable[None]]


class Following:
    """One bioreactor on one browser's view.

    Args:
        hub: gives the live messages, and the database.
        organization_id: whose bioreactor it is; row security lets nobody else's history out.
        topic: where its live messages are.
        window: how far back history goes.
        max_points: most points of history per tag.
        send: sends one message to the browser; waits while the browser is slow.
    """

    def __init__(
        self,
        hub: LiveHub,
        *,
        organization_id: UUID,
        bioreactor_id: UUID,
        topic: LiveTopic,
        window: timedelta,
        max_points: int,
        send: Send,
        alive_s: float = ALIVE_S,
    ) -> None:
        self._hub = hub
        self._database: Database = hub.database
        self._organization_id = organization_id
        self._bioreactor_id = bioreactor_id
        self._topic = topic
        self._window = window
        self._max_points = max_points
        self._send_message = send
        self._alive_s = alive_s
        self._cursor = 0
        self._ids: dict[str, str] = {}
        self._status: BioreactorStatus | None = None

    async def run(self, cursor: int | None) -> None:
        """Follow for ever.

        Args:
            cursor: of the last message that the browser has; None if it has nothing.

        Raises:
            sqlalchemy.exc.DBAPIError: the database does not answer.
        """
        with self._hub.subscribe(self._topic) as queue:
            if cursor is None:
                await self._tell_history()
            else:
                self._cursor = cursor
                await self._catch_up(even_nothing=True)
            while True:
                try:
                    async with asyncio.timeout(self._alive_s):
                        item = await queue.get()
                except TimeoutError:
                    await self._catch_up()
                    await self._send(
                        {"type": "alive", "cursor": self._cursor, "at_ms": _ms(self._database.clock.now())}
                    )
                    continue
                if isinstance(item, Lost):
                    await self._send({"type": "lost", "messages": item.messages})
                    await self._tell_history()
                elif isinstance(item, LiveMessage):
                    await self._pass_on(item)
                else:
                    await self._catch_up()

    async def _pass_on(self, message: LiveMessage) -> None:
        if message.cursor <= self._cursor:
            return
        if message.previous != self._cursor:
            await self._catch_up()
            return
        if any(name not in self._ids for name, *_ in message.readings):
            # The agent has told of new tags: history brings their descriptions along.
            await self._tell_history()
            return
        self._cursor = message.cursor
        if message.readings:
            readings = [[self._ids[name], *rest] for name, *rest in message.readings]
            await self._send({"type": "live", "cursor": message.cursor, "readings": readings})
        if message.late is not None:
            first, last = message.late
            await self._send({"type": "late", "cursor": message.cursor, "from_ms": first, "to_ms": last})
        if message.online is not None:
            status = {"online": message.online, "since_ms": message.since_ms}
            await self._send({"type": "status", "cursor": message.cursor, **status})

    async def _catch_up(self, *, even_nothing: bool = False) -> None:
        """Send what commits after our cursor brought, from the database; the whole window if that is too much."""
        async with self._database.unit_of_work(self._organization_id, snapshot=True) as uow:
            service = HistoryService(uow)
            if await service.cursor(self._bioreactor_id) == self._cursor and not even_nothing:
                return
            missed = await service.since(self._bioreactor_id, self._cursor, max_points=self._max_points)
            status = await LatestService(uow).status(self._bioreactor_id)
        if missed is None:
            await self._tell_history()
        else:
            await self._send_history(missed, status, missed.start, missed.end, reset=False)

    async def _tell_history(self) -> None:
        """Send the whole window anew."""
        async with self._database.unit_of_work(self._organization_id, snapshot=True) as uow:
            service = HistoryService(uow)
            now = uow.now()
            newest = await service.latest_time(await service.tags(self._bioreactor_id), now + FUTURE)
            end = max(now, newest or now) + timedelta(milliseconds=1)
            history = await service.read(
                self._bioreactor_id, start=now - self._window, end=end, max_points=self._max_points
            )
            status = await LatestService(uow).status(self._bioreactor_id)
        await self._send_history(history, status, history.start, now, reset=True)

    async def _send_history(
        self, history: History, status: BioreactorStatus, start: datetime, end: datetime, *, reset: bool
    ) -> None:
        self._cursor = history.cursor
        self._ids.update((each.tag.name, str(each.tag.id)) for each in history.series)
        await self._send(
            {
                "type": "history",
                "cursor": history.cursor,
                "reset": reset,
                "rollups_behind_s": history.rollups_behind_s,
                "from_ms": _ms(start),
                "to_ms": _ms(end),
                "tags": [each.tag.as_json() for each in history.series],
                "series": {str(each.tag.id): _points(each) for each in history.series},
            }
        )
        if status != self._status:
            self._status = status
            online = {"online": status.online, "since_ms": status.since_ms}
            await self._send({"type": "status", "cursor": history.cursor, **online})

    async def _send(self, message: dict[str, Any]) -> None:
        await self._send_message({"bioreactor": str(self._bioreactor_id), **message})


def _points(series: SeriesHistory) -> dict[str, Any]:
    points: dict[str, Any] = {
        "t": series.taken_at_ms,
        "v": [shown(value) for value in series.value],
        "q": series.quality,
    }
    if series.worst is not None:
        points["worst"] = series.worst
    if series.minimum is not None and series.maximum is not None:
        points["minimum"] = [shown(value) for value in series.minimum]
        points["maximum"] = [shown(value) for value in series.maximum]
    return points


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)
