"""Logs as the first release of the agent left them: the oldest that every later release brings up to date."""

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID, uuid4

from lms_agent.log import schema
from lms_agent.log.checksums import batch_checksum
from lms_protocol.batches import GAP_NAME, add_readings, gap_to_text
from lms_protocol.reading import Batch
from lms_protocol.sparkplug import PAYLOAD

FIRST_VERSION = """
CREATE TABLE _sqlite_migrations (id INTEGER PRIMARY KEY, migration_set TEXT, name TEXT, applied_at TEXT);
CREATE UNIQUE INDEX idx__sqlite_migrations_migration_set_name ON _sqlite_migrations (migration_set, name);
INSERT INTO _sqlite_migrations VALUES (1, 'lms-agent-log', '0001_batches', '2026-11-01 00:00:00+00:00');
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE tags (number INTEGER PRIMARY KEY, device TEXT NOT NULL, name TEXT NOT NULL, description TEXT NOT NULL);
CREATE UNIQUE INDEX idx_tags_device_name ON tags (device, name);
CREATE TABLE batches (number INTEGER PRIMARY KEY, device TEXT NOT NULL, first_taken_at_ms INTEGER,
    last_taken_at_ms INTEGER, readings INTEGER NOT NULL, total INTEGER NOT NULL, checksum INTEGER NOT NULL,
    record BLOB NOT NULL);
CREATE INDEX idx_batches_first_taken_at_ms ON batches (first_taken_at_ms);
CREATE TABLE gaps (id INTEGER PRIMARY KEY, device TEXT NOT NULL, batch INTEGER NOT NULL, tags TEXT NOT NULL,
    began_at_ms INTEGER NOT NULL, ended_at_ms INTEGER, reason TEXT NOT NULL);
CREATE INDEX open_gaps ON gaps (id) WHERE ended_at_ms IS NULL;
"""
DOUBLE = '{"datatype": 10, "unit": "", "low": null, "high": null, "decimals": null, "access": "read"}'
SYNC = {"Sync/Batch": 8, "Sync/Gap": 12}
"""The tags of acknowledged delivery that the first release had, with their data types."""


def record(batch: Batch) -> bytes:
    """A batch as the first release recorded it: a Sparkplug payload."""
    message = PAYLOAD()
    add_readings(message, batch.readings)
    for gap in batch.gaps:
        metric = message.metrics.add()
        metric.name = GAP_NAME
        metric.string_value = gap_to_text(gap)
    return bytes(message.SerializeToString())


def first_release_log(
    path: Path, batches: Sequence[Batch], *, acked: int, names: Sequence[str] = ("pH/PV",), open_gap: bool = False
) -> UUID:
    """Make one, with a stream of its own.

    Args:
        names: of the tags of R1; the first has number 1. The tags of acknowledged delivery come behind them.
        open_gap: whether tag 1 has a gap since batch 5 that has not ended.
    """
    stream = uuid4()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.executescript(FIRST_VERSION)
    connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
    latest = json.dumps({"through": 0, "record": ""})
    metas = {"stream": str(stream), "acked": str(acked), "bd_seq": "4", "latest": latest}
    connection.executemany("INSERT INTO meta VALUES (?, ?)", metas.items())
    tags = [(name, DOUBLE) for name in names]
    tags += [(name, DOUBLE.replace("10", str(datatype))) for name, datatype in SYNC.items()]
    for number, (name, description) in enumerate(tags, start=1):
        connection.execute("INSERT INTO tags VALUES (?, 'R1', ?, ?)", (number, name, description))
    if open_gap:
        connection.execute("INSERT INTO gaps VALUES (3, 'R1', 5, '[1]', 5000, NULL, 'no reply')")
    total = 0
    for batch in batches:
        total += len(batch.readings)
        data = record(batch)
        times = [reading.taken_at_ms for reading in batch.readings]
        checksum = batch_checksum(batch.number, batch.device, data)
        values = (batch.number, batch.device, min(times), max(times), len(times), total, checksum, data)
        connection.execute("INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
    connection.commit()
    connection.close()
    return stream
