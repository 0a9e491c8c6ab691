"""Rollups: what a minute, an hour and a day of each series came to, right within a minute whenever readings come.

    marks.py        which minutes a commit touched, written in its own transaction
    queries.py      the statements that compute buckets
    choosing.py     which of the marks that wait are next
    refreshing.py   takes marks and computes those minutes anew; runs inside the ingest worker, and from the CLI

Before it: `lms_cloud.telemetry.storage.transaction`. After it: history, which reads `rollup_1m`, `rollup_1h` and
`rollup_1d`.
"""
