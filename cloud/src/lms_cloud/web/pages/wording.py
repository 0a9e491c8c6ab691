"""Numbers, names and times as a person reads them; static/js/format.js says the same in the browser.

Neighbours: measurements.py and cards.py write their texts with it, templates.py offers it as Jinja filters.
"""

import math
import re
from datetime import UTC, datetime, timedelta

from lms_protocol.reading import Value

ABSENT = "–"
"""Shown where there is no value."""

_CAMEL = re.compile(r"(?<=[a-z0-9]{2})(?=[A-Z])")
_GAS = re.compile(r"\b(O|CO|N)2\b")


def number(value: Value, decimals: int | None) -> str:
    """Write one value with the precision of its instrument.

    Args:
        value: what was read; ``None`` when nothing was.
        decimals: digits after the point; ``None`` when the instrument does not say, which gives four significant ones.
    """
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, str):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        return ABSENT
    if decimals is None and isinstance(value, int):
        text = str(value)
    else:
        text = f"{value:.{decimals}f}" if decimals is not None else _significant(float(value))
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def _significant(value: float) -> str:
    if value == 0:
        return "0"
    digits = max(0, 3 - math.floor(math.log10(abs(value))))
    text = f"{value:.{min(digits, 12)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def label(name: str) -> str:
    """Turn a tag's first part into words: ``AirFlow`` → ``Air flow``, ``pH/Temperature`` → ``pH temperature``."""
    first, *rest = _CAMEL.sub(" ", name.replace("_", " ").replace("/", " ")).split(" ")
    words = [first, *(word if word.isupper() or len(word) == 1 else word[0].lower() + word[1:] for word in rest)]
    return _GAS.sub(r"\1₂", " ".join(words))


def age(span: timedelta) -> str:
    """Say a span of time in the one or two units that matter: ``35 s``, ``12 min``, ``3 h 20 min``, ``5 d 4 h``."""
    seconds = max(0, int(span.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


def iso(at: datetime) -> str:
    """Write an instant for machines: ISO 8601, UTC, milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def utc(at: datetime) -> str:
    """Write an instant for people, in UTC and saying so."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def clock(at: datetime) -> str:
    """Write the time of day in UTC; the browser turns it into the viewer's zone."""
    return at.astimezone(UTC).strftime("%H:%M:%S")


def date(at: datetime) -> str:
    """Write the day in UTC; the browser turns it into the viewer's zone."""
    return at.astimezone(UTC).strftime("%Y-%m-%d")


def milliseconds(at: datetime | None) -> str:
    """Write an instant as ms since 1970, or nothing."""
    return "" if at is None else str(round(at.timestamp() * 1000))
