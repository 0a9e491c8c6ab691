"""The live screen without keys: a table, drawn anew once a second.

Where all tags do not fit, trouble comes first, then process values, and the rest is counted.

Neighbours: `command.py` shows it; `lines.py` words the lines.
"""

from typing import TYPE_CHECKING

from lms_agent.cli.watch.lines import COLUMNS, connection, headline, tag_cells, tag_needs_attention, warnings
from lms_agent.watching import View, WatchedTag

if TYPE_CHECKING:
    from rich.console import RenderableType

_FRAME_LINES = 5


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


def _rank(tag: WatchedTag) -> int:
    """What is shown first where not all fits: trouble, then process values, then set points and outputs."""
    return 0 if tag_needs_attention(tag) else 1 if tag.tag.name.endswith("/PV") else 2
