"""How readings and rollups lie in the database: plain PostgreSQL, or TimescaleDB. The queries are the same on both.

    offering.py      what the server offers, and what would be needed for more, in a sentence
    conversion.py    from plain to TimescaleDB, once
    settling.py      which of the two a database gets when it is migrated
    copying.py       what a COPY does for the columnstore

| | plain | TimescaleDB |
|---|---|---|
| pieces | partitions of a week, made ahead by `make_reading_partitions` | chunks of a day, made as readings come |
| old pieces | stay as they are | become columns, by a policy of TimescaleDB |
| rollups | tables, the same on both, refreshed by `lms_cloud.telemetry.storage.rollups` | hypertables |
| retention | drops whole pieces | drops whole pieces |
"""
