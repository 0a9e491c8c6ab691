"""Fixtures of the telemetry tests: see tests/support/plant.py, ingest_processes.py and rollups.py."""

from support.ingest_processes import start_ingest
from support.plant import (
    agent,
    connect,
    ingest_db,
    ingest_settings,
    ingesting,
    plant,
    query,
    tags,
    web_db,
)
from support.rollups import store, store_batch

__all__ = [
    "agent",
    "connect",
    "ingest_db",
    "ingest_settings",
    "ingesting",
    "plant",
    "query",
    "start_ingest",
    "store",
    "store_batch",
    "tags",
    "web_db",
]
