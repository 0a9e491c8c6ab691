"""What is committed, and how it is kept: the transaction, rollups, flavours of storage, retention.

    transaction.py       the one transaction that makes readings the cloud's; its parts: judging.py, tallies.py,
                         clock_rows.py, replayed.py
    postgres_storage.py  a worker's connection to it    partitions.py     weeks, made ahead
    flavours/            plain PostgreSQL, TimescaleDB  rollups/          minutes, hours, days
    retention.py         removal by age                 locked_windows.py what no retention removes
    upkeep.py            what a worker does for it      stats.py          what it holds, for people

Before it: `lms_cloud.telemetry.ingest`; after it: `lms_cloud.telemetry.history`.
"""
