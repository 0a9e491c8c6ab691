"""What the writing thread is handed, and what it gives back.

Neighbours: `lms_agent.log.sqlite_log` hands over jobs; `lms_agent.log.writer` makes a transaction of those that wait.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from lms_protocol.reading import Batch, Gap, Origin, Reading

from lms_agent.log.times.clocks import ClockChange


class Entry(NamedTuple):
    """What is to become a batch, before it has a number."""

    device: str
    readings: tuple[Reading, ...]
    gaps: tuple[Gap, ...] = ()
    origin: Origin | None = None


class Done(Protocol):
    """What those who wait for a job hold: a future of asyncio or of a thread."""

    def done(self) -> bool:
        """Whether it has come to an end, perhaps by being cancelled."""
        ...

    def set_result(self, result: list[Batch], /) -> None:
        """The job is on the disk."""
        ...

    def set_exception(self, exception: BaseException, /) -> None:
        """The job failed."""
        ...


@dataclass(slots=True)
class Job:
    """One caller's wish: some entries, statements and meta values, in one transaction, or nothing of it.

    Attributes:
        entries: read once, in the writer's thread; an error they raise undoes the job.
        meta: rows of `meta` to set.
        statements: further SQL with its values; `{number}` in a value stands for the number of the first entry.
        clock: a change of the clock, which holds for these entries and all behind them.
        as_is: whether the times of the entries are those of the log already.
        alone: whether the job may not share its transaction, as it may fail half-way.
        done: resolved with the batches once they are on the disk.
    """

    entries: Iterable[Entry] = ()
    meta: dict[str, str] = field(default_factory=dict)
    statements: Sequence[tuple[str, tuple[Any, ...]]] = ()
    clock: ClockChange | None = None
    as_is: bool = False
    alone: bool = False
    done: Done = field(default_factory=Future[list[Batch]])


class Written(NamedTuple):
    """What one transaction brought, in the order of the jobs."""

    jobs: list[tuple[Job, list[Batch]]]


class Failed(NamedTuple):
    """Jobs of which nothing is in the log, and why."""

    jobs: list[Job]
    error: Exception


def only_entry(job: Job) -> Entry | None:
    """The one entry of a job that is one INSERT and nothing else."""
    entries = job.entries
    if (
        job.alone
        or job.as_is
        or job.meta
        or job.statements
        or job.clock
        or not isinstance(entries, tuple)
        or len(entries) != 1
    ):
        return None
    entry: Entry = entries[0]
    return None if entry.gaps or entry.origin else entry
