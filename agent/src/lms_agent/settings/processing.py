"""What may be asked to be done with readings, and what of it makes sense.

Neighbours: `points.py` has the keys, `consistency.py` asks what fits the period; `lms_agent.processing` does it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from lms_protocol.checked_toml.findings import Finding

LEAST_LONGEST_S = 4.0
"""A heartbeat of so many seconds is never too long: the cloud draws no break of 5 s or less."""
LONGEST_S = 12.0
"""None may be longer: after 15 s the dashboard shows a tag as stale."""
_PERIODS = 4.0  # a pause of more than five usual steps is drawn as a break


def longest_heartbeat_s(period_s: float) -> float:
    """The longest heartbeat of a tag that nobody takes for a silence.

    Args:
        period_s: from scan to scan of its instrument.
    """
    return max(LEAST_LONGEST_S, min(_PERIODS * period_s, LONGEST_S))


def heartbeat_s(asked_s: float | None, period_s: float) -> float:
    """The heartbeat of a tag that is reported by exception: what is asked for, else as long as may be."""
    return longest_heartbeat_s(period_s) if asked_s is None else asked_s


def long_heartbeats(instruments: Iterator[tuple[int, Mapping[str, Any]]]) -> Iterator[Finding]:
    """Heartbeats that would be taken for silences.

    Args:
        instruments: the tables of a configuration, with their positions.
    """
    for index, instrument in instruments:
        period_s = instrument.get("period_s", 1.0)
        points = instrument.get("point")
        if not _is_number(period_s) or not isinstance(points, list):
            continue
        longest_s = longest_heartbeat_s(period_s)
        for at, point in enumerate(points):
            asked_s: Any = point.get("heartbeat_s") if isinstance(point, Mapping) else None
            if _is_number(asked_s) and asked_s > longest_s:
                allowed = f"at most {longest_s:g} s with period_s = {period_s:g}: else it is shown as a silence"
                yield Finding(("instrument", index, "point", at, "heartbeat_s"), f"{asked_s:g}", allowed)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
