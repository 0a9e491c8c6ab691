"""Sampling: what is due on each bus → drivers → one `Scan` per bioreactor → the log.

Between the drivers, which turn replies into values, and the log, which commits each scan before it is sent.

    scan.py         what is handed over
    watching.py     one instrument: its grid of scans, its failures, gaps and back-off
    outlet.py       scans → sink, without ever making a bus wait; what cannot be kept becomes a gap
    sampling.py     one task per bus
"""

from lms_agent.sampling.sampling import Sampling
from lms_agent.sampling.scan import GapIds, Scan, Sink

__all__ = ["GapIds", "Sampling", "Scan", "Sink"]
