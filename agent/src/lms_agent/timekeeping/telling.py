"""What the clock's state means, in words for the bench, and what time it is by the agent's clock.

Neighbours: `lms_agent.health` writes the state into the status file; `lms-agent watch` and `lms-agent log` show it.
"""

import time
from collections.abc import Mapping
from typing import Any

from lms_agent.timekeeping.source import Computer

NOTABLE_MS = 1000
"""How far the two clocks may differ before it is worth a word."""


def agent_now_ms(status: Mapping[str, Any] | None) -> int:
    """The agent's time now, ms UTC, from its status; the computer's, if there is no agent in this boot."""
    clock = status.get("clock") if status else None
    if isinstance(clock, dict):
        computer = Computer()
        if clock.get("boot") == str(computer.boot):
            return computer.boot_ms() + int(clock["offset_ms"])
    return time.time_ns() // 1_000_000


def needs_attention(clock: Mapping[str, Any]) -> bool:
    """Whether there is something about the clock that somebody should know."""
    return clock["trust"] != "trusted" or bool(clock["error_ms"]) or abs(clock["system_ahead_ms"]) > NOTABLE_MS


def sentence(clock: Mapping[str, Any]) -> str:
    """The clock's state, in a line."""
    trust, ahead_ms = clock["trust"], clock["system_ahead_ms"]
    if trust == "waiting":
        return "clock: the computer has just booted; readings are sent when the time is known"
    if trust == "wrong":
        return "clock WRONG: readings are kept and sent when it is right; check the network and the time server"
    if clock["error_ms"] is not None and abs(clock["error_ms"]) > NOTABLE_MS:
        off = _duration(-clock["error_ms"])
        return f"clock: times are {off} the true time, to keep order; restart the computer to begin anew"
    if abs(ahead_ms) > NOTABLE_MS and not clock["synchronised"]:
        return f"clock: the computer's clock was set {_duration(ahead_ms)} the agent's time; it is not synchronised"
    if trust == "untrusted":
        return "clock: not synchronised with a time server; times may be off"
    return "clock: synchronised"


def _duration(ms: int) -> str:
    """A difference, such as `2.0 h ahead of`."""
    seconds = abs(ms) / 1000
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit} {'ahead of' if ms > 0 else 'behind'}"
    return f"{seconds:.1f} s {'ahead of' if ms > 0 else 'behind'}"
