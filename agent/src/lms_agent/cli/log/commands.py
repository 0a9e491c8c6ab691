"""`lms-agent log commands`: who set what and why, what became of it, and who locked what; from the log alone.

Thin: `lms_protocol.commands` reads the events, `lms_agent.log.reader` finds them.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from lms_protocol.commands import EVENT_TAG, CommandEvent, LockState, State
from lms_protocol.errors import PayloadError

from lms_agent.cli.finding import ending
from lms_agent.cli.log.upkeep import Config, Find, Json, Log
from lms_agent.cli.screen.prose import say
from lms_agent.cli.screen.tables import table
from lms_agent.cli.screen.terminal import width
from lms_agent.log.exporting import iso
from lms_agent.log.reader import LogReader

_DAY_MS = 86_400_000
_HEADING = ("TIME (UTC)", "WHAT", "TO", "STATE", "WHO", "WHY")


def register(app: typer.Typer, find: Find) -> None:
    """Add the command to `lms-agent log`."""

    @app.command()
    def commands(
        context: typer.Context,
        days: Annotated[float, typer.Option("--days", "-d", min=0.01, max=36_500, help="How far back.")] = 1,
        config: Config = None,
        log: Log = None,
        as_json: Json = False,
    ) -> None:
        """Who set what and why, and what became of it, oldest first; with --json one event a line."""
        with ending(as_json=as_json):
            told = list(_events(find(context, config, log), time.time_ns() // 1_000_000 - round(days * _DAY_MS)))
        if as_json:
            for device, event in told:
                typer.echo(json.dumps({"bioreactor": device, **json.loads(event.to_text())}, ensure_ascii=False))
            return
        ended = {event.id for _, event in told if event.state is not State.BEGUN}
        rows = [
            _row(device, event) for device, event in told if event.state is not State.BEGUN or event.id not in ended
        ]
        if rows:
            typer.echo("\n".join(table([_HEADING, *rows], width=width(), numbers=[0])))
        else:
            say(f"nothing was set in {days:g} days")


def _events(path: Path, from_ms: int) -> Iterator[tuple[str, CommandEvent]]:
    with LogReader.open(path) as reader:
        tags = {tag.number for tag in reader.tags() if tag.name == EVENT_TAG}
        for batch in reader.between(from_ms, 1 << 62) if tags else ():
            for reading in batch.readings:
                if reading.tag in tags and isinstance(reading.value, str):
                    try:
                        yield batch.device, CommandEvent.from_text(reading.value)
                    except PayloadError:
                        continue  # of a later release


def _row(device: str, event: CommandEvent) -> tuple[str, ...]:
    when = iso(event.at_ms)[:19].replace("T", " ")
    what, to = (device, "") if isinstance(event.state, LockState) else (f"{device} {event.tag}", _shown(event.value))
    why = f"{event.reason}; {event.why}" if event.why else event.reason
    return when, what, to, str(event.state), event.by, why


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)
