"""What a log holds, as rows of text and as JSON: the same for `lms-agent log status` and `log stats`.

Neighbours: `lms_agent.log.reader` looks; `app.py` and `upkeep.py` add what is theirs.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer

from lms_agent.cli.screen.prose import beside
from lms_agent.cli.screen.terminal import width
from lms_agent.log.exporting import iso
from lms_agent.log.reader import LogStatus

Row = tuple[str, str]
_NAME_CELLS = 14


def contents_rows(path: Path, held: LogStatus) -> list[Row]:
    """Each with its name and what is to be said."""
    span = []
    if held.began_at_ms is not None and held.ended_at_ms is not None:
        span = [("from", iso(held.began_at_ms)), ("to", iso(held.ended_at_ms))]
    return [
        ("log", str(path)),
        ("stream", str(held.stream)),
        ("batches", f"{_count(held)} (number {held.first} to {held.last})"),
        ("readings", str(held.readings)),
        *span,
        ("acknowledged", f"up to number {held.acked}"),
        ("backlog", f"{held.backlog} batches not acknowledged"),
        ("on disk", f"{held.size_bytes / 1e6:.1f} MB, of which {held.used_bytes / 1e6:.1f} MB are used"),
    ]


def contents_as_json(path: Path, held: LogStatus) -> dict[str, Any]:
    """The same for programs; times in ISO 8601, UTC."""
    return {
        "path": str(path),
        "stream": str(held.stream),
        "batches": _count(held),
        "first": held.first,
        "last": held.last,
        "readings": held.readings,
        "began_at": None if held.began_at_ms is None else iso(held.began_at_ms),
        "ended_at": None if held.ended_at_ms is None else iso(held.ended_at_ms),
        "acked": held.acked,
        "backlog": held.backlog,
        "size_bytes": held.size_bytes,
        "used_bytes": held.used_bytes,
    }


def print_rows(rows: Iterable[Row]) -> None:
    """A name and its text on each line."""
    for name, text in rows:
        typer.echo("\n".join(beside(name, text, indent=_NAME_CELLS, width=width())))


def _count(held: LogStatus) -> int:
    return held.last - held.first + 1 if held.last else 0
