"""Telemetry: readings from the broker into the database, exactly once, and back out as history and latest values."""
