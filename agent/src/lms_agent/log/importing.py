"""Readings from a CSV file into the log: history from elsewhere, as if the agent had read it.

    taken_at,tag,value
    2026-11-23T06:00:00.000Z,pH/PV,7.02

An empty value means that none could be had. The batches travel to the cloud like any backlog.

Neighbours: `lms-agent log import` calls it; `lms_agent.log.sqlite_log` writes all of a file or nothing of it.
"""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from struct import pack, unpack

from lms_protocol.errors import LmsError
from lms_protocol.reading import Datatype, Quality, Reading, TagDescription, Value

from lms_agent.log.jobs import Entry

HEADER = ["taken_at", "tag", "value"]
MAX_READINGS = 500
"""Readings in a batch."""

_LIMIT_MS = 253_402_300_800_000  # the year 10000: more is a mistake of the unit
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class ImportRefused(LmsError):
    """A file cannot be imported; nothing of it is in the log.

    Attributes:
        path, line: where, the line counted from 1.
        found: what stands there.
        allowed: what may stand there.
    """

    def __init__(self, path: Path, line: int, found: str, allowed: str) -> None:
        self.path = path
        self.line = line
        self.found = found
        self.allowed = allowed
        super().__init__(f"{path}, line {line}: found {found}; allowed: {allowed}. Nothing was imported.")


def entries(
    path: Path, device: str, tags: Sequence[TagDescription], progress: Callable[[int], None] = lambda _: None
) -> Iterator[Entry]:
    """Read a CSV file as entries for the log, a few hundred readings each.

    Args:
        path: the file.
        device: the bioreactor's wire id.
        tags: the tags of that bioreactor, with their numbers.
        progress: called now and then with the number of readings so far.

    Raises:
        ImportRefused: a line cannot be used.
        OSError: the file cannot be read.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        readings = _readings(path, csv.reader(file, strict=True), tags)
        done = 0
        while chunk := tuple(islice(readings, MAX_READINGS)):
            yield Entry(device, chunk)
            done += len(chunk)
            progress(done)


def _readings(path: Path, rows: Iterable[list[str]], tags: Sequence[TagDescription]) -> Iterator[Reading]:
    readers = {tag.name: (tag.number, _VALUES[tag.datatype]) for tag in tags}
    when, taken_at_ms = "", 0
    line = 0
    numbered = _numbered(path, rows)
    for line, row in numbered:
        if row != HEADER:
            raise ImportRefused(path, line, repr(",".join(row)), f"the first line {','.join(HEADER)}")
        break
    if not line:
        raise ImportRefused(path, 1, "nothing", f"the first line {','.join(HEADER)}")
    for line, row in numbered:
        if len(row) != len(HEADER):
            raise ImportRefused(path, line, f"{len(row)} columns", f"the three columns {','.join(HEADER)}")
        if row[0] != when:
            when, taken_at_ms = row[0], _instant(path, line, row[0])
        known = readers.get(row[1])
        if known is None:
            names = ", ".join(sorted(readers)) or "none: this bioreactor has no tags in the settings"
            raise ImportRefused(path, line, f"tag {row[1]!r}", names)
        number, read = known
        text = row[2]
        if not text:
            yield Reading(number, taken_at_ms, None, Quality.BAD)
            continue
        try:
            yield Reading(number, taken_at_ms, read(text))
        except (ValueError, OverflowError, KeyError):
            kind = next(tag.datatype.name for tag in tags if tag.number == number)
            raise ImportRefused(path, line, f"value {text!r}", f"a value of type {kind}, or nothing") from None


def _numbered(path: Path, rows: Iterable[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """Rows with the line they end on; empty lines are passed over."""
    try:
        for row in rows:
            if row:
                yield rows.line_num, row  # type: ignore[attr-defined]  # a csv.reader, whose type has no public name
    except csv.Error as error:
        raise ImportRefused(path, rows.line_num, str(error), "CSV as of RFC 4180") from error  # type: ignore[attr-defined]
    except UnicodeDecodeError as error:
        raise ImportRefused(path, rows.line_num + 1, "bytes that are no UTF-8", "UTF-8") from error  # type: ignore[attr-defined]


def _instant(path: Path, line: int, text: str) -> int:
    allowed = "an instant with its time zone, such as 2026-11-23T06:00:00.000Z, between 1970 and 9999"
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise ImportRefused(path, line, f"time {text!r}", allowed) from None
    if instant.tzinfo is None:
        raise ImportRefused(path, line, f"time {text!r} without time zone", allowed)
    milliseconds = int(instant.timestamp()) * 1000 + instant.microsecond // 1000
    if not 0 <= milliseconds < _LIMIT_MS:
        raise ImportRefused(path, line, f"time {text!r}", allowed)
    return milliseconds


def _single(text: str) -> float:
    """A 32-bit float: what an instrument with such registers would have given."""
    value: float = unpack("<f", pack("<f", float(text)))[0]
    return value


def _signed(text: str) -> int:
    value = int(text)
    if not -(1 << 63) <= value < 1 << 63:
        raise OverflowError
    return value


def _unsigned(text: str) -> int:
    value = int(text)
    if not 0 <= value < 1 << 64:
        raise OverflowError
    return value


_VALUES: dict[Datatype, Callable[[str], Value]] = {
    Datatype.DOUBLE: float,
    Datatype.FLOAT: _single,
    Datatype.INT64: _signed,
    Datatype.UINT64: _unsigned,
    Datatype.BOOLEAN: lambda text: _BOOLEANS[text.lower()],
    Datatype.STRING: str,
}
