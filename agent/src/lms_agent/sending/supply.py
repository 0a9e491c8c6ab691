"""Batches from the log for sending: live ones from memory, the backlog read ahead from the disk, off the event loop.

Neighbours: `lms_agent.log` holds the batches; `lms_agent.sending.conversation` asks for them by number.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable

from lms_protocol.reading import Batch

from lms_agent.log.errors import LogDamaged, LogMalformed
from lms_agent.log.reader import LogReader
from lms_agent.log.renewal.predecessors import Kind
from lms_agent.log.renewal.standing_in import stand_in
from lms_agent.sending.sendable import SendableLog

LOGGER = logging.getLogger(__name__)

READ_AHEAD = 64


class Supply:
    """Gives batches by number; the backlog is asked for in rising order.

    Args:
        sendable: the highest number that may be sent. Nothing beyond it is kept: its time may still be corrected.
    """

    def __init__(self, log: SendableLog, sendable: Callable[[], int]) -> None:
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
        try:
            self._ahead = await asyncio.to_thread(self._read, number, last)
        except LogMalformed:
            found = await asyncio.to_thread(self.examine, [number])
            self._ahead = found or {number: await asyncio.to_thread(self.one, number)}
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
        return {number: self.one(number)}

    def one(self, number: int) -> Batch:
        """Return a batch, or what replaces it. Reads the disk."""
        try:
            return self._log.get(number)
        except LogDamaged as error:
            LOGGER.error("%s A gap is sent in its place.", error)
            return stand_in(self._log, number, str(error))
        except KeyError:
            if number >= self._log.first:
                raise LogMalformed(self._log.path, f"batch {number} cannot be found in it any more") from None
            LOGGER.debug("Batch %d was dropped; an empty one is sent in its place", number)
            return stand_in(self._log, number, "")

    def examine(self, numbers: Iterable[int]) -> dict[int, Batch]:
        """Look again, in the file opened anew: a device that fails makes SQLite call a file malformed that is well.

        Returns:
            The batches, without those that are damaged, each by itself, or dropped.

        Raises:
            LogMalformed: it is true, and the log is told.
        """
        found: dict[int, Batch] = {}
        try:
            with LogReader.open(self._log.path) as reader:
                for number in numbers:
                    try:
                        found[number] = reader.get(number)
                    except LogDamaged:
                        continue
                    except KeyError:
                        if number >= self._log.first:
                            raise LogMalformed(
                                self._log.path, f"batch {number} cannot be found in it any more"
                            ) from None
        except LogMalformed as error:
            self._log.doubt(Kind.DAMAGED, error.reason)
            raise
        return found
