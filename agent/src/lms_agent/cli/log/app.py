"""`lms-agent log`: what the log holds, what the cloud has acknowledged, and history from a CSV file.

Thin: `lms_agent.log.reader` looks, `lms_agent.log.importing` reads the file.
"""

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from lms_protocol.reading import NOT_FOR_SCREENS

from lms_agent.cli.finding import ending, find_log
from lms_agent.cli.log import commands, upkeep
from lms_agent.cli.log.contents import contents_as_json, contents_rows, print_rows
from lms_agent.health import is_fresh, read_status
from lms_agent.log.exporting import iso
from lms_agent.log.lock import is_written, writer_pid
from lms_agent.log.reader import LogReader
from lms_agent.timekeeping.telling import sentence

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    help="Show what the log holds and what the cloud has acknowledged.",
)

Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="The configuration, which names the log.", readable=False)
]
Log = Annotated[Path | None, typer.Option("--log", help="The log itself, instead of a configuration.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback(invoke_without_command=True)
def _default(context: typer.Context, config: Config = None, log: Log = None, as_json: Json = False) -> None:
    """Without a command: the status."""
    context.obj = (config, log)
    if context.invoked_subcommand is None:
        with ending(as_json=as_json):
            _print_status(find_log(config, log), as_json=as_json)


@app.command()
def status(context: typer.Context, config: Config = None, log: Log = None, as_json: Json = False) -> None:
    """Stream, batches, readings, times, what is acknowledged, size."""
    with ending(as_json=as_json):
        _print_status(_find(context, config, log), as_json=as_json)


@app.command()
def show(
    context: typer.Context,
    last: Annotated[int, typer.Option("--last", "-n", min=1, max=100_000, help="How many batches.")] = 10,
    config: Config = None,
    log: Log = None,
    as_json: Json = False,
) -> None:
    """The newest batches with their readings, oldest first; with --json one object a batch."""
    with ending(as_json=as_json), LogReader.open(_find(context, config, log)) as reader:
        tags = {tag.number: tag for tag in reader.tags()}
        for batch in reader.last(last):
            if as_json:
                typer.echo(json.dumps(_batch_as_json(batch, tags), ensure_ascii=False))
                continue
            typer.echo(f"batch {batch.number}, {batch.device}")
            for reading in batch.readings:
                tag = tags[reading.tag]
                value = "no value" if reading.value is None else f"{_rounded(reading.value, tag.decimals)} {tag.unit}"
                typer.echo(f"  {iso(reading.taken_at_ms)}  {tag.name:<20} {value:<20} {reading.quality.name}")
            for gap in batch.gaps:
                names = ", ".join(tags[number].name for number in gap.tags if number in tags)
                ended = "now" if gap.ended_at_ms is None else iso(gap.ended_at_ms)
                typer.echo(f"  gap {iso(gap.began_at_ms)} to {ended}, {names}: {gap.reason}")


@app.command()
def clock(context: typer.Context, config: Config = None, log: Log = None, as_json: Json = False) -> None:
    """Under which clock batches were logged, and by how much their times were corrected afterwards."""
    with ending(as_json=as_json), LogReader.open(_find(context, config, log)) as reader:
        spans, corrections = reader.spans(), reader.corrections().rows
    if as_json:
        rows = {"spans": [span._asdict() for span in spans], "corrections": [row._asdict() for row in corrections]}
        typer.echo(json.dumps(rows))
        return
    for span in spans:
        known = "" if not span.error_ms else f", {-span.error_ms / 1000:+.3f} s off"
        still = ", may still be corrected" if span.open else ""
        numbers = f"{span.first} to {'now' if span.last is None else span.last}"
        typer.echo(f"batches {numbers}  boot {span.boot}  {span.trust}{known}{still}")
    for row in corrections:
        moved = f"{'estimated' if row.estimated else 'corrected'}: moved by {row.shift_ms / 1000:+.3f} s"
        typer.echo(f"{iso(row.at_ms)}  batches {row.first} to {row.last} {moved}")


@app.command("import")
def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="CSV with the columns taken_at,tag,value.")],
    device: Annotated[str, typer.Option("--device", help="The bioreactor's wire id.")],
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Append history from a CSV file: all of it or, if a line is wrong, nothing. Not while the agent runs."""
    from lms_agent.log.importing import entries  # noqa: PLC0415 - only this command writes
    from lms_agent.log.sqlite_log import SqliteLog  # noqa: PLC0415
    from lms_agent.registering import register  # noqa: PLC0415
    from lms_agent.settings import default_path, load_settings  # noqa: PLC0415

    with ending(as_json=as_json):
        path = config or (context.obj[0] if context.obj else None) or default_path()
        settings = load_settings(path, with_secret=False)
        devices = [bioreactor.id for bioreactor in settings.bioreactors]
        if device not in devices:
            typer.echo(f"lms-agent: {path} has no bioreactor {device!r}; it has {', '.join(devices)}", err=True)
            raise typer.Exit(2)
        began_s = time.monotonic()
        read = 0

        def progress(done: int) -> None:
            nonlocal read
            if done // 100_000 > read // 100_000:
                typer.echo(f"{done} readings …", err=True)
            read = done

        with SqliteLog.open(settings.agent.log) as log:
            tags = [tag for tag in register(log, settings) if tag.device == device]
            usable = [tag for tag in tags if not tag.name.startswith(NOT_FOR_SCREENS)]
            written = log.append_all(entries(file, device, usable, progress))
        took_s = time.monotonic() - began_s
        first, end = written or (0, 0)
        if as_json:
            typer.echo(json.dumps({"readings": read, "first": first, "last": end, "took_s": round(took_s, 3)}))
        else:
            typer.echo(f"{read} readings imported as batches {first} to {end} of {device} in {took_s:.1f} s")


def _find(context: typer.Context, config: Path | None, log: Path | None) -> Path:
    outer_config, outer_log = context.obj or (None, None)
    return find_log(config or outer_config, log or (outer_log if config is None else None))


upkeep.register(app, _find)
commands.register(app, _find)


def _print_status(path: Path, *, as_json: bool) -> None:
    with LogReader.open(path) as reader:
        held = reader.status()
    agent = writer_pid(path) if is_written(path) else None
    told = read_status(path)
    if told is not None and (agent is None or not is_fresh(told)):
        told = None
    broker = told["broker"] if told is not None else None
    clock = told.get("clock") if told is not None else None
    if as_json:
        more = {"agent_pid": agent, "broker": broker, "clock": clock}
        typer.echo(json.dumps(contents_as_json(path, held) | more, ensure_ascii=False))
        return
    rows = [("agent", "not running" if agent is None else f"running as process {agent}")]
    if broker is not None:
        state = "connected" if broker["connected"] else f"not connected: {broker['error'] or 'connecting'}"
        rows.append(("broker", state))
    if clock is not None:
        rows.append(("clock", sentence(clock).removeprefix("clock").lstrip(": ")))
    print_rows([*contents_rows(path, held), *rows])


def _batch_as_json(batch: Any, tags: dict[int, Any]) -> dict[str, Any]:
    return {
        "number": batch.number,
        "device": batch.device,
        "readings": [
            {
                "tag": tags[reading.tag].name,
                "taken_at": iso(reading.taken_at_ms),
                "value": reading.value,
                "unit": tags[reading.tag].unit,
                "quality": reading.quality.name,
            }
            for reading in batch.readings
        ],
        "gaps": [
            {
                "id": gap.id,
                "tags": [tags[number].name for number in gap.tags if number in tags],
                "began_at": iso(gap.began_at_ms),
                "ended_at": None if gap.ended_at_ms is None else iso(gap.ended_at_ms),
                "reason": gap.reason,
            }
            for gap in batch.gaps
        ],
    }


def _rounded(value: Any, decimals: int | None) -> str:
    return f"{value:.{decimals}f}" if isinstance(value, float) and decimals is not None else str(value)
