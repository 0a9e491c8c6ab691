"""A recorded run from a CSV file: tag by tag, the values and when they were taken.

Two forms, told apart by the header:

    taken_at,tag,value           a reading a row, as `lms-sim history --units`, `lms-agent log export` and the
                                 cloud's history.csv write it; further columns `unit` and `bioreactor` are heeded
    taken_at,pH/PV,DO/PV,…       a moment a row, a tag or other name a column

Times are ISO 8601 (without a zone: UTC) or seconds; rows need no order. An empty value, NaN or text is no reading.
"""

import csv
import math
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from lms_firmware_sim.errors import RecordingError
from lms_firmware_sim.process.bioreactor import TAGS, UNITS

TIME_COLUMNS = ("taken_at", "time", "timestamp")
_LONG_FORM = ("tag", "value")
_FACTORS = {("g", "kg"): 0.001, ("kg", "g"): 1000.0, ("mbar", "bar"): 0.001, ("mL/min", "L/min"): 0.001}


@dataclass(frozen=True, slots=True)
class Column:
    """What a name in the file is here.

    Attributes:
        tag: the simulator's tag.
        scale: the value here for a value of 1 in the file.
    """

    tag: str
    scale: float = 1.0


class _Row(NamedTuple):
    """One reading as it stands in the file."""

    line: int
    at_s: float
    name: str
    text: str
    unit: str


@dataclass(frozen=True, slots=True)
class Track:
    """One tag's readings in order of time; each holds until the next.

    Attributes:
        at_s: (n,) seconds since the recording's first reading.
        values: (n,) in the tag's unit.
    """

    at_s: "array[float]"
    values: "array[float]"

    def value(self, at_s: float) -> float:
        """The last value taken up to then; before the first, the first."""
        return self.values[max(0, bisect_right(self.at_s, at_s) - 1)]


class Recording:
    """A recorded run.

    Attributes:
        tracks: by tag.
        duration_s: from the first reading to the last.
    """

    def __init__(self, tracks: Mapping[str, Track]) -> None:
        self.tracks = dict(tracks)
        self.duration_s = max(track.at_s[-1] for track in self.tracks.values())

    def value(self, tag: str, at_s: float) -> float:
        """The tag's value at a time since the first reading. Raises KeyError for a tag that was not recorded."""
        return self.tracks[tag].value(at_s)


def load_recording(file: Path, bioreactor: str, columns: Mapping[str, Column] | None = None) -> Recording:
    """Read a recording.

    Args:
        file: the CSV file.
        bioreactor: whose rows are wanted, where the file has a column that tells.
        columns: what the file's names are here; without it they must be the simulator's tags.

    Raises:
        RecordingError: it cannot be used (file, line, what was found, what is allowed).
    """
    wanted = columns if columns is not None else {tag: Column(tag) for tag in TAGS}
    readings: dict[str, dict[float, float]] = {}
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            for row in _rows(csv.reader(opened), file, bioreactor, known=set(wanted), is_strict=columns is None):
                column = wanted.get(row.name)
                value = _number(row.text)
                if column is None or value is None:
                    continue
                scaled = value * column.scale * _factor(row, column.tag, file)
                readings.setdefault(column.tag, {})[row.at_s] = scaled
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RecordingError(file, None, f"it cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not readings:
        raise RecordingError(file, None, f"it has no reading of bioreactor {bioreactor} under a name that is known")
    begin_s = min(min(taken) for taken in readings.values())
    return Recording({tag: _track(taken, begin_s) for tag, taken in readings.items()})


def _rows(
    lines: Iterator[Sequence[str]], file: Path, bioreactor: str, *, known: set[str], is_strict: bool
) -> Iterator[_Row]:
    header = [name.strip() for name in next(lines, [])]
    time_column = next((name for name in TIME_COLUMNS if name in header), None)
    if time_column is None:
        raise RecordingError(file, 1, f"no column tells the time: one must be {', '.join(TIME_COLUMNS)}")
    if all(name in header for name in _LONG_FORM):
        return _long(lines, header, time_column, file, bioreactor)
    unknown = [name for name in header if name and name != time_column and name not in known]
    if unknown and is_strict:
        raise RecordingError(
            file, 1, f"{', '.join(map(repr, unknown))} are no tags: say with [[bioreactor.replay.column]] what they are"
        )
    return _wide(lines, header, time_column, file)


def _long(
    lines: Iterator[Sequence[str]], header: list[str], time_column: str, file: Path, bioreactor: str
) -> Iterator[_Row]:
    for line, cells in enumerate(lines, start=2):
        if not cells:
            continue
        row = dict(zip(header, cells, strict=False))
        if row.get("bioreactor", bioreactor) != bioreactor:
            continue
        if not all(name in row for name in (time_column, *_LONG_FORM)):
            raise RecordingError(file, line, f"it has {len(cells)} fields; the header names {len(header)}")
        yield _Row(line, _instant(row[time_column], file, line), row["tag"], row["value"], row.get("unit", ""))


def _wide(lines: Iterator[Sequence[str]], header: list[str], time_column: str, file: Path) -> Iterator[_Row]:
    at = header.index(time_column)
    for line, cells in enumerate(lines, start=2):
        if not cells:
            continue
        if len(cells) != len(header):
            raise RecordingError(file, line, f"it has {len(cells)} fields; the header names {len(header)}")
        at_s = _instant(cells[at], file, line)
        for position, (name, text) in enumerate(zip(header, cells, strict=True)):
            if position != at and name:
                yield _Row(line, at_s, name, text, "")


def _instant(text: str, file: Path, line: int) -> float:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise RecordingError(
            file, line, f"{text!r} is no time: allowed are ISO 8601, such as 2026-11-23T08:00:00Z, and seconds"
        ) from error
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()


def _number(text: str) -> float | None:
    """A finite number, or None for what is no reading."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _factor(row: _Row, tag: str, file: Path) -> float:
    """From the unit that the row tells to the tag's own."""
    if row.unit in ("", UNITS[tag]):
        return 1.0
    factor = _FACTORS.get((row.unit, UNITS[tag]))
    if factor is None:
        raise RecordingError(file, row.line, f"{row.name} is in {row.unit!r}; {tag} is in {UNITS[tag]!r} here")
    return factor


def _track(taken: dict[float, float], begin_s: float) -> Track:
    times = sorted(taken)
    return Track(array("d", (at_s - begin_s for at_s in times)), array("d", (taken[at_s] for at_s in times)))
