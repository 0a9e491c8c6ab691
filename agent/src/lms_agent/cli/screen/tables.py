"""Columns that fit the screen: where it is too narrow, the widest columns of words give way, numbers never do."""

from collections.abc import Sequence

_BETWEEN = 2
_LEAST_CELLS = 8


def table(rows: Sequence[Sequence[str]], *, width: int, numbers: Sequence[int] = ()) -> list[str]:
    """Lines of a table.

    Args:
        rows: the heading first; all equally long.
        width: cells of a line.
        numbers: columns that are set to the right and never cut.
    """
    columns = range(len(rows[0]))
    widths = [max(len(row[column]) for row in rows) for column in columns]
    shrinkable = [column for column in columns if column not in numbers]
    while sum(widths) + _BETWEEN * (len(widths) - 1) > width and shrinkable:
        widest = max(shrinkable, key=lambda column: widths[column])
        if widths[widest] <= max(_LEAST_CELLS, len(rows[0][widest])):
            shrinkable.remove(widest)
        else:
            widths[widest] -= 1
    lines = []
    for row in rows:
        cells = [
            row[column].rjust(widths[column])
            if column in numbers
            else cut(row[column], widths[column]).ljust(widths[column])
            for column in columns
        ]
        lines.append((" " * _BETWEEN).join(cells).rstrip())
    return lines


def cut(text: str, cells: int) -> str:
    """Text that is not longer than `cells`; an ellipsis says that there was more."""
    return text if len(text) <= cells else text[: max(0, cells - 1)] + "…"
