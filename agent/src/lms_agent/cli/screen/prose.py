"""A heading beside text that is folded to the screen's width."""

import re
import textwrap
from collections.abc import Iterable

import typer

from lms_agent.cli.screen.terminal import ENDLESS, width

_COMMAND = re.compile(r"`[^`\n]+`")
_FIRM = "\N{NO-BREAK SPACE}"


def say(text: str, *, indent: int = 0, err: bool = False) -> None:
    """Print a sentence, folded at spaces where it goes to a terminal; what is folded is indented two cells more."""
    lead = " " * indent
    for line in folded(text, width(err=err) - indent, hanging=2):
        typer.echo(f"{lead}{line}", err=err)


def fitted(lines: Iterable[str], *, err: bool = False) -> str:
    """Lines for standard output (or error): those that are too long folded, what is folded two cells further right."""
    room = width(err=err)
    fit = []
    for line in lines:
        lead = line[: len(line) - len(line.lstrip())]
        fit += (
            [line] if len(line) <= room else [lead + part for part in folded(line.strip(), room - len(lead), hanging=2)]
        )
    return "\n".join(fit)


def folded(text: str, room: int, *, hanging: int = 0) -> list[str]:
    """Text as lines of at most `room` cells, all but the first of them `hanging` cells further right.

    A word that is too long for its line, such as a path, stands whole, and so does a command in backticks that fits on
    a line: both are there to be copied.
    """
    if room >= ENDLESS // 2:
        return [text]
    text = _COMMAND.sub(lambda found: found[0].replace(" ", _FIRM) if len(found[0]) <= room else found[0], text)
    lines = textwrap.wrap(
        text, max(20, room), break_long_words=False, break_on_hyphens=False, subsequent_indent=" " * hanging
    )
    return [line.replace(_FIRM, " ") for line in lines] or [""]


def beside(heading: str, text: str, *, indent: int, width: int) -> list[str]:
    """Lines with `heading` at the left, and `text` from cell `indent` on, folded as `folded` does."""
    lines = [line for paragraph in text.split("\n") for line in folded(paragraph, width - indent)]
    if len(heading) >= indent:
        return [heading, *(" " * indent + line for line in lines)]
    return [(heading.ljust(indent) + lines[0]).rstrip(), *(" " * indent + line for line in lines[1:])]
