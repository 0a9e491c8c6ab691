"""The agent's log: batches on the disk before anything is sent.

    sqlite_log.py     the log, open for writing           writer.py         the one thread that writes
    reader.py         the log, open for looking           jobs.py           what it is handed
    records.py        batches ⇄ rows, newest readings     tags.py           numbers of tags
    keeping.py        what happens when the disk refuses  absence.py        gaps of the time without an agent
    schema.py         tables and migrations               checksums.py      bytes that the disk has altered
    opening.py        a log, or a new one in its place    care.py           the same while the agent runs
    lock.py           one writing process                 errors.py         what can go wrong
    exporting.py      readings as lines                   importing.py      lines as readings

    times/            under which clock batches were logged, and what has been corrected since
    limits/           what may be given up when the log is too large or too old, and how the disk gets its room back
    damage/           how damage is noticed, and what it leaves readable
    renewal/          a log set aside, a new one begun, and how what was not sent is sent all the same

A reading comes from `lms_agent.sampling` and goes on to `lms_agent.sending`.
"""
