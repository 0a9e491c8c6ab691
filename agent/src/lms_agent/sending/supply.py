"""Batches from the log for sending: live ones from memory, the backlog read ahead from the disk, off the event loop.

Neighbours: `lms_agent.log` holds the batches; `lms_agent.sending.conversation` asks for them by number.
"""

import asyncio
import logging
from collections.abc import Callable

from lms_protocol.reading import Batch

from lms_agent.log.errors import LogDamaged
from lms_agent.log.sqlite_log import SqliteLog
from lms_agent.log.standing_in import stand_in

LOGGER = logging.getLogger(__name__)

READ_AHEAD = 64


class Supply:
    """Gives batches by number; the backlog is asked for in rising order.

    Args:
        sendable: the highest number that may be sent. Nothing beyond it is kept: its time may still be corrected.
    """

    def __init__(self, log: SqliteLog, sendable: Callable[[], int]) -> None:
        self._log = log
        self._sendable = sendable
        self._ahead: dict[int, Batch] = {}

    async def get(self, number: int) -> Batch:
        """Return a batch. One that the disk has damaged, or that was dropped, is replaced (see `stand_in`).

        Raises:
            LogError: the disk cannot be read.
        """
        batch = self._log.recent(number) or self._ahead.pop(number, None)
        if batch is not None:
            return batch
        last = max(number, self._sendable())
        self._ahead = await asyncio.to_thread(self._read, number, last)
        return self._ahead.pop(number)

    def _read(self, number: int, last: int) -> dict[int, Batch]:
        """A batch, and those behind it that are well."""
        if number >= self._log.first:
            try:
                batches = {batch.number: batch for batch in self._log.read(number, min(READ_AHEAD, last - number + 1))}
            except LogDamaged:
                batches = {}
            if number in batches:
                return batches
        return {number: self._one(number)}

    def _one(self, number: int) -> Batch:
        try:
            return self._log.get(number)
        except LogDamaged as error:
            LOGGER.error("%s A gap is sent in its place.", error)
            return stand_in(self._log, number, str(error))
        except KeyError:
            LOGGER.debug("Batch %d was dropped; an empty one is sent in its place", number)
            return stand_in(self._log, number, "")
