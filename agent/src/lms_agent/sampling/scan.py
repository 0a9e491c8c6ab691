"""What sampling hands over: one `Scan` per tick of a bus and bioreactor."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from lms_protocol.reading import Gap, Reading


@dataclass(frozen=True, slots=True)
class Scan:
    """What one tick of one bus brought for one bioreactor; the log appends it as one batch.

    Attributes:
        device: the bioreactor's wire id.
        readings: in the order taken.
        gaps: gaps that opened or closed.
    """

    device: str
    readings: tuple[Reading, ...]
    gaps: tuple[Gap, ...] = ()


Sink: TypeAlias = Callable[[Scan], Awaitable[object]]
"""Takes a scan and returns when it is committed. It may be called again before an earlier call has returned.

An `LmsError` or `OSError` from it means that the scan was not kept; sampling then records a gap and goes on.
"""

GapIds: TypeAlias = Callable[[], int]
"""Gives a new gap id, unique in the stream, at each call."""
