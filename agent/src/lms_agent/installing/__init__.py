"""The agent as a service of the computer.

    systemd.py   what systemd says of the unit
    unit.py      the unit's text
    steps.py     what an installation does, one step after another

Used by `lms-agent service` and `lms-agent doctor`.
"""
