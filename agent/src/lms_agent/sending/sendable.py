"""What sending asks of a log: the present one, or one that was set aside.

Neighbours: `lms_agent.log.sqlite_log.SqliteLog` and `lms_agent.log.renewal.predecessor.Predecessor` are such logs.
"""

from pathlib import Path
from typing import Protocol
from uuid import UUID

from lms_protocol.reading import Batch, Gap, Reading, TagDescription

from lms_agent.log.records import RawBatch
from lms_agent.log.renewal.predecessors import Kind


class SendableLog(Protocol):
    """A log whose batches are sent and acknowledged."""

    @property
    def path(self) -> Path:
        """Its file."""
        ...

    @property
    def stream(self) -> UUID:
        """Its identity."""
        ...

    @property
    def is_final(self) -> bool:
        """Whether no batch comes to it any more."""
        ...

    @property
    def head(self) -> int:
        """The highest batch number."""
        ...

    @property
    def acked(self) -> int:
        """The highest number up to which everything is settled."""
        ...

    @property
    def first(self) -> int:
        """The lowest number that is there. Reads the disk."""
        ...

    def latest(self) -> dict[int, Reading]:
        """The newest reading of each tag."""
        ...

    def recent(self, number: int) -> Batch | None:
        """A batch that is still in memory."""
        ...

    def read(self, first: int, limit: int) -> list[Batch]:
        """Up to `limit` batches from number `first` on. Reads the disk."""
        ...

    def records(self, first: int, last: int, most_bytes: int) -> tuple[list[RawBatch], int]:
        """Batches as they are in the file: see `LogReader.records`. Reads the disk."""
        ...

    def get(self, number: int) -> Batch:
        """One batch. May read the disk."""
        ...

    def extent(self, number: int) -> tuple[str, int, int]:
        """A batch's device and times, without its record."""
        ...

    def tags(self) -> list[TagDescription]:
        """Every tag that the log ever knew."""
        ...

    def gaps_told_by(self, number: int) -> list[tuple[str, Gap]]:
        """The gaps that a batch was the last to tell of."""
        ...

    def acknowledge(self, number: int) -> None:
        """Everything up to `number` is settled."""
        ...

    async def refused(self, number: int) -> bool:
        """The cloud has another batch under this number; whether it is settled by that."""
        ...

    def doubt(self, kind: Kind, reason: str) -> None:
        """This log cannot be gone on with."""
        ...
