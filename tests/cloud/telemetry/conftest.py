"""Fixtures of the telemetry tests: see tests/support/plant.py."""

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

__all__ = ["agent", "connect", "ingest_db", "ingest_settings", "ingesting", "plant", "query", "tags", "web_db"]
