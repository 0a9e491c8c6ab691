"""From the broker to the commit: one worker's way of a reading, in the order of these files.

    worker.py      hears the broker           presence.py    the host's STATE
    births.py      tags become series         directory.py   wire ids become entities
    queueing.py    two lanes                  resolving.py   events become work
    committing.py  few transactions           replaying.py   dead letters, read again
    rebirths.py    asks for births

Before it: `lms_protocol.host`; after it: `lms_cloud.telemetry.storage`.
"""
