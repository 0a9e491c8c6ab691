"""Geometry of the small drawings: where a value stands between its limits, and the line of its last minutes.

Neighbours: measurements.py asks for them, templates/components/measurement.html draws them; static/js/shapes.js does
the same in the browser. Only coordinates: colours and strokes belong to the style sheets.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

SPARK_WIDTH = 100.0
SPARK_HEIGHT = 28.0
SPARK_MARGIN = 2.0


@dataclass(frozen=True, slots=True)
class RangeBar:
    """Places on a bar in percent of its width; ``None`` where there is nothing to mark."""

    now: float | None
    set: float | None
    apart_x: float
    apart_width: float


def place(value: float, low: float, high: float) -> float:
    """Where ``value`` stands between the limits, in percent, held inside the bar."""
    return round(min(100.0, max(0.0, (value - low) / (high - low) * 100.0)), 2)


def range_bar(now: float | None, set_point: float | None, low: float, high: float) -> RangeBar:
    """Lay out the bar of one measurement; ``low`` < ``high``, all in the unit of the tag."""
    now_at = None if now is None else place(now, low, high)
    set_at = None if set_point is None else place(set_point, low, high)
    if now_at is None or set_at is None:
        return RangeBar(now_at, set_at, 0.0, 0.0)
    return RangeBar(now_at, set_at, min(now_at, set_at), round(abs(now_at - set_at), 2))


@dataclass(frozen=True, slots=True)
class Trace:
    """Points of one tag in time order: times in ms UTC, values in its unit, ``None`` where nothing was read."""

    at_ms: Sequence[int]
    values: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Sparkline:
    """Two SVG paths: the value, and the set point as steps."""

    line: str
    set: str


def sparkline(trace: Trace, set_trace: Trace | None, begin_ms: int, end_ms: int, least_span: float) -> Sparkline:
    """Draw the last minutes of a measurement into a box of 100 × 28.

    Args:
        trace: the process value.
        set_trace: the set point, drawn on the same scale, or ``None``.
        begin_ms: left edge, ms UTC.
        end_ms: right edge, ms UTC.
        least_span: smallest height of the box in the tag's unit, so that noise does not look like an event.
    """
    seen = [v for t in (trace, set_trace) if t is not None for v in t.values if v is not None]
    if not seen or end_ms <= begin_ms:
        return Sparkline("", "")
    middle, half = (max(seen) + min(seen)) / 2, max(max(seen) - min(seen), least_span, 1e-9) / 2

    def x(at_ms: int) -> float:
        return (min(max(at_ms, begin_ms), end_ms) - begin_ms) / (end_ms - begin_ms) * SPARK_WIDTH

    def y(value: float) -> float:
        return SPARK_HEIGHT / 2 - (value - middle) / half * (SPARK_HEIGHT / 2 - SPARK_MARGIN)

    return Sparkline(_line(trace, x, y), _steps(set_trace, x, y) if set_trace else "")


def gap_after(at_ms: Sequence[int]) -> float:
    """How far apart two points may lie, in ms, and still be joined by a line: a few times their usual distance."""
    if len(at_ms) < 3:
        return math.inf
    steps = sorted(after - before for before, after in pairwise(at_ms))
    return max(5000, 5 * steps[len(steps) // 2])


def _line(trace: Trace, x: Callable[[int], float], y: Callable[[float], float]) -> str:
    parts: list[str] = []
    pen_down = False
    before_ms = 0
    gap_ms = gap_after(trace.at_ms)
    for at_ms, value in zip(trace.at_ms, trace.values, strict=True):
        pen_down = pen_down and value is not None and at_ms - before_ms <= gap_ms
        before_ms = at_ms
        if value is None:
            continue
        parts.append(f"{'L' if pen_down else 'M'}{x(at_ms):.1f} {y(value):.1f}")
        pen_down = True
    return "".join(parts)


def _steps(trace: Trace, x: Callable[[int], float], y: Callable[[float], float]) -> str:
    parts: list[str] = []
    for at_ms, value in zip(trace.at_ms, trace.values, strict=True):
        if value is not None:
            parts.append(f"H{x(at_ms):.1f}V{y(value):.1f}" if parts else f"M{x(at_ms):.1f} {y(value):.1f}")
    if parts:
        parts.append(f"H{SPARK_WIDTH:.0f}")
    return "".join(parts)
