"""The agent's log: batches on the disk before anything is sent.

    sqlite_log.py     the log, open for writing           writer.py         the one thread that writes
    reader.py         the log, open for looking           jobs.py           what it is handed
    records.py        batches ⇄ rows, newest readings     writing_clock.py  the times that batches get
    keeping.py        what happens when the disk refuses  tags.py           numbers of tags
    schema.py         tables and migrations               schema_checks.py  is a file a log, and a sound one
    opening.py        a log, or a new one in its place    care.py           the same while the agent runs
    salvage.py        what damage has left                gathering.py      what is sent of a log set aside
    lock.py           one writing process                 errors.py         what can go wrong

A reading comes from `lms_agent.sampling` and goes on to `lms_agent.sending`.
"""
