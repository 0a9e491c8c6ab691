"""The agent's log: batches on the disk before anything is sent.

    sqlite_log.py   the log, open for writing           writer.py   the one thread that writes
    reader.py       the log, open for looking           records.py  batches ⇄ rows, newest readings
    keeping.py      what happens when the disk refuses  tags.py     numbers of tags
    schema.py       tables and migrations               lock.py     one writing process
    jobs.py         what the writer is handed           writing_clock.py  how the clock stands for it
    errors.py       what can go wrong

A reading comes from `lms_agent.sampling` and goes on to `lms_agent.sending`.
"""
