"""Turns the tables of readings and rollups from plain partitions into TimescaleDB hypertables with a columnstore.

Called when a new database is migrated, and by `lms-cloud storage convert`. All in one transaction with the tables
locked: either everything is converted or nothing is, and ingest waits meanwhile.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from sqlalchemy import Connection, text

from lms_cloud.kernel.tenancy import INGEST, WEB


class Hypertable(NamedTuple):
    """How one table is stored in TimescaleDB. Intervals are in PostgreSQL's words.

    Attributes:
        instant: the column that cuts it into pieces (chunks).
        piece: how long one is.
        columns_after: after its end, when it becomes columns.
        key: its index.
        ingest: what the ingest workers may do.
    """

    name: str
    instant: str
    piece: str
    columns_after: str
    key: str
    ingest: str

    @property
    def made_by(self) -> tuple[str, ...]:
        """The statements that make it, empty, beside the plain one, which is called `{name}_plain` by then."""
        return (
            f"create table {self.name} (like {self.name}_plain including defaults including comments)",
            f"select create_hypertable('{self.name}', by_range('{self.instant}', interval '{self.piece}'),"
            " create_default_indexes => false)",
            self.key,
            f"alter table {self.name} set (timescaledb.enable_columnstore, timescaledb.segmentby = 'series_id',"
            f" timescaledb.orderby = '{self.instant}')",
            f"call add_columnstore_policy('{self.name}', after => interval '{self.columns_after}',"
            " schedule_interval => interval '1 hour')",
            f"grant select on {self.name} to {WEB}",
            f"grant {self.ingest} on {self.name} to {INGEST}",
        )


# What comes late into a piece that is columns already lies beside them as rows, until the policy's next turn. Rollups
# stay rows for longer, because a late reading has to find and change the row of its bucket.
HYPERTABLES: Final = (
    Hypertable(
        *("readings", "taken_at", "1 day", "2 hours"),
        "create index readings_series_taken on readings (series_id, taken_at)",
        "select, insert",
    ),
    Hypertable(
        *("readings_text", "taken_at", "1 day", "2 hours"),
        "create index readings_text_series_taken on readings_text (series_id, taken_at)",
        "select, insert",
    ),
    Hypertable(
        *("rollup_1m", "bucket", "7 days", "30 days"),
        "alter table rollup_1m add primary key (series_id, bucket)",
        "select, insert, update",
    ),
    Hypertable(
        *("rollup_1h", "bucket", "91 days", "91 days"),
        "alter table rollup_1h add primary key (series_id, bucket)",
        "select, insert, update",
    ),
)

LOCKED: Final = ("feeds", "rollup_marks", *(table.name for table in HYPERTABLES))
"""Locked in this order. The first statement of every commit writes `feeds`, that of the refresher `rollup_marks`: there
they wait. A COPY must not wait any later: TimescaleDB looks whether its table is a hypertable before the COPY waits for
the table's lock, and rows copied into what became one meanwhile would lie where no query finds them."""

_STATE = text("select flavour from storage_state")
_INDEXES = text("select indexrelid::regclass::text from pg_index where indrelid = cast(:table as regclass)")
_DIRECTLY = text("""
select set_config('timescaledb.enable_direct_compress_insert', 'on', true)
where current_setting('timescaledb.enable_direct_compress_insert', true) is not null
""")


def flavour(connection: Connection) -> str:
    """ "plain" or "timescaledb"."""
    return str(connection.execute(_STATE).scalar_one())


def convert(connection: Connection, tell: Callable[[str], None]) -> None:
    """Convert the database in the transaction of `connection`, as its owner; the caller commits.

    Raises:
        sqlalchemy.exc.DBAPIError: TimescaleDB or the database refuses; nothing is changed.
    """
    connection.execute(text(f"lock table {', '.join(LOCKED)} in access exclusive mode"))
    connection.execute(_DIRECTLY)
    for table in HYPERTABLES:
        connection.execute(text(f"alter table {table.name} rename to {table.name}_plain"))
        for index in connection.execute(_INDEXES, {"table": f"{table.name}_plain"}).scalars().all():
            connection.execute(text(f"alter index {index} rename to {index}_plain"))
        for statement in table.made_by:
            connection.execute(text(statement))
        moved = connection.execute(text(f"insert into {table.name} select * from {table.name}_plain"))  # noqa: S608
        if moved.rowcount:
            tell(f"Moved {moved.rowcount:,} rows of {table.name} into a hypertable.")
        connection.execute(text(f"drop table {table.name}_plain"))
    connection.execute(text("update storage_state set flavour = 'timescaledb', since = now()"))
