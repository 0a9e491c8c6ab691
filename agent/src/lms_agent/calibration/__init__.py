"""Calibration: a reading is held against known values, and from then on corrected, or the instrument adjusted.

    fitting.py      measured points → the correction
    judging.py      slope and offset against what is plausible
    stability.py    when a reading counts as stable
    session.py      the steps of one calibration, as a state machine
    making.py       what was measured, and by whom → a calibration
    record.py       one calibration: what was measured, by whom, why, and what came of it
    adjusting.py    that an instrument is about to adjust itself
    store.py        all that there ever were: a file beside the log
    standing.py     what is overdue, or in doubt
    keeping.py      those of a running agent: kept, in force, told

Neighbours: `lms_protocol.instruments.calibration` says how an instrument model is calibrated;
`lms_agent.processing.correcting` applies; `lms-agent calibrate` guides.
"""
