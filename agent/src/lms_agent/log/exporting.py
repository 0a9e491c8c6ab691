"""Readings of a log as lines: local history for a spreadsheet, without cloud or network.

One line a reading, in the order of logging, straight from the file: memory does not grow with the window.

Neighbours: `lms-agent log export`; `lms_agent.log.reader` finds the batches, with corrected times.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, TextIO

from lms_protocol.errors import LmsError
from lms_protocol.reading import Reading, TagDescription

from lms_agent.log.reader import LogReader

HEADER = ("taken_at", "bioreactor", "tag", "value", "unit", "quality")
ALWAYS_MS = (0, 1 << 62)


class Window(NamedTuple):
    """What is wanted.

    Attributes:
        from_ms, to_ms: taken at the first or later, but before the second; ms UTC.
        device: of this bioreactor only; None for all.
        tags: names; empty for all.
    """

    from_ms: int = ALWAYS_MS[0]
    to_ms: int = ALWAYS_MS[1]
    device: str | None = None
    tags: Sequence[str] = ()


class UnknownTag(LmsError):
    """The log has no such tag.

    Attributes:
        name: as asked for.
    """

    def __init__(self, name: str, known: Sequence[str]) -> None:
        self.name = name
        super().__init__(f"The log has no tag {name!r}; it has {', '.join(sorted(known)) or 'none'}.")


def readings(reader: LogReader, window: Window) -> Iterator[tuple[TagDescription, Reading]]:
    """Yield what lies in the window, each reading with its tag.

    Raises:
        UnknownTag: a tag that the log never had.
    """
    tags = {
        tag.number: tag
        for tag in reader.tags()
        if not tag.name.startswith("Sync/") and window.device in {None, tag.device}
    }
    names = {tag.name for tag in tags.values()}
    for name in window.tags:
        if name not in names:
            raise UnknownTag(name, sorted(names))
    wanted = {number: tag for number, tag in tags.items() if not window.tags or tag.name in window.tags}
    for batch in reader.between(window.from_ms, window.to_ms, window.device):
        for reading in batch.readings:
            tag = wanted.get(reading.tag)
            if tag is not None and window.from_ms <= reading.taken_at_ms < window.to_ms:
                yield tag, reading


def write_csv(found: Iterator[tuple[TagDescription, Reading]], file: TextIO) -> int:
    """Write CSV with a header; return the number of readings."""
    lines = csv.writer(file, lineterminator="\n")
    lines.writerow(HEADER)
    count = 0
    for tag, reading in found:
        count += 1
        value = "" if reading.value is None else _text(reading.value)
        lines.writerow((iso(reading.taken_at_ms), tag.device, tag.name, value, tag.unit, reading.quality.name))
    return count


def write_json(found: Iterator[tuple[TagDescription, Reading]], file: TextIO) -> int:
    """Write one JSON object a line; return the number of readings. A value that JSON cannot say is a string."""
    count = 0
    for tag, reading in found:
        count += 1
        value = reading.value
        if isinstance(value, float) and value - value != 0:
            value = _text(value)
        cells = (iso(reading.taken_at_ms), tag.device, tag.name, value, tag.unit, reading.quality.name)
        file.write(json.dumps(dict(zip(HEADER, cells, strict=True)), ensure_ascii=False) + "\n")
    return count


def iso(ms: int) -> str:
    """An instant as text, in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _text(value: object) -> str:
    """A value so that it reads back bit by bit."""
    return str(value).lower() if isinstance(value, bool) else repr(value) if isinstance(value, float) else str(value)
