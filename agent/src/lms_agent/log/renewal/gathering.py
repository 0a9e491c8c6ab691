"""Gather what can still be found of a log that was set aside, and make of it what can be sent.

    its file          page by page: SQLite may not read it any more
    its copy          what was gathered of it before: also from what is gone now
    what remains      of a log that was set aside while it was in use: the file, still open, and batches in memory

An older copy of the log that was brought back is sound, as a rule, and sent as it is.

Neighbours: `lms_agent.log.care` has it done, in a thread; `lms_agent.log.damage.readable` writes the copy;
`lms_agent.log.renewal.predecessor` sends it.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from lms_protocol.messages import SYNC_TAGS
from lms_protocol.reading import Batch, TagDescription

from lms_agent.log.damage.readable import Kept, Known, unlink_quietly, write_readable
from lms_agent.log.damage.salvage import Basics, DamagedFile
from lms_agent.log.damage.spare import sum_of
from lms_agent.log.errors import LogError
from lms_agent.log.opening import prepare
from lms_agent.log.reader import LogReader
from lms_agent.log.records import BatchRow, GapRow, batch_row
from lms_agent.log.renewal.predecessors import Entry, Kind, State, copy_path
from lms_agent.log.schema import STAND_IN_TOTAL
from lms_agent.log.times.clocks import Span, in_doubt, never_known
from lms_agent.log.times.corrections import Correction, correction_from_row

LOGGER = logging.getLogger(__name__)

_ROWS = 500
_TOTAL = 5


class Remains(NamedTuple):
    """What is left in memory of a log that was set aside.

    Attributes:
        aside: the name that its file got.
        reader: still open on the old file, which may have no name any more; to be closed.
        recent: the newest batches.
        tags: all that it had numbers for.
    """

    aside: str
    reader: LogReader
    recent: list[Batch]
    tags: Sequence[TagDescription]


def gather(log_path: Path, entry: Entry, now_ms: int, remains: Remains | None = None) -> tuple[Entry, Kept]:
    """Make ready for sending what can be read of a log that was set aside.

    Args:
        now_ms: ms UTC.

    Returns:
        The entry as it is now, and what is to be sent.

    Raises:
        sqlite3.Error, OSError: the disk refuses.
    """
    target = copy_path(log_path, entry)
    if entry.kind is Kind.RESTORED and entry.stream is None and not target.exists():
        with suppress(LogError):
            return _as_it_is(log_path.with_name(entry.path), entry)
    with closing(_Sources(log_path.with_name(entry.path), target, entry, remains)) as sources:
        stream, tags = sources.stream, sources.tags
        if stream is None or not tags:
            return replace(entry, state=State.LOST, ended_at_ms=now_ms), Kept(0, 0, 0, 0)
        corrections = sources.corrections(entry.set_aside_at_ms)
        known = Known(stream, sources.acked, entry.head, _complete(tags), entry.set_aside_at_ms, corrections)
        kept = write_readable(target, known, sources.batches(sources.acked), sources.gaps(), reason=entry.reason)
    prepare(target)
    state = State.READY if kept.head > kept.acked else State.SENT
    return replace(entry, stream=stream, state=state, first=kept.first, head=kept.head, acked=kept.acked), kept


def forget_copy(log_path: Path, entry: Entry) -> None:
    """Remove the copy that was made for sending; what was set aside stays."""
    path = copy_path(log_path, entry)
    for part in ("", "-wal", "-shm"):
        unlink_quietly(path.with_name(path.name + part))


def _as_it_is(aside: Path, entry: Entry) -> tuple[Entry, Kept]:
    """An older copy that is sound; all that is there is sent, as the numbers acknowledged may be other batches'."""
    prepare(aside)
    with LogReader.open(aside) as reader:
        reader.tags()
        first, head, stream = reader.first(), reader.head()[0], str(reader.stream)
    acked = max(0, first - 1)
    state = State.READY if head > acked else State.SENT
    return replace(entry, stream=stream, state=state, first=first, head=head, acked=acked), Kept(first, head, 0, acked)


class _Sources:
    """All of them, as one.

    Attributes:
        stream: None if none of them tells.
        acked: highest number known as settled.
        tags: every tag that is known.
    """

    def __init__(self, aside: Path, copy: Path, entry: Entry, remains: Remains | None) -> None:
        self._remains = remains
        self._copy, copied = _open(copy)
        self._file, basics = _open(aside)
        self._copied = copied
        self.stream = entry.stream or copied.stream
        if self._file is not None and entry.kind is Kind.REPLACED and self.stream not in {None, basics.stream}:
            self._file.close()  # somebody else's file, put in the place of ours
            self._file, basics = None, Basics()
        self._basics = basics
        self.stream = self.stream or basics.stream
        # Of an older copy, what it has as acknowledged may have been other batches under the same numbers.
        self.acked = max(entry.acked, copied.acked, 0 if entry.kind is Kind.RESTORED else basics.acked)
        known = copied.tags | basics.tags
        self.tags = list(remains.tags) if remains is not None else [tag for _, tag in sorted(known.items())]

    def close(self) -> None:
        """Close the files."""
        for file in (self._file, self._copy):
            if file is not None:
                file.close()

    def batches(self, above: int) -> Iterator[tuple[bool, BatchRow]]:
        """Rows of batches; what comes with True outdoes others of the same number."""
        if self._file is not None:
            yield from self._file.batches(above)
        if self._copy is not None:
            yield from (found for found in self._copy.batches(above) if found[1][_TOTAL] != STAND_IN_TOTAL)
        if self._remains is not None:
            for row in _raw(self._remains.reader, above):
                yield True, row
            for batch in self._remains.recent:
                yield True, batch_row(batch, 0)

    def corrections(self, now_ms: int) -> list[Correction]:
        """What was corrected of the times of batches; and those whose time was not known yet: it never will be."""
        copied, _, copy_whole = _clock(self._copy, self._copied)
        if copied and copy_whole:
            return copied  # with what was said of unknown times: batches may have been sent so
        rows, spans, is_whole = _clock(self._file, self._basics)
        if self._remains is not None:
            try:
                rows, spans, is_whole = self._remains.reader.corrections().rows, self._remains.reader.spans(), True
            except LogError:
                is_whole = is_whole and self._file is not None
        rows = [*rows, *never_known(spans, max((row.event for row in rows), default=0) + 1, now_ms)]
        rows = sorted({row[:2]: row for row in (*rows, *copied)}.values())
        if is_whole and copy_whole:
            return rows
        LOGGER.error("ALARM: corrections of times are lost with a damaged log: its readings are sent as UNCERTAIN.")
        event = max((row.event for row in rows), default=0) + 1
        return [*rows, in_doubt(self.acked + 1, event, now_ms)]

    def gaps(self) -> Iterator[GapRow]:
        """Rows of gaps."""
        for file in (self._file, self._copy):
            if file is not None:
                yield from file.gaps()


def _open(path: Path) -> tuple[DamagedFile | None, Basics]:
    try:
        file = DamagedFile(path)
    except FileNotFoundError:
        return None, Basics()
    try:
        return file, file.basics()
    except BaseException:
        file.close()
        raise


def _clock(file: DamagedFile | None, basics: Basics) -> tuple[list[Correction], list[Span], bool]:
    """Corrections and spans of a file, and whether these are all of them, as far as it can tell."""
    if file is None:
        return [], [], True
    copy, sums = basics.clock_copy, basics.clock_sums
    if copy is not None and (sums is None or copy.serial >= sums.serial):
        corrections = [correction_from_row(row) for row in copy.corrections]
        return corrections, [Span._make(row) for row in copy.spans], True
    corrections, spans = file.corrections(), file.spans()
    is_whole = sums is None or (sum_of(corrections), sum_of(spans)) == (sums.corrections, sums.spans)
    return corrections, spans, is_whole


def _raw(reader: LogReader, above: int) -> Iterator[BatchRow]:
    """Rows from a file that is still open, as far as it can be read."""
    try:
        head = reader.head()[0]
    except LogError:
        return
    number = above + 1
    size = _ROWS
    while number <= head:
        try:
            yield from reader.raw(number, min(number + size - 1, head))
        except LogError:
            if size > 1:
                size = 1  # step over the page that is damaged
                continue
        number += size
        size = _ROWS if size > 1 or number % _ROWS == 0 else 1


def _complete(tags: list[TagDescription]) -> list[TagDescription]:
    """The tags, and for each bioreactor those two that batches cannot be sent without."""
    have = {(tag.device, tag.name) for tag in tags}
    number = max(tag.number for tag in tags)
    made = list(tags)
    for device in sorted({tag.device for tag in tags}):
        for name, datatype in SYNC_TAGS.items():
            if (device, name) not in have:
                number += 1
                made.append(TagDescription(number, device, name, datatype))
    return made
