"""A log that was set aside, to be sent under its own stream until each of its batches is acknowledged or refused.

    acknowledged    the cloud has it under the old stream's number
    refused         the cloud has another batch there: this one is logged again in the present log, once, with a note of
                    its origin in the same transaction; the batch says so too, as an older copy of the present log
                    would not know, and would log it once more
    unreadable      an empty batch goes under its number; if that is refused, the cloud has the batch itself

So each batch is in the cloud once, however often power or connection are lost meanwhile.

Neighbours: `lms_agent.log.sqlite_log` keeps the list; `lms_agent.sending.sender` sends from here as from any log.
"""

import asyncio
import logging
import zlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Protocol
from uuid import UUID

from lms_protocol.batches import ORIGIN_NAME
from lms_protocol.reading import Batch, Datatype, Gap, Origin, Reading, TagDescription
from lms_protocol.units import counterpart, name_beside

from lms_agent.log.errors import LogDamaged
from lms_agent.log.reader import LogReader
from lms_agent.log.records import RawBatch
from lms_agent.log.renewal.predecessors import Entry, Kind

LOGGER = logging.getLogger(__name__)

CARRIED_GAP_IDS = 1 << 60
"""Ids of gaps that come from another stream: this, a number for the stream, and the low 32 bits of the id there."""


class Successor(Protocol):
    """The present log, to which a predecessor hands what was refused, and its progress."""

    async def append_again(self, batch: Batch, stream: UUID, number: int) -> None:
        """Log a batch of another stream, unless that is done already."""
        ...

    def note_progress(self, path: str, acked: int) -> None:
        """Everything of a predecessor up to `acked` is settled."""
        ...

    @property
    def known_tags(self) -> Iterable[TagDescription]:
        """The tags that have numbers."""
        ...

    def register_tags(self, descriptions: list[TagDescription]) -> list[TagDescription]:
        """Give tags their numbers."""
        ...


class Predecessor:
    """One log that was set aside, open for sending.

    Attributes:
        is_damaged: whether the file was found to be; what can be read of it is then to be gathered anew.
    """

    def __init__(self, entry: Entry, path: Path, successor: Successor) -> None:
        self.entry = entry
        self.path = path
        self._reader = LogReader.open(path, ended_at_ms=entry.set_aside_at_ms)
        self._successor = successor
        self.stream = self._reader.stream
        self.head = self._reader.head()[0]
        # Of an older copy that came back, what it knows as acknowledged is not to be believed.
        self.acked = max(0, entry.acked if entry.kind is Kind.RESTORED else max(entry.acked, self._reader.acked))
        self._numbers: dict[int, int] | None = None
        self.is_damaged = False

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    @property
    def is_final(self) -> bool:
        """No batch comes to it any more."""
        return True

    @property
    def is_settled(self) -> bool:
        """Whether everything is acknowledged or logged again."""
        return self.acked >= self.head

    @property
    def first(self) -> int:
        """The lowest number that is there. Reads the disk."""
        return self._reader.first()

    def latest(self) -> dict[int, Reading]:
        """Nothing: what is the newest now is the present log's to say."""
        return {}

    def recent(self, number: int) -> Batch | None:
        """Nothing is kept in memory."""
        return None

    def read(self, first: int, limit: int) -> list[Batch]:
        """Return up to `limit` batches from number `first` on."""
        return self._reader.read(first, limit)

    def records(self, first: int, last: int, most_bytes: int) -> tuple[list[RawBatch], int]:
        """Return batches as they are in the file."""
        return self._reader.records(first, last, most_bytes)

    def get(self, number: int) -> Batch:
        """Return one batch."""
        return self._reader.get(number)

    def extent(self, number: int) -> tuple[str, int, int]:
        """A batch's device and times."""
        return self._reader.extent(number)

    def tags(self) -> list[TagDescription]:
        """Every tag that the log ever knew, by the names that the present log has for them."""
        known = list(self._successor.known_tags)
        taken: set[tuple[str, str]] = {(tag.device, tag.name) for tag in known}
        found = []
        for tag in self._reader.tags():
            other = counterpart(tag, known)
            beside = name_beside(tag, {name for device, name in taken if device == tag.device})
            found.append(replace(tag, name=beside if other is None else other.name))
        return found

    def gaps_told_by(self, number: int) -> list[tuple[str, Gap]]:
        """The gaps that batch `number` was the last to tell of."""
        return self._reader.gaps_told_by(number)

    def acknowledge(self, number: int) -> None:
        """Everything up to `number` is settled."""
        if number > self.acked:
            self.acked = min(number, self.head)
            self._successor.note_progress(self.entry.path, self.acked)

    async def refused(self, number: int) -> bool:
        """The cloud has another batch under this number: log ours again. True: the number is settled by that."""
        try:
            batch = self._reader.get(number)
        except (KeyError, LogDamaged):
            return True  # an empty batch was sent; the cloud has the true one
        if self._reader.is_stand_in(number):
            return True
        translated = await asyncio.to_thread(self._translated, batch)
        await self._successor.append_again(translated, self.stream, number)
        LOGGER.info("Batch %d of the earlier stream %s is logged again", number, self.stream)
        return True

    def doubt(self, kind: Kind, reason: str) -> None:
        """What the cloud says of this stream was to be expected; a file that is damaged must be read in another way."""
        self.is_damaged = self.is_damaged or kind is Kind.DAMAGED

    def _number_tags(self) -> dict[int, int]:
        """The present log's number of each tag; those that it does not know yet it gets to know."""
        old = self._reader.tags()
        devices = sorted({tag.device for tag in old})
        origins = [TagDescription(0, device, ORIGIN_NAME, Datatype.STRING) for device in devices]
        known = list(self._successor.known_tags)
        unknown = [tag for tag in (*old, *origins) if counterpart(tag, known) is None]
        if unknown:
            taken = {(tag.device, tag.name) for tag in known}
            wanted = [
                replace(tag, name=name_beside(tag, {name for device, name in taken if device == tag.device}))
                for tag in unknown
            ]
            known += self._successor.register_tags(wanted)
        return {tag.number: other.number for tag in old if (other := counterpart(tag, known)) is not None}

    def _translated(self, batch: Batch) -> Batch:
        """The batch with the present log's tag numbers, and gap ids that are nobody else's."""
        if self._numbers is None:
            self._numbers = self._number_tags()
        numbers = self._numbers
        salt = CARRIED_GAP_IDS + ((zlib.crc32(self.stream.bytes) & 0xFF_FFFF) << 32)
        return Batch(
            batch.number,
            batch.device,
            tuple(reading._replace(tag=numbers[reading.tag]) for reading in batch.readings),
            tuple(
                gap._replace(id=salt + (gap.id & 0xFFFF_FFFF), tags=tuple(numbers[tag] for tag in gap.tags))
                for gap in batch.gaps
            ),
            origin=batch.origin or Origin(self.stream, batch.number, batch.logged),
        )
