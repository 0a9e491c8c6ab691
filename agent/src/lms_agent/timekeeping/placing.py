"""Where the readings of a boot go whose time nobody will ever know, because the power went before the clock was right.

They keep their order and their intervals. Those of a boot whose clock was plausible stay where it put them, if that is
before the next boot; all others end where the next boot begins. Either way the place is an estimate, and says so.

Neighbours: `lms_agent.log.times.clocks` asks, when the time of a later boot is known.
"""

from collections.abc import Sequence
from typing import NamedTuple


class Homeless(NamedTuple):
    """The open readings of one earlier boot.

    Attributes:
        began_ms, ended_ms: their first and last moment, in the time that they were given first, ms.
        plausible: whether the clock of that boot said what can be.
    """

    began_ms: int
    ended_ms: int
    plausible: bool


def place(homeless: Sequence[Homeless], before_ms: int) -> list[int]:
    """Return by how much each boot's readings move, in ms.

    Args:
        homeless: oldest first.
        before_ms: when the boot after them began, ms UTC.
    """
    shifts = []
    for boot in reversed(homeless):
        latest_ms = before_ms - 1 - boot.ended_ms
        shift_ms = min(latest_ms, 0) if boot.plausible else latest_ms
        shifts.append(shift_ms)
        before_ms = boot.began_ms + shift_ms
    return shifts[::-1]
