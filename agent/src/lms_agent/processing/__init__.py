"""Processing: what becomes of a reading between its instrument and the log, tag by tag, as the configuration says.

    correcting.py    by calibration; the value that was read is kept beside
    judging.py       plausible or not: rate of change, stuck value
    deriving.py      derived tags: computed from others
    following.py     which tags are made from which
    reporting.py     report by exception: what need not be logged, because it says nothing new
    processing.py    all of it, scan by scan

Between `lms_agent.sampling`, which reads and finds gaps, and its outlet to the log. What a driver has read
is never lost here: what is corrected is kept as it was beside the corrected value, what is implausible is kept and
flagged.
"""

from lms_agent.processing.processing import UNCALIBRATED, Processing

__all__ = ["UNCALIBRATED", "Processing"]
