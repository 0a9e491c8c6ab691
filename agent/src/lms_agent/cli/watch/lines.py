"""The words and colours of the live screen: a tag's line, who the agent is, what is wrong, the connection.

Neighbours: `lms_agent.watching` looks; `table.py` and `keys.py` put the lines on a screen.
"""

from typing import TYPE_CHECKING

from lms_protocol.reading import Quality

from lms_agent.timekeeping.telling import needs_attention, sentence
from lms_agent.watching import View, WatchedTag

if TYPE_CHECKING:
    from rich.console import JustifyMethod
    from rich.text import Text

BAR_CELLS = 9
COLUMNS: "tuple[tuple[JustifyMethod, int], ...]" = (
    ("left", 18),
    ("left", BAR_CELLS),
    ("right", 10),
    ("left", 6),
    ("left", 13),
    ("right", 7),
    ("left", 9),
)
"""Name, bar, value, unit, range, age, quality; with the spaces between them 78 cells, for a terminal of 80."""


def warnings(view: View) -> "list[Text]":
    """What somebody should know of clock and log; a line each."""
    from rich.text import Text  # noqa: PLC0415

    lines = []
    clock = view.status.get("clock") if view.status else None
    if clock is not None and needs_attention(clock):
        lines.append(Text(sentence(clock), style="yellow", overflow="ellipsis", no_wrap=True))
    if view.alarm:
        alarm = f"ALARM: {view.alarm} (lms-agent log stats)"
        lines.append(Text(alarm, style="bold red", overflow="ellipsis", no_wrap=True))
    return lines


def tag_needs_attention(tag: WatchedTag) -> bool:
    """Whether somebody should look at it: a gap, no good reading, or a value outside its range."""
    part = tag.part_of_range
    quality = None if tag.reading is None else tag.reading.quality
    return tag.gap is not None or quality is not Quality.GOOD or (part is not None and not 0 <= part <= 1)


def tag_cells(tag: WatchedTag) -> "list[Text]":
    """What a tag's line shows, one for each of `COLUMNS`."""
    from rich.text import Text  # noqa: PLC0415

    reading, described = tag.reading, tag.tag
    style = "yellow" if tag_needs_attention(tag) else ""
    quality = "NO DATA" if reading is None else "GAP" if tag.gap else reading.quality.name
    normal = "" if described.low is None or described.high is None else f"{described.low:g} … {described.high:g}"
    return [
        Text(f"  {described.name}"),
        Text(_bar(tag.part_of_range), style=style or "cyan"),
        Text(_value(tag), style=f"bold {style}".strip()),
        Text(described.unit, style="dim"),
        Text(normal, style="dim"),
        Text(_age(tag.age_s), style="yellow" if tag.gap else "dim"),
        Text(quality, style=style or "green"),
    ]


def _bar(part: float | None) -> str:
    """A mark on a line; arrows at the ends say that the value lies outside."""
    if part is None:
        return ""
    if part < 0:
        return "◀" + "─" * (BAR_CELLS - 1)
    if part > 1:
        return "─" * (BAR_CELLS - 1) + "▶"
    cell = min(BAR_CELLS - 1, int(part * BAR_CELLS))
    return "─" * cell + "█" + "─" * (BAR_CELLS - 1 - cell)


def _value(tag: WatchedTag) -> str:
    value = None if tag.reading is None else tag.reading.value
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:.{tag.tag.decimals}f}" if tag.tag.decimals is not None else f"{value:g}"
    return str(value)


def _age(age_s: float | None) -> str:
    if age_s is None:
        return ""
    for unit, seconds in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if age_s >= 2 * seconds:
            return f"{age_s / seconds:.0f} {unit}"
    return f"{age_s:.1f} s"


def headline(view: View) -> "Text":
    """Who the agent is, whether it runs, and what its log holds."""
    from rich.text import Text  # noqa: PLC0415

    name = f"{view.status['group']}/{view.status['agent']}" if view.status else "agent"
    running = "running" if view.running else "NOT RUNNING"
    text = Text(f"{name}: {running}", style="bold" if view.running else "bold red")
    return text.append(f"   {view.held.last} batches, {view.held.readings} readings", style="dim not bold")


def connection(view: View) -> "Text":
    """Backlog, connection and the last acknowledgement; or what is wrong with them."""
    from rich.text import Text  # noqa: PLC0415

    text = Text(overflow="ellipsis", no_wrap=True)
    text.append(f"backlog {view.backlog} batches", style="yellow" if view.backlog > 100 else "")
    if view.status is None:
        return text
    broker, log = view.status["broker"], view.status["log"]
    if log["error"]:
        return Text(log["error"], style="bold red")
    if not broker["connected"]:
        return text.append(f"   not connected: {broker['error'] or 'connecting'}", style="yellow")
    if not broker["born"]:
        return text.append("   connected; the cloud is offline, readings are kept", style="yellow")
    acked_at_ms = broker["last_ack_at_ms"]
    age = "never" if acked_at_ms is None else f"{_age((view.at_ms - acked_at_ms) / 1000)} ago"
    return text.append(f"   connected   last acknowledged {age}", style="green")
