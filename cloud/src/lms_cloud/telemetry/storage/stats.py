"""What the storage holds and what it takes: readings, bytes, pieces, what waits. For operators, as the owner."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text

from lms_cloud.kernel.database import UnitOfWork

RELATIONS: Final = ("readings", "readings_text", "rollup_1m", "rollup_1h", "rollup_1d")

_STATE = text("""
select flavour, (select extversion from pg_extension where extname = 'timescaledb') as version,
    (select coalesce(sum(readings), 0) from rollup_1d) as taken_in,
    (select coalesce(sum(readings), 0) from storage_removals where level = 'readings') as removed,
    (select count(*) from rollup_marks) as marks, (select min(marked_at) from rollup_marks) as oldest_mark
from storage_state
""")
_PLAIN_SIZES = text("""
select relation, (select coalesce(sum(pg_total_relation_size(relid)), 0) from pg_partition_tree(relation::regclass))
    + case relation when 'rollup_1d' then pg_total_relation_size('rollup_1d') else 0 end as bytes,
    0 as in_columns, cast(null as bigint) as columns_before, cast(null as bigint) as columns_after
from unnest(cast(:relations as text[])) as relation
""")
_TIMESCALE_SIZES = text("""
select relation, hypertable_size(relation::regclass) as bytes, number_compressed_chunks as in_columns,
    before_compression_total_bytes as columns_before, after_compression_total_bytes as columns_after
from unnest(cast(:relations as text[])) as relation
    left join lateral hypertable_columnstore_stats(relation::regclass) on true where relation <> 'rollup_1d'
union all
select 'rollup_1d', pg_total_relation_size('rollup_1d'), 0, null, null
""")
_PLAIN_PIECES = text("""
select relation, piece, from_at, to_at, pg_total_relation_size(piece::regclass) as bytes, false as in_columns
from storage_pieces() order by relation, from_at
""")
_TIMESCALE_PIECES = text("""
select relation, piece, from_at, to_at, total_bytes as bytes, is_compressed as in_columns
from storage_pieces()
    join timescaledb_information.chunks c on format('%I.%I', c.chunk_schema, c.chunk_name) = piece
    join lateral (select total_bytes, chunk_name from chunks_detailed_size(relation::regclass)) s
        on s.chunk_name = c.chunk_name
order by relation, from_at
""")
_EXTENT = text("""
select min(least(
        (select min(taken_at) from readings where series_id = s.id),
        (select min(taken_at) from readings_text where series_id = s.id))) as oldest,
    (select max(taken_at) from latest) as newest
from series s
""")


@dataclass(frozen=True, slots=True)
class RelationStats:
    """One table of readings or rollups.

    Attributes:
        pieces: partitions or chunks that have an end.
        in_columns: how many of them TimescaleDB keeps as columns.
        compression: how many times smaller the columns are than the rows were; None where nothing is columns.
    """

    relation: str
    pieces: int
    in_columns: int
    bytes: int
    compression: float | None


@dataclass(frozen=True, slots=True)
class StorageStats:
    """The whole storage.

    Attributes:
        readings: stored now; exact once no marks wait.
        removed: readings that retention removed.
        bytes_per_reading: tables and indexes of readings and texts; None where there are none.
        marks: minutes, or runs of them, whose rollups wait to be computed.
        oldest_mark: since when the longest has waited.
    """

    flavour: str
    version: str | None
    readings: int
    removed: int
    bytes: int
    bytes_per_reading: float | None
    marks: int
    oldest_mark: datetime | None
    relations: Sequence[RelationStats]


async def storage_stats(uow: UnitOfWork) -> StorageStats:
    """Ask the database; nothing is counted one by one."""
    state = (await uow.session.execute(_STATE)).one()
    pieces: dict[str, int] = dict.fromkeys(RELATIONS, 0)
    for piece in (await uow.session.execute(text("select relation from storage_pieces()"))).scalars():
        pieces[piece] += 1
    statement = _TIMESCALE_SIZES if state.flavour == "timescaledb" else _PLAIN_SIZES
    found = {row.relation: row for row in await uow.session.execute(statement, {"relations": list(RELATIONS)})}
    relations = [
        RelationStats(name, pieces[name], row.in_columns or 0, int(row.bytes), _ratio(row))
        for name, row in ((name, found[name]) for name in RELATIONS)
    ]
    readings = int(state.taken_in - state.removed)
    size = sum(each.bytes for each in relations if each.relation in {"readings", "readings_text"})
    return StorageStats(
        state.flavour,
        state.version if state.flavour == "timescaledb" else None,
        readings,
        int(state.removed),
        sum(each.bytes for each in relations),
        size / readings if readings > 0 else None,
        state.marks,
        state.oldest_mark,
        relations,
    )


def _ratio(row: Any) -> float | None:
    return float(row.columns_before / row.columns_after) if row.columns_after else None


async def storage_pieces(uow: UnitOfWork, flavour: str) -> list[dict[str, Any]]:
    """Every piece with its bounds, its bytes, and whether it is columns."""
    statement = _TIMESCALE_PIECES if flavour == "timescaledb" else _PLAIN_PIECES
    return [dict(row) for row in (await uow.session.execute(statement)).mappings()]


async def extent(uow: UnitOfWork) -> tuple[datetime | None, datetime | None]:
    """When the oldest and the newest reading of the organization that `uow` is in were taken."""
    row = (await uow.session.execute(_EXTENT)).one()
    return row.oldest, row.newest
