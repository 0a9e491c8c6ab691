"""Readings as a file for other programs: CSV, or Parquet, of any size, in bounded memory.

Sorted by bioreactor, tag and time. Every line says its unit and quality, every time its offset from UTC. A server-side
cursor in one snapshot gives some thousand readings at a time (see `history_stream`); a writer takes them as they come.
Called by `lms-cloud storage export`.
"""

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta, timezone
from typing import IO, Any, Final, NamedTuple, Protocol
from zoneinfo import ZoneInfo

from lms_cloud.fleet.models import Bioreactor
from lms_cloud.fleet.service import FleetService
from lms_cloud.kernel.database import UnitOfWork
from lms_cloud.kernel.errors import Invalid, NotFound, SettingsError
from lms_cloud.telemetry.history import rows
from lms_cloud.telemetry.history.series import Window
from lms_cloud.telemetry.history.service import HistoryService
from lms_cloud.telemetry.history.stream import Row, csv_value, quoted, read_every_one
from lms_cloud.telemetry.values import TagInfo, read_value

CSV_HEADER: Final = "taken_at,bioreactor,tag,unit,value,quality\r\n"
ROW_GROUP: Final = 200_000
"""Readings of one row group of Parquet: what is in memory at once."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class ExportedTag(NamedTuple):
    """A tag whose readings are exported, and its bioreactor's wire id."""

    bioreactor: str
    tag: TagInfo


class Writer(Protocol):
    """Takes readings, tag by tag."""

    def write(self, of: ExportedTag, read: Sequence[Row]) -> None:
        """Write readings of one tag, in order of time."""
        ...

    def close(self) -> None:
        """Write what is still to be written."""
        ...


async def export(
    uow: UnitOfWork,
    writer: Writer,
    *,
    start: datetime,
    end: datetime,
    bioreactors: Sequence[str] | None = None,
    tags: Sequence[str] | None = None,
) -> int:
    """Write the readings of an organization in a window; how many.

    Args:
        uow: of the organization, a snapshot.
        start, end: aware; `start` is included, `end` is not.
        bioreactors: wire ids; all if None.
        tags: names, of whichever of the bioreactors have them; all if None.

    Raises:
        NotFound: a bioreactor is not there.
        Invalid: no bioreactor has a tag of that name, or the window is absurd.
    """
    if start >= end:
        raise Invalid("start", start.isoformat(), f"a time before the end, {end.isoformat()}")
    window = Window(_ms(start), _ms(end), 0)
    connection = await uow.driver_connection()
    count = 0
    for of in await _chosen(uow, bioreactors, tags):
        series = of.tag.series
        if series is None:
            continue
        both = bool(await rows.with_texts(connection, [series], window.start, window.end))
        parts: AsyncGenerator[Sequence[Row], None] = read_every_one(connection, series, window, both=both)
        async with aclosing(parts):
            async for read in parts:
                writer.write(of, read)
                count += len(read)
    writer.close()
    return count


async def _chosen(uow: UnitOfWork, bioreactors: Sequence[str] | None, tags: Sequence[str] | None) -> list[ExportedTag]:
    fleet, history = FleetService(uow), HistoryService(uow)
    chosen: list[Bioreactor] = []
    if bioreactors is None:
        chosen = await fleet.list_bioreactors()
    for wire_id in dict.fromkeys(bioreactors or ()):
        found = await fleet.find_bioreactor(wire_id)
        if found is None:
            raise NotFound("bioreactor", wire_id)
        chosen.append(found)
    known = {each.typed.wire_id: await history.tags(each.id) for each in chosen}
    for name in tags or ():
        if not any(name in named for named in known.values()):
            listed = ", ".join(sorted({each for named in known.values() for each in named})) or "none yet"
            raise Invalid("tag", name, f"tags of these bioreactors ({listed})")
    return [
        ExportedTag(wire_id, tag)
        for wire_id, named in sorted(known.items())
        for name, tag in sorted(named.items())
        if tags is None or name in tags
    ]


def _ms(instant: datetime) -> int:
    """The first millisecond not before an instant."""
    return -((_EPOCH - instant) // timedelta(milliseconds=1))


class CsvWriter:
    """Writes CSV as RFC 4180 has it, UTF-8: no value is an empty field, an empty text a quoted one.

    Args:
        file: to write to; stays open.
        zone: in which times are written, with their offset.
    """

    def __init__(self, file: IO[str], zone: ZoneInfo | timezone = UTC) -> None:
        self._file = file
        self._zone = zone
        file.write(CSV_HEADER)

    def write(self, of: ExportedTag, read: Sequence[Row]) -> None:
        """Write readings of one tag."""
        self._file.write("".join(self._lines(of, read)))

    def close(self) -> None:
        """Everything is written already."""

    def _lines(self, of: ExportedTag, read: Sequence[Row]) -> Iterator[str]:
        middle = f",{quoted(of.bioreactor)},{quoted(of.tag.name)},{quoted(of.tag.unit)},"
        for ms, quality, number, text in read:
            at = (_EPOCH + timedelta(milliseconds=ms)).astimezone(self._zone)
            value = csv_value(read_value(of.tag.datatype, number, text))
            yield f"{at.isoformat(timespec='milliseconds')}{middle}{value},{quality}\r\n"


class ParquetWriter:
    """Writes Parquet (zstd), in row groups of some hundred thousand readings.

    Columns: taken_at (timestamp[ms] with the zone), bioreactor, tag, unit, datatype (dictionaries), value (double),
    text (texts, and integers beyond 2^53, exactly), quality (int16).

    Args:
        path: the file.
        zone: named in the type of `taken_at`; the instants are the same whatever it is.
        facts: kept in the file's metadata.

    Raises:
        SettingsError: pyarrow is not installed.
    """

    def __init__(self, path: str, zone: str, facts: Mapping[str, str]) -> None:
        try:
            import pyarrow as pa  # noqa: PLC0415 - an optional dependency, and slow to import
            import pyarrow.parquet as pq  # noqa: PLC0415
        except ImportError as error:
            raise SettingsError(
                "--format", "parquet needs pyarrow, which is not installed", "Run: pip install 'lms-cloud[parquet]'"
            ) from error
        self._pa: Any = pa
        words = pa.dictionary(pa.int32(), pa.string())
        self._schema: Any = pa.schema(
            [
                pa.field("taken_at", pa.timestamp("ms", tz=zone), nullable=False),
                pa.field("bioreactor", words, nullable=False),
                pa.field("tag", words, nullable=False),
                pa.field("unit", words, nullable=False),
                pa.field("datatype", words, nullable=False),
                pa.field("value", pa.float64()),
                pa.field("text", pa.string()),
                pa.field("quality", pa.int16(), nullable=False),
            ],
            metadata=dict(facts),
        )
        self._writer: Any = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._waiting: list[Any] = []
        self._rows = 0

    def write(self, of: ExportedTag, read: Sequence[Row]) -> None:
        """Take readings of one tag; they are written when there are enough for a row group."""
        pa = self._pa
        times, qualities, numbers, texts = zip(*read, strict=True)
        names = (of.bioreactor, of.tag.name, of.tag.unit, of.tag.datatype.name.lower())
        zeros = pa.array([0] * len(read), pa.int32())
        columns = [
            pa.array(times, pa.int64()).cast(self._schema.field("taken_at").type),
            *(pa.DictionaryArray.from_arrays(zeros, pa.array([name], pa.string())) for name in names),
            pa.array(numbers, pa.float64()),
            pa.array(texts, pa.string()),
            pa.array(qualities, pa.int16()),
        ]
        self._waiting.append(pa.Table.from_arrays(columns, schema=self._schema))
        self._rows += len(read)
        if self._rows >= ROW_GROUP:
            self._flush()

    def close(self) -> None:
        """Write the last row group and the file's end."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(self._pa.concat_tables(self._waiting).unify_dictionaries())
        self._waiting, self._rows = [], 0
