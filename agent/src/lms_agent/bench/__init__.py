"""What is asked of instruments beside the scans: a technician's reading, a set point.

    visit.py     one instrument, read once: what is told of it, also from one process to another
    parts.py     what an instrument is told when it is calibrated
    bench.py     asks on the very buses that the scans use, or on buses of its own

Neighbours: `lms_agent.sampling` owns the buses of a running agent, `lms_agent.service` is its door, `lms_agent.cli`
shows.
"""

from lms_agent.bench.bench import Bench, BenchClosed, UnknownInstrument, UnknownTag, opened
from lms_agent.bench.parts import AFTER, BEFORE, NotObeyed, NotTaken, NotTold
from lms_agent.bench.visit import Missing, Shown, Visit

__all__ = [
    "AFTER",
    "BEFORE",
    "Bench",
    "BenchClosed",
    "Missing",
    "NotObeyed",
    "NotTaken",
    "NotTold",
    "Shown",
    "UnknownInstrument",
    "UnknownTag",
    "Visit",
    "opened",
]
