"""Buckets as lines of characters: eight dots to a character where the terminal knows Braille, else stars.

A step's least and greatest are joined by a stroke, and so are neighbouring steps, as a pen would draw; where nothing
was read, nothing is drawn.
"""

import os
import sys
from collections.abc import Sequence

from lms_protocol.reading import Quality

from lms_agent.trend.gathering import Bucket, Trend
from lms_agent.trend.scales import Scale, round_times

_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""Bit of each dot of a Braille character, by column and row from the top."""
_BARS = " ▁▂▃▄▅▆▇█"
_BARS_ASCII = " .:-=+*#%"
_MARKS = {Quality.UNCERTAIN: "?", Quality.STALE: "!", Quality.BAD: "!"}
_LEAST_HEIGHT = 3
MARGIN = 10
"""Characters left of the picture, for the numbers."""


def knows_dots() -> bool:
    """Whether the terminal shows Braille: the console of Linux itself does not, nor does one without UTF-8."""
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8" and os.environ.get("TERM") != "linux"


def steps_for(width: int, *, dots: bool) -> int:
    """How many buckets a picture of `width` characters shows."""
    room = max(1, width - MARGIN)
    return room * 2 if dots else room


def plot(trend: Trend, *, width: int, height: int, dots: bool) -> list[str]:
    """A picture with its axes.

    Args:
        trend: with `steps_for(width)` buckets.
        width, height: characters of the whole.
        dots: whether to draw with Braille.
    """
    margin, room = MARGIN, max(1, width - MARGIN)
    rows = max(_LEAST_HEIGHT, height - 2)
    whole = trend.whole
    if not whole.numbers:
        said = "no numbers to draw" if whole.readings else "nothing was read"
        return [
            *([""] * (rows // 2)),
            " " * margin + said,
            *([""] * (rows - rows // 2 - 1)),
            *_below(trend, room, dots=dots),
        ]
    scale = Scale(whole.minimum, whole.maximum, max(2, rows // 3))
    cells = _dotted(trend.buckets, scale, room, rows) if dots else _starred(trend.buckets, scale, room, rows)
    labels = _labels(scale, rows)
    joint = "┤" if dots else "+"
    line = "│" if dots else "|"
    drawn = [
        f"{labels.get(row, ''):>{margin - 2}} {joint if row in labels else line}{cells[row].rstrip()}"
        for row in range(rows)
    ]
    return [*drawn, *_below(trend, room, dots=dots)]


def sparkline(buckets: Sequence[Bucket | None], *, dots: bool) -> str:
    """One line, a character for each bucket, by its mean."""
    means = [None if bucket is None else bucket.mean for bucket in buckets]
    known = [mean for mean in means if mean is not None]
    if not known:
        return " " * len(means)
    least, span = min(known), max(known) - min(known)
    bars = _BARS if dots else _BARS_ASCII
    return "".join(
        " " if mean is None else bars[1 + int(7.99 * (mean - least) / span)] if span else bars[4] for mean in means
    )


def _labels(scale: Scale, rows: int) -> dict[int, str]:
    labels: dict[int, str] = {}
    for tick in range(round((scale.high - scale.low) / scale.step) + 1):
        value = scale.low + tick * scale.step
        labels.setdefault(round((1 - scale.part(value)) * (rows - 1)), scale.label(value))
    return labels


def _dotted(buckets: Sequence[Bucket | None], scale: Scale, room: int, rows: int) -> list[str]:
    dots = [[0] * room for _ in range(rows)]
    for step, (top, bottom) in _strokes(buckets, scale, rows * 4):
        for at in range(top, bottom + 1):
            dots[at // 4][step // 2] |= _DOTS[step % 2][at % 4]
    return ["".join(chr(0x2800 + cell) if cell else " " for cell in row) for row in dots]


def _starred(buckets: Sequence[Bucket | None], scale: Scale, room: int, rows: int) -> list[str]:
    cells = [[" "] * room for _ in range(rows)]
    for step, (top, bottom) in _strokes(buckets, scale, rows):
        for at in range(top, bottom + 1):
            cells[at][step] = "*"
    return ["".join(row) for row in cells]


def _strokes(buckets: Sequence[Bucket | None], scale: Scale, fine: int) -> list[tuple[int, tuple[int, int]]]:
    """For each step with numbers its highest and lowest dot, counted from the top, reaching its left neighbour's."""
    strokes: list[tuple[int, tuple[int, int]]] = []
    before: tuple[int, int] | None = None
    for step, bucket in enumerate(buckets):
        if bucket is None or not bucket.numbers:
            before = None
            continue
        top, bottom = (round((1 - scale.part(value)) * (fine - 1)) for value in (bucket.maximum, bucket.minimum))
        own = (top, bottom)
        if before is not None:
            top, bottom = min(top, before[1] + 1), max(bottom, before[0] - 1)
        strokes.append((step, (max(0, top), min(fine - 1, bottom))))
        before = own
    return strokes


def _below(trend: Trend, room: int, *, dots: bool) -> list[str]:
    """The axis of time, and what it shows; under steps that are not all good a mark."""
    line, tick, corner = ("─", "┬", "└") if dots else ("-", "+", "+")
    axis = [line] * room
    steps = len(trend.buckets)
    for step, bucket in enumerate(trend.buckets):
        mark = _MARKS.get(bucket.worst) if bucket is not None else None
        if mark is not None:
            axis[step * room // steps] = mark
    for gap in trend.gaps:
        first = max(0, (gap.began_at_ms - trend.from_ms) * room // (trend.to_ms - trend.from_ms))
        last = min(room, -(-((gap.ended_at_ms or trend.to_ms) - trend.from_ms) * room // (trend.to_ms - trend.from_ms)))
        for cell in range(first, last):
            if all(b is None for b in trend.buckets[cell * steps // room : (cell + 1) * steps // room]):
                axis[cell] = "x"
    times = [" "] * room
    written_to = -1
    for at_ms, text in round_times(trend.from_ms, trend.to_ms, max(1, room // 12)):
        cell = (at_ms - trend.from_ms) * room // (trend.to_ms - trend.from_ms)
        if axis[cell] == line:
            axis[cell] = tick
        begin = max(0, cell - len(text) // 2)
        if begin > written_to and begin + len(text) <= room:
            times[begin : begin + len(text)] = text
            written_to = begin + len(text)
    return [" " * (MARGIN - 1) + corner + "".join(axis), " " * MARGIN + "".join(times).rstrip()]
