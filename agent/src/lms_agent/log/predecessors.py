"""The list of logs that were set aside, as rows of the present log.

Neighbours: `lms_agent.log.renewing` makes the rows; `lms_agent.log.predecessor` is one of them, open for sending.
"""

from dataclasses import dataclass
from pathlib import Path

from lms_agent.log.renewing import Kind, State


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of `predecessors`.

    Attributes:
        path: the file's name, in the log's folder.
        stream: None while it could not be read yet.
        reason: why it was set aside, as a sentence.
        acked, head: numbers of its stream.
        set_aside_at_ms, ended_at_ms: ms UTC.
    """

    path: str
    stream: str | None
    reason: str
    state: State
    first: int | None
    head: int
    acked: int
    set_aside_at_ms: int
    ended_at_ms: int | None

    @property
    def unacknowledged(self) -> int:
        """Batches that the cloud is not known to have."""
        return 0 if self.state in {State.SENT, State.LOST} else max(0, self.head - self.acked)

    @property
    def kind(self) -> Kind | None:
        """Why it was set aside, by its name."""
        word = self.path.rpartition(".")[2].partition("-")[0]
        return Kind(word) if word in Kind.__members__.values() else None

    @property
    def is_open(self) -> bool:
        """Whether something of it is still to be read or sent."""
        return self.state in {State.TO_READ, State.READY}


def readable_path(log_path: Path, entry: Entry) -> Path:
    """The file that is sent: what was set aside, or, where that is not sound, what could be read of it."""
    return log_path.with_name(entry.path if entry.kind is Kind.RESTORED else entry.path + ".readable")


def entry_from_row(row: tuple[str, str | None, str, str, int | None, int | None, int | None, int, int | None]) -> Entry:
    """A row of `predecessors` as an entry."""
    path, stream, reason, state, first, head, acked, set_aside_at_ms, ended_at_ms = row
    return Entry(path, stream, reason, State(state), first, head or 0, acked or 0, set_aside_at_ms, ended_at_ms)


def row_of(entry: Entry) -> tuple[object, ...]:
    """The entry as its row."""
    return (
        entry.path,
        entry.stream,
        entry.reason,
        entry.state,
        entry.first,
        entry.head,
        entry.acked,
        entry.set_aside_at_ms,
        entry.ended_at_ms,
    )
