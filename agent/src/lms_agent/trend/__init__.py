"""A tag's past as a picture of characters.

    gathering.py   the log's readings → one bucket for each step of time
    scales.py      round numbers and round times for the axes
    plotting.py    buckets → lines of characters

`lms-agent history` prints it, `lms-agent watch` shows it.
"""
