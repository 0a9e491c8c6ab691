"""Fixtures of the benchmarks that need a plant: see tests/support/plant.py."""

from support.plant import connect, ingest_db, plant, query, tags, web_db

__all__ = ["connect", "ingest_db", "plant", "query", "tags", "web_db"]
