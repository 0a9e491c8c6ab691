"""Compare what agents logged with what the database holds, reading by reading, bit by bit.

A reading is (bioreactor, tag, ms UTC, kind, bits or text, quality). Two multisets are compared, so that a reading that
is there twice counts as doubled.
"""

import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple, TypeAlias

import psycopg
from lms_agent.log.reader import LogReader
from lms_protocol.reading import Batch, Datatype, Reading

Cell: TypeAlias = tuple[str, str, int, str, bytes, int]
MILLISECONDS = "(extract(epoch from r.taken_at) * 1000)::bigint"
STORED = f"""
select b.properties ->> 'wire_id', t.name, {MILLISECONDS}, s.datatype, float8send(r.value), null, r.quality
from readings r join series s on s.id = r.series_id
join entities t on t.id = s.tag_id join entities b on b.id = s.bioreactor_id
union all
select b.properties ->> 'wire_id', t.name, {MILLISECONDS}, s.datatype, null, r.value, r.quality
from readings_text r join series s on s.id = r.series_id
join entities t on t.id = s.tag_id join entities b on b.id = s.bioreactor_id
"""


class Verdict(NamedTuple):
    """What a comparison found; the last four are empty when all is well.

    Attributes:
        compared: readings of acknowledged batches that were looked for.
        stored: readings in the database.
        lost: acknowledged by the cloud, but not in the database.
        foreign: in the database, but in no log: altered, or made up.
        doubled: in the database more often than in the logs.
    """

    compared: int
    stored: int
    lost: Counter[Cell]
    foreign: Counter[Cell]
    doubled: Counter[Cell]


def logged(path: Path, upto: int | None = None, *, damaged: bool = False) -> Counter[Cell]:
    """All readings of a log, or those of the batches up to a number.

    Args:
        damaged: whether batches that the disk has damaged are passed over; else they raise `LogDamaged`.
    """
    cells: Counter[Cell] = Counter()
    with LogReader.open(path) as reader:
        names = {tag.number: tag.name for tag in reader.tags()}
        for batch in reader.after(0) if damaged else _batches(reader):
            if upto is None or batch.number <= upto:
                cells.update(logged_cell(batch.device, names[each.tag], each) for each in batch.readings)
    return cells


def _batches(reader: LogReader) -> Iterator[Batch]:
    first = 1
    while batches := reader.read(first, 1_000):
        yield from batches
        first = batches[-1].number + 1


def logged_cell(device: str, name: str, reading: Reading) -> Cell:
    """A reading of a log as it is compared."""
    value = reading.value
    if value is None:
        return device, name, reading.taken_at_ms, "none", b"", reading.quality
    if isinstance(value, str):
        return device, name, reading.taken_at_ms, "text", value.encode(), reading.quality
    return device, name, reading.taken_at_ms, "number", struct.pack(">d", value), reading.quality


def content(readings: Iterable[Reading]) -> str:
    """A digest of all that readings say."""
    said = [f"{each.tag} {each.taken_at_ms} {each.value!r} {int(each.quality)}" for each in readings]
    return blake2b("\n".join(said).encode(), digest_size=16).hexdigest()


def stored(database_url: str) -> Counter[Cell]:
    """All readings of the database; the account must be one that row security does not hold back."""
    cells: Counter[Cell] = Counter()
    with psycopg.connect(database_url) as connection:
        for device, name, ms, datatype, bits, text, quality in connection.execute(STORED):
            if bits is not None:
                cells[device, name, ms, "number", bytes(bits), quality] += 1
            elif text is not None and datatype != Datatype.STRING:
                cells[device, name, ms, "number", struct.pack(">d", int(text)), quality] += 1
            else:
                kind, data = ("none", b"") if text is None else ("text", text.encode())
                cells[device, name, ms, kind, data, quality] += 1
    return cells


def reconcile(database_url: str, logs: list[Path]) -> Verdict:
    """Compare running agents' logs with the database.

    Order matters while readings go on: first what is acknowledged, then the database, then the whole logs. Whatever
    was acknowledged before must be in the database, and whatever is in the database must be in the logs by then.
    """
    acknowledged = {path: acked(path) for path in logs}
    there = stored(database_url)
    owed: Counter[Cell] = Counter()
    whole: Counter[Cell] = Counter()
    for path in logs:
        owed.update(logged(path, acknowledged[path]))
        whole.update(logged(path))
    extra = there - whole
    return Verdict(
        compared=owed.total(),
        stored=there.total(),
        lost=owed - there,
        foreign=Counter({cell: count for cell, count in extra.items() if cell not in whole}),
        doubled=Counter({cell: count for cell, count in extra.items() if cell in whole}),
    )


def head(path: Path) -> int:
    """The number of a log's last batch."""
    with LogReader.open(path) as reader:
        return reader.head()[0]


def acked(path: Path) -> int:
    """The number up to which a log's batches are acknowledged."""
    with LogReader.open(path) as reader:
        return reader.acked
