"""The live screen with keys: every tag, and the trend of the one that is chosen. Needs Textual (`lms-agent[screen]`).

    ↑ ↓ PgUp PgDn   choose a tag          t   only those that need attention
    + -             a longer, a shorter trend      q   end

Between `lms_agent.watching`, which looks at log and agent once a second, and the terminal; `lines.py` words the lines.
"""

import asyncio
from typing import ClassVar

from lms_protocol.errors import LmsError
from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Footer, Static

from lms_agent.cli.watch.lines import COLUMNS, connection, headline, tag_cells, tag_needs_attention, warnings
from lms_agent.log.reader import LogReader
from lms_agent.trend.gathering import Trend, gather
from lms_agent.trend.plotting import plot, steps_for
from lms_agent.watching import View, WatchedTag, Watcher

EVERY_S = 1.0
TREND_EVERY = 5
"""Looks between two drawings of the trend."""
WINDOWS_MIN = (2, 10, 60, 360, 1440)
TREND_LINES = 9
_NAMES = ("TAG", "RANGE", "VALUE", "UNIT", "NORMAL", "AGE", "QUALITY")


class WatchScreen(App[None]):
    """The whole screen.

    Args:
        watcher: follows the log; its owner closes it.
        dots: whether the terminal shows Braille.

    Attributes:
        failure: why it ended by itself; None if it did not.
    """

    CSS = f"""
    Screen {{ background: ansi_default; }}
    Static {{ height: auto; text-wrap: nowrap; text-overflow: ellipsis; }}
    DataTable {{ height: 1fr; scrollbar-size-vertical: 1; background: ansi_default; }}
    #trend {{ height: {TREND_LINES}; }}
    #warnings {{ height: auto; }}
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "End"),
        Binding("ctrl+c,escape", "quit", show=False, priority=True),
        Binding("t", "attention", "Only what needs attention"),
        Binding("plus,equals_sign", "window(1)", "Longer", key_display="+"),
        Binding("minus", "window(-1)", "Shorter", key_display="-"),
    ]
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, watcher: Watcher, *, dots: bool) -> None:
        super().__init__(ansi_color=True)
        self.failure: LmsError | None = None
        self._watcher = watcher
        self._dots = dots
        self._window = 1
        self._only_attention = False
        self._view: View | None = None
        self._rows: list[tuple[str, str]] = []
        self._looks = 0
        self._drawing = False

    def compose(self) -> ComposeResult:
        """From above: who, all tags, the trend of one, what is wrong, the connection, the keys."""
        yield Static(id="headline")
        table: DataTable[Text] = DataTable(cell_padding=0, cursor_type="row")
        yield table
        yield Static(id="trend")
        yield Static(id="warnings")
        yield Static(id="connection")
        yield Footer()

    async def on_mount(self) -> None:
        """Begin to look."""
        table = self.query_one(DataTable)
        for name, (justify, cells) in zip(_NAMES, COLUMNS, strict=True):
            heading = name.rjust(cells) if justify == "right" else name
            table.add_column(Text(heading, style="dim"), width=cells + 1, key=name)
        await self._look()
        self.set_interval(EVERY_S, self._look)

    async def _look(self) -> None:
        try:
            self._view = await asyncio.to_thread(self._watcher.look)
            self._show(self._view)
            if self._looks % TREND_EVERY == 0:
                await self._draw_trend()
        except LmsError as error:
            self.failure = error
            self.exit()
        self._looks += 1

    def _show(self, view: View) -> None:
        self.query_one("#headline", Static).update(headline(view))
        self.query_one("#connection", Static).update(connection(view))
        told = warnings(view)
        self.query_one("#warnings", Static).update(Text("\n").join(told))
        self.query_one("#warnings", Static).display = bool(told)
        tags = [(device, tag) for device, tags in view.devices.items() for tag in tags if self._is_shown(tag)]
        table = self.query_one(DataTable)
        rows = [(device, tag.tag.name) for device, tag in tags]
        if rows != self._rows:
            self._fill(table, rows)
        several = len(view.devices) > 1
        for (device, tag), row in zip(tags, rows, strict=True):
            cells = tag_cells(tag)
            if several:
                cells[0] = Text(f"{device} {tag.tag.name}")
            else:
                cells[0] = Text(tag.tag.name)
            for name, cell, (justify, width) in zip(_NAMES, cells, COLUMNS, strict=True):
                cell.truncate(width, overflow="ellipsis")
                if justify == "right":
                    cell.pad_left(width - cell.cell_len)
                table.update_cell("\0".join(row), name, cell)

    def _is_shown(self, tag: WatchedTag) -> bool:
        return not self._only_attention or tag_needs_attention(tag)

    def _fill(self, table: "DataTable[Text]", rows: list[tuple[str, str]]) -> None:
        """Lines for other tags; the chosen one stays chosen, if it is still there."""
        chosen = self._chosen_row()
        table.clear()
        for row in rows:
            table.add_row(*(Text() for _ in _NAMES), key="\0".join(row))
        self._rows = rows
        if chosen in rows:
            table.move_cursor(row=rows.index(chosen))

    def _chosen_row(self) -> tuple[str, str] | None:
        at = self.query_one(DataTable).cursor_row
        return self._rows[at] if 0 <= at < len(self._rows) else None

    def _chosen(self) -> WatchedTag | None:
        row = self._chosen_row()
        if self._view is None or row is None:
            return None
        return next((tag for tag in self._view.devices.get(row[0], ()) if tag.tag.name == row[1]), None)

    async def on_data_table_row_highlighted(self) -> None:
        """Another tag is chosen."""
        await self._draw_trend()

    async def action_window(self, by: int) -> None:
        """A longer or shorter trend."""
        self._window = min(max(self._window + by, 0), len(WINDOWS_MIN) - 1)
        await self._draw_trend()

    def action_attention(self) -> None:
        """Show all, or only what needs attention."""
        self._only_attention = not self._only_attention
        if self._view is not None:
            self._show(self._view)

    async def _draw_trend(self) -> None:
        tag, view = self._chosen(), self._view
        if tag is None or view is None or self._drawing:
            return
        self._drawing = True
        try:
            dots, width = self._dots, max(30, self.size.width - 1)
            minutes = WINDOWS_MIN[self._window]
            window = (view.at_ms - minutes * 60_000, view.at_ms + 1)
            trend = await asyncio.to_thread(self._gather, tag, window, steps_for(width, dots=dots))
            lines = plot(trend, width=width, height=TREND_LINES - 1, dots=dots)
            last = f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"
            head = Text(f"{tag.tag.device} {tag.tag.name}, the last {last}", style="bold")
            if tag.gap is not None:
                head.append(f"   {tag.gap.reason}", style="yellow not bold")
            self.query_one("#trend", Static).update(Text("\n").join([head, *map(Text, lines)]))
        finally:
            self._drawing = False

    def _gather(self, tag: WatchedTag, window: tuple[int, int], steps: int) -> Trend:
        with LogReader.open(self._watcher.path) as reader:
            return gather(reader, [tag.tag], window, steps)[0]
