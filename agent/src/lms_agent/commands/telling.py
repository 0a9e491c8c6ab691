"""Events of commands and locks → the log, in order, each once; and again until the disk has taken them.

    store   what happened, and that it is to be told, in one transaction
    log     a batch with one reading of `Events/Command`
    store   it is told

Neighbours: `lms_agent.commands.commanding` says what happened; `lms_agent.log.sqlite_log` takes the readings.
"""

import asyncio
import logging
from collections import deque
from typing import Any

from lms_protocol.command_book import Record
from lms_protocol.commands import CommandEvent, Lock
from lms_protocol.errors import LmsError
from lms_protocol.reading import Reading

from lms_agent.clock import Clock
from lms_agent.commands.store import CommandStore
from lms_agent.log.sqlite_log import SqliteLog

LOGGER = logging.getLogger(__name__)


def event_of(record: Record) -> tuple[str, str]:
    """What is told of a command: bioreactor and text."""
    command = record.command
    event = CommandEvent(
        id=command.id,
        state=record.state,
        at_ms=record.changed_at_ms,
        by=command.by,
        reason=command.reason,
        source=command.source,
        tag=command.tag,
        value=command.value,
        issued_at_ms=command.issued_at_ms,
        valid_until_ms=command.valid_until_ms,
        why=record.why,
        read_back=record.read_back,
        account=record.account,
    )
    return command.device, event.to_text()


class Telling:
    """Brings events into the log.

    Args:
        stamps: the clock of readings.

    Attributes:
        tags: the number of `Events/Command` by bioreactor.
    """

    def __init__(self, store: CommandStore, log: SqliteLog, stamps: Clock) -> None:
        self.tags: dict[str, int] = {}
        self.error = ""
        self._store = store
        self._log = log
        self._stamps = stamps
        self._unsaved: deque[dict[str, Any]] = deque()
        self._left = True  # what was not told before the agent ended is told now
        self._flushing = asyncio.Lock()

    @property
    def waits(self) -> bool:
        """Whether there is anything to bring into the log."""
        return self._left or bool(self._unsaved)

    def note(self, record: Record) -> None:
        """A command has got into another state."""
        self._unsaved.append({"record": record, "events": [event_of(record)]})

    @property
    def behind(self) -> int:
        """How many of these the disk has not taken yet."""
        return len(self._unsaved)

    def note_unknown(self, record: Record) -> None:
        """A command that nobody will know of afterwards is refused."""
        self._unsaved.append({"events": [event_of(record)]})

    def note_lock(self, device: str, lock: Lock | None, event: CommandEvent) -> None:
        """A bioreactor was locked, or unlocked."""
        self._unsaved.append({"events": [(device, event.to_text())], "locks": {device: lock}})

    async def flush(self) -> None:
        """Bring all that happened into the store and into the log.

        Raises:
            LmsError: the disk refuses; what is left waits in order, and `flush` may be called again.
        """
        try:
            async with self._flushing:
                self._left = True
                while self._unsaved:
                    await asyncio.to_thread(self._store.save, **self._unsaved[0])
                    self._unsaved.popleft()
                for number, device, text in await asyncio.to_thread(self._store.untold):
                    await self._tell(device, text)
                    await asyncio.to_thread(self._store.told, [number])
                self._left = False
        except LmsError as error:
            if str(error) != self.error:
                LOGGER.error("What became of commands cannot be written down now, and waits: %s", error)
            self.error = str(error)
            raise
        self.error = ""

    async def _tell(self, device: str, text: str) -> None:
        tag = self.tags.get(device)
        if tag is None:
            LOGGER.warning("An event of %s, which the settings do not have any more, is not told: %s", device, text)
            return
        await self._log.append(device, (Reading(tag, self._stamps.wall_ms(), text),))
