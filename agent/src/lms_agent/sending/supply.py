"""Batches from the log for sending: live ones from memory, the backlog read ahead from the disk, off the event loop.

Neighbours: `lms_agent.log` holds the batches; `lms_agent.sending.conversation` asks for them by number.
"""

import asyncio
import logging

from lms_protocol.reading import Batch, Gap

from lms_agent.log.errors import LogDamaged
from lms_agent.log.sqlite_log import SqliteLog

LOGGER = logging.getLogger(__name__)

READ_AHEAD = 64


class Supply:
    """Gives batches by number; the backlog is asked for in rising order."""

    def __init__(self, log: SqliteLog) -> None:
        self._log = log
        self._ahead: dict[int, Batch] = {}

    async def get(self, number: int) -> Batch:
        """Return a batch. One that the disk has damaged is replaced by a batch that says so (see `stand_in`).

        Raises:
            LogError: the disk cannot be read.
        """
        batch = self._log.recent(number) or self._ahead.pop(number, None)
        if batch is not None:
            return batch
        try:
            batches = await asyncio.to_thread(self._log.read, number, READ_AHEAD)
        except LogDamaged:
            return await asyncio.to_thread(self._one, number)
        self._ahead = {batch.number: batch for batch in batches}
        if number not in self._ahead:
            raise LogDamaged(self._log.path, number, "it is not in the file any more")
        return self._ahead.pop(number)

    def _one(self, number: int) -> Batch:
        try:
            return self._log.get(number)
        except LogDamaged as error:
            LOGGER.error("%s A gap is sent in its place.", error)
            return stand_in(self._log, number, str(error))


def stand_in(log: SqliteLog, number: int, reason: str) -> Batch:
    """A batch that can take the place of one that cannot be sent, so that it neither blocks others nor goes unsaid.

    It has no readings, and a gap over all tags of its device for the time of the lost readings. Reads the disk.
    """
    device, began_at_ms, ended_at_ms = log.extent(number)
    tags = tuple(tag.number for tag in log.tags() if tag.device == device and not tag.name.startswith("Sync/"))
    # Negative ids are not allowed, small ones are the log's own: the batch's number, moved up, is like no other.
    gap = Gap((1 << 62) + number, tags, began_at_ms, ended_at_ms, reason)
    return Batch(number, device, (), (gap,))
