"""How every command prints data: lines for people, or one JSON document for programs."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
ExistOk = Annotated[bool, typer.Option("--exist-ok", help="Succeed, and say so, where it is there already.")]


def show(data: Mapping[str, Any] | Sequence[Mapping[str, Any]], sentence: str, *, as_json: bool) -> None:
    """Print `data` as JSON, or `sentence`."""
    typer.echo(json.dumps(data, ensure_ascii=False, default=str) if as_json else sentence)


def show_rows(rows: Sequence[Mapping[str, Any]], *, empty: str, as_json: bool) -> None:
    """Print rows as JSON, or as a table; `empty` says what to do where there are none."""
    if as_json or not rows:
        show(rows, empty, as_json=as_json)
        return
    columns = list(rows[0])
    table = [columns, *([_cell(row[column]) for column in columns] for row in rows)]
    widths = [max(len(line[index]) for line in table) for index in range(len(columns))]
    for line in table:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    return "" if value is None else str(value)
