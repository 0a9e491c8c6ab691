"""Is the log as it was written? Every checksum, every number, and SQLite's own check of the file.

Neighbours: `lms-agent log verify`; nothing is changed, and the agent may run meanwhile.
"""

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from lms_agent.log.checksums import meta_checksum, origin_checksum, predecessor_checksum
from lms_agent.log.errors import ADVICE_ON_DAMAGE, LogDamaged, LogError, LogMalformed
from lms_agent.log.reader import LogReader
from lms_agent.log.records import batch_from_row, gap_from_row
from lms_agent.log.schema import STAND_IN_TOTAL

MOST_PROBLEMS = 100
_CHUNK = 500
_COLUMNS = "number, device, checksum, record, first_taken_at_ms, last_taken_at_ms, readings, total"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it was written.

    Attributes:
        number: of the batch concerned, or of the first of several; None where it is the file.
        what: in words.
        of_file: whether more than records is damaged, so that a new log must take its place.
    """

    number: int | None
    what: str
    of_file: bool = False


@dataclass(slots=True)
class Verdict:
    """What a check has found.

    Attributes:
        first, last: numbers that were looked at.
        batches, readings: that are well.
        problems: the first hundred, in the order found; empty if all is well.
    """

    first: int = 0
    last: int = 0
    batches: int = 0
    readings: int = 0
    problems: list[Problem] = field(default_factory=list)
    _run: tuple[int, int, str] | None = None  # the batches in a row that could not be read last, and why

    def add(self, number: int | None, what: str, *, of_file: bool = False) -> None:
        """Note a problem."""
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(Problem(number, what, of_file or number is None))

    def add_unreadable(self, number: int, why: str) -> None:
        """Note a batch that cannot be reached; those in a row are one problem."""
        first = number
        if self.problems and self._run is not None and self._run[1:] == (number - 1, why):
            first = self._run[0]
            self.problems.pop()
        self._run = (first, number, why)
        self.add(first, f"{_batches(first, number)} cannot be read: {why}", of_file=True)

    @property
    def remedy(self) -> str:
        """What is to be done about the problems; empty if there are none."""
        if not self.problems:
            return ""
        if any(problem.of_file for problem in self.problems):
            return f"The file is damaged. {ADVICE_ON_DAMAGE}"
        return (
            "Nothing need be done about the log: a gap is sent in the place of each damaged batch. "
            "But look after the SD card or disk."
        )


def verify(path: Path, progress: Callable[[int, int], None] = lambda _done, _all: None) -> Verdict:
    """Check a log from its first batch to the last that was there when it began.

    Args:
        progress: called now and then with the number reached, and the last.

    Raises:
        LogError: the file cannot be opened at all.
    """
    verdict = Verdict()
    with LogReader.open(path) as reader:
        _check_file(reader, verdict)
        _check_tables(reader, verdict)
        try:
            verdict.first, verdict.last = reader.first(), reader.head()[0]
        except LogError as error:
            verdict.add(None, _reason(error))
            return verdict
        expected, total = verdict.first, None
        for number, row, what in _rows(reader, verdict.first, verdict.last, progress):
            if number > expected:
                verdict.add(expected, _missing(expected, number - 1), of_file=True)
            expected, before = number + 1, total
            total = None
            if row is None:
                verdict.add_unreadable(number, what)
            else:
                total = _check_batch(path, row, before, verdict)
        if expected <= verdict.last:
            verdict.add(expected, _missing(expected, verdict.last), of_file=True)
    return verdict


def _rows(
    reader: LogReader, first: int, last: int, progress: Callable[[int, int], None]
) -> Iterator[tuple[int, tuple[object, ...] | None, str]]:
    """All rows of batches; where a page cannot be read, None for each number on it."""
    number = first
    sql = f"SELECT {_COLUMNS} FROM batches WHERE number BETWEEN ? AND ? ORDER BY number"  # noqa: S608 - our own words
    while 0 < number <= last:
        end = min(number + _CHUNK - 1, last)
        try:
            for row in reader.rows(sql, number, end):
                yield int(row[0]), row, ""
        except LogError:
            for one in range(number, end + 1):
                try:
                    for row in reader.rows(sql, one, one):
                        yield one, row, ""
                except LogError as error:
                    yield one, None, _reason(error)
        number = end + 1
        progress(min(end, last), last)


def _check_batch(path: Path, row: tuple[object, ...], before: int | None, verdict: Verdict) -> int | None:
    """Check one row; return the running total up to it, if that can be believed."""
    number, device, checksum, record, first_ms, last_ms, readings, total = row
    try:
        batch = batch_from_row(path, (number, device, checksum, record))  # type: ignore[arg-type]
    except LogDamaged as error:
        verdict.add(error.number, f"batch {error.number}: {error.reason}")
        return None
    times = [reading.taken_at_ms for reading in batch.readings]
    if (min(times, default=None), max(times, default=None), len(times)) != (first_ms, last_ms, readings):
        verdict.add(batch.number, f"batch {number}: its times or its count are not those of its record")
        return None
    if total == STAND_IN_TOTAL or not isinstance(total, int):
        return None
    if before is not None and total != before + len(times):
        verdict.add(batch.number, f"batch {number}: the running total {total} does not follow {before}")
    verdict.batches += 1
    verdict.readings += len(times)
    return total


def _check_file(reader: LogReader, verdict: Verdict) -> None:
    try:
        for (found,) in reader.rows("PRAGMA quick_check(10)"):
            if found != "ok":
                verdict.add(None, f"SQLite: {' '.join(str(found).split())}")
    except LogError as error:
        verdict.add(None, f"SQLite's own check: {_reason(error)}")


def _check_tables(reader: LogReader, verdict: Verdict) -> None:
    checks: tuple[tuple[str, Callable[[LogReader], object]], ...] = (
        ("the tags", LogReader.tags),
        ("the gaps", _check_gaps),
        ("the identity of the log", partial(_check_values, table="meta")),
        ("what was corrected of times", LogReader.corrections),
        ("what may still be corrected of times", LogReader.spans),
        ("the second copy of stream, tags and corrections", partial(_check_values, table="spare")),
        ("the list of logs that were set aside", _check_set_aside),
    )
    for name, check in checks:
        try:
            check(reader)
        except (LogError, sqlite3.Error) as error:
            verdict.add(None, f"{name}: {_reason(error)}")


def _check_gaps(reader: LogReader) -> None:
    for row in reader.rows("SELECT * FROM gaps ORDER BY id"):
        gap_from_row(reader.path, row)


def _check_values(reader: LogReader, table: str) -> None:
    for key, value, checksum in reader.rows(f"SELECT key, value, checksum FROM {table}"):  # noqa: S608 - our own words
        if meta_checksum(key, value) != checksum:
            raise LogMalformed(reader.path, f"the checksum of the entry {key!r} of {table} does not fit")


def _check_set_aside(reader: LogReader) -> None:
    for *cells, checksum in reader.rows("SELECT * FROM predecessors"):
        if predecessor_checksum(cells) != checksum:
            raise LogMalformed(reader.path, f"the checksum of the entry for {cells[0]} does not fit")
    for stream, number, _, checksum in reader.rows("SELECT * FROM origins"):
        if origin_checksum(stream, number) != checksum:
            raise LogMalformed(reader.path, f"the checksum of the origin {stream}, {number} does not fit")


def _batches(first: int, last: int) -> str:
    return f"batch {first}" if first == last else f"batches {first} to {last}"


def _missing(first: int, last: int) -> str:
    return f"{_batches(first, last)} {'is' if first == last else 'are'} missing"


def _reason(error: LogError | sqlite3.Error) -> str:
    """What does not fit, without the path, which whoever asked knows."""
    return error.reason if isinstance(error, LogDamaged | LogMalformed) else str(error)
