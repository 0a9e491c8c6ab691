"""How wide the screen is, and whether it shows colours.

Where nobody looks (a pipe, a file) lines are as long as they are, so that programs find whole values.
"""

import os
import shutil
import sys

import typer

NARROWEST = 40
ENDLESS = 10_000


def width(*, err: bool = False) -> int:
    """Cells of a line: those of the terminal, or a great many where there is none.

    Args:
        err: of standard error, instead of standard output.
    """
    if not (sys.stderr if err else sys.stdout).isatty() and "COLUMNS" not in os.environ:
        return ENDLESS
    return max(NARROWEST, shutil.get_terminal_size((80, 24)).columns)


def picture_width() -> int:
    """Cells for what is drawn: those of the terminal, or 80."""
    return min(width(), 200) if width() < ENDLESS else 80


def height() -> int:
    """Lines of the screen; 24 where there is none."""
    return shutil.get_terminal_size((80, 24)).lines


def has_colours() -> bool:
    """Whether to colour: on a terminal, unless $NO_COLOR or a dumb one says not to."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def coloured(text: str, colour: str, *, bold: bool = False) -> str:
    """Text in one of the eight colours that every terminal has."""
    return typer.style(text, fg=colour, bold=bold) if text and has_colours() else text


def faint(text: str) -> str:
    """Text that is beside the point."""
    return typer.style(text, dim=True) if text and has_colours() else text
