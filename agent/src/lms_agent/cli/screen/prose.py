"""A heading beside text that is folded to the screen's width."""

import re
import textwrap

_COMMAND = re.compile(r"`[^`\n]+`")
_FIRM = "\N{NO-BREAK SPACE}"


def beside(heading: str, text: str, *, indent: int, width: int) -> list[str]:
    """Lines with `heading` at the left, and `text` from cell `indent` on, folded at spaces.

    A word that is too long for its line, such as a path, stands whole, and so does a command in backticks that fits on
    a line: both are there to be copied.
    """
    room = max(20, width - indent)
    text = _COMMAND.sub(lambda found: found[0].replace(" ", _FIRM) if len(found[0]) <= room else found[0], text)
    folded = [
        line.replace(_FIRM, " ")
        for paragraph in text.split("\n")
        for line in textwrap.wrap(paragraph, room, break_long_words=False, break_on_hyphens=False) or [""]
    ]
    lead = [heading.ljust(indent)] if len(heading) < indent else [heading, " " * indent]
    if len(lead) == 2:
        return [lead[0], *(lead[1] + line for line in folded)]
    return [(lead[0] + folded[0]).rstrip(), *(" " * indent + line for line in folded[1:])]
