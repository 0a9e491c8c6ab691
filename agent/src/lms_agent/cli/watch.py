"""`lms-agent watch`: the live screen at the bench. Thin: `lms_agent.watching` looks, this draws.

With Textual (the extra `lms-agent[screen]`) it is a screen with keys, `watch_screen.py`; without it a table.

One line a tag: a bar for where the value lies in its range, value and unit, range, age, quality. Where all tags do not
fit, trouble comes first, then process values, and the rest is counted.
"""

import json
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from lms_protocol.reading import Quality

from lms_agent.cli.finding import CONFIG_HELP, ending, find_log
from lms_agent.timekeeping.telling import needs_attention, sentence
from lms_agent.trend.plotting import knows_dots
from lms_agent.watching import View, WatchedTag, Watcher

if TYPE_CHECKING:
    from rich.console import JustifyMethod, RenderableType
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
_FRAME_LINES = 5


def watch(  # noqa: PLR0917 - typer calls it by name
    config: Annotated[Path | None, typer.Argument(help=CONFIG_HELP)] = None,
    config_option: Annotated[Path | None, typer.Option("--config", "-c", help="The same, as an option.")] = None,
    log: Annotated[Path | None, typer.Option("--log", help="The log itself, instead of a configuration.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a second.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Look once and end.")] = False,
    plain: Annotated[
        bool, typer.Option("--plain", help="A table without keys, also where there could be some.")
    ] = False,
) -> None:
    """Show live values, ages and the backlog, until Ctrl-C."""
    with ending(as_json=as_json):
        watcher = Watcher.open(find_log(config_option or config, log))
        try:
            if as_json:
                _print_json(watcher, once=once)
            elif once or plain or not _has_keys():
                _draw(watcher, once=once)
            else:
                _run_screen(watcher)
        except (KeyboardInterrupt, BrokenPipeError):
            pass
        finally:
            watcher.close()


def _run_screen(watcher: Watcher) -> None:
    from lms_agent.cli.watch_screen import WatchScreen  # noqa: PLC0415 - only if the extra `screen` is there

    shown = WatchScreen(watcher, dots=knows_dots())
    shown.run()
    if shown.failure is not None:
        raise shown.failure


def _has_keys() -> bool:
    """Whether there is a terminal, and Textual (the extra `screen`) to draw on it."""
    return sys.stdin.isatty() and sys.stdout.isatty() and find_spec("textual") is not None


def _print_json(watcher: Watcher, *, once: bool) -> None:
    while True:
        typer.echo(json.dumps(watcher.look().as_json(), ensure_ascii=False))
        if once:
            return
        time.sleep(1)


def _draw(watcher: Watcher, *, once: bool) -> None:
    from rich.console import Console  # noqa: PLC0415 - drawing libraries only where something is drawn
    from rich.live import Live  # noqa: PLC0415

    console = Console()
    if once or not console.is_terminal:
        console.print(screen(watcher.look(), lines=10_000))
        return
    with Live(screen(watcher.look(), console.height), console=console, screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(1)
            live.update(screen(watcher.look(), console.height), refresh=True)


def screen(view: View, lines: int) -> "RenderableType":
    """The whole screen, in at most `lines` lines."""
    from rich.console import Group  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    rows = [(device, tag) for device, tags in view.devices.items() for tag in tags]
    room = max(1, lines - _FRAME_LINES - 2 * len(view.devices))
    shown = rows
    if len(rows) > room:
        urgent = sorted(rows, key=lambda row: _rank(row[1]))[: max(1, room - 1)]
        shown = [row for row in rows if row in urgent]
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, show_header=False)
    for justify, width in COLUMNS:
        table.add_column(justify=justify, width=width, no_wrap=True, overflow="ellipsis")
    for device in view.devices:
        mine = [tag for owner, tag in shown if owner == device]
        table.add_row(Text(device, style="bold"))
        for tag in mine:
            table.add_row(*tag_cells(tag))
    parts: list[RenderableType] = [headline(view), table]
    if len(shown) < len(rows):
        parts.append(Text(f"… {len(rows) - len(shown)} more tags; enlarge the window to see them", style="dim"))
    parts += warnings(view)
    parts.append(connection(view))
    return Group(*parts)


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


def _rank(tag: WatchedTag) -> int:
    """What is shown first where not all fits: trouble, then process values, then set points and outputs."""
    return 0 if tag_needs_attention(tag) else 1 if tag.tag.name.endswith("/PV") else 2


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
