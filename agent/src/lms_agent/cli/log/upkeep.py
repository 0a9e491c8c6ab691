"""`lms-agent log stats`, `verify`, `export` and `compact`: is the log well, and what is in it for a spreadsheet.

Thin: `lms_agent.log.reader`, `verifying`, `exporting` and `compacting` do the work. Exit codes: 0 all is well, 1 the
log is damaged, or it could not be done, 2 the command cannot be used.
"""

import json
import sys
import time
import tomllib
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from lms_agent.cli.finding import FAILED, UNUSABLE, ending
from lms_agent.cli.log.contents import contents_as_json, contents_rows, print_rows
from lms_agent.health import read_status
from lms_agent.log.damage.verifying import Verdict
from lms_agent.log.damage.verifying import verify as verify_log
from lms_agent.log.exporting import ALWAYS_MS, Window, iso, readings, write_csv, write_json
from lms_agent.log.limits.compacting import compact as compact_log
from lms_agent.log.limits.retention import DEFAULT_MAX_BYTES, Limits
from lms_agent.log.reader import LogReader, LogStatus
from lms_agent.log.renewal.predecessors import Entry
from lms_agent.settings.loading import default_path

Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="The configuration, which names the log.", readable=False)
]
Log = Annotated[Path | None, typer.Option("--log", help="The log itself, instead of a configuration.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_MOST_TOLD = 10
Find = Callable[[typer.Context, Path | None, Path | None], Path]


def register(app: typer.Typer, find: Find) -> None:
    """Add the commands to `lms-agent log`."""

    @app.command()
    def stats(context: typer.Context, config: Config = None, log: Log = None, as_json: Json = False) -> None:
        """What is there, what was dropped, what was set aside, and the limits of size and age."""
        with ending(as_json=as_json):
            path = find(context, config, log)
            with LogReader.open(path) as reader:
                held, entries = reader.status(), reader.predecessors()
            outer = context.obj[0] if context.obj else None
            policy = _policy(path, config or outer, log)
            if as_json:
                typer.echo(json.dumps(_stats_as_json(path, held, entries, policy), ensure_ascii=False))
            else:
                _print_stats(path, held, entries, policy)

    @app.command()
    def verify(context: typer.Context, config: Config = None, log: Log = None, as_json: Json = False) -> None:
        """Check every checksum and number, and the file itself; names the first that is wrong. Changes nothing."""
        with ending(as_json=as_json):
            path = find(context, config, log)
            began_s = time.monotonic()
            verdict = verify_log(path, _progress if sys.stderr.isatty() else lambda _done, _all: None)
            took_s = time.monotonic() - began_s
        if as_json:
            problems = [{"batch": problem.number, "what": problem.what} for problem in verdict.problems]
            counted = {"first": verdict.first, "last": verdict.last, "batches": verdict.batches}
            typer.echo(
                json.dumps({"well": not problems, **counted, "readings": verdict.readings, "problems": problems})
            )
        else:
            _print_verdict(verdict, took_s)
        if verdict.problems:
            raise typer.Exit(FAILED)

    @app.command()
    def export(  # noqa: PLR0917 - typer calls it by name
        context: typer.Context,
        output: Annotated[Path | None, typer.Option("--output", "-o", help="A file; else standard output.")] = None,
        begin: Annotated[str | None, typer.Option("--from", help="Taken at this time or later: ISO 8601.")] = None,
        end: Annotated[str | None, typer.Option("--to", help="Taken before this time.")] = None,
        device: Annotated[str | None, typer.Option("--device", help="Of this bioreactor only.")] = None,
        tag: Annotated[list[str] | None, typer.Option("--tag", help="Of this tag only; may be repeated.")] = None,
        config: Config = None,
        log: Log = None,
        as_json: Json = False,
    ) -> None:
        """Readings as CSV (or, with --json, one object a line), also while the agent runs."""
        with ending(as_json=as_json):
            window = Window(_instant(begin, ALWAYS_MS[0]), _instant(end, ALWAYS_MS[1]), device, tag or ())
            write = write_json if as_json else write_csv
            with LogReader.open(find(context, config, log)) as reader:
                found = readings(reader, window)
                if output is None:
                    with suppress(BrokenPipeError):
                        write(found, sys.stdout)
                        sys.stdout.flush()
                    return
                part = output.with_name(output.name + ".part")
                with part.open("w", encoding="utf-8", newline="") as file:
                    count = write(found, file)
                part.replace(output)
            typer.echo(f"{count} readings written to {output}", err=True)

    @app.command()
    def compact(context: typer.Context, config: Config = None, log: Log = None, as_json: Json = False) -> None:
        """Give back to the disk the room that the log does not use, also while the agent runs."""
        with ending(as_json=as_json):
            done = compact_log(find(context, config, log))
        if as_json:
            typer.echo(json.dumps(done._asdict()))
        else:
            given = max(0, done.before_bytes - done.after_bytes)  # it may have grown meanwhile
            typer.echo(f"{given / 1e6:.1f} MB given back; the log has {done.after_bytes / 1e6:.1f} MB")


def _print_verdict(verdict: Verdict, took_s: float) -> None:
    for problem in verdict.problems[:_MOST_TOLD]:
        typer.echo(f"WRONG: {problem.what}")
    if len(verdict.problems) > _MOST_TOLD:
        typer.echo(f"WRONG: and {len(verdict.problems) - _MOST_TOLD} more")
    there = verdict.last - verdict.first + 1 if verdict.last else 0
    of = f" of {there}" if verdict.problems else ""
    typer.echo(f"{verdict.batches}{of} batches with {verdict.readings} readings are well ({took_s:.1f} s)")
    if verdict.problems:
        typer.echo(verdict.remedy)


def _policy(path: Path, config: Path | None, log: Path | None) -> str:
    """The limits in words: as the running agent says, else as the configuration does."""
    told = read_status(path) or {}
    said = told.get("log", {}).get("policy")
    if isinstance(said, str):
        return said
    if log is None:
        with suppress(OSError, ValueError, KeyError, TypeError):
            section = tomllib.loads((config or default_path()).read_text(encoding="utf-8"))["agent"]
            drop = section.get("log_when_full") == "drop_oldest"
            return Limits(section.get("log_max_bytes", DEFAULT_MAX_BYTES), section.get("log_keep_days"), drop).as_text()
    return "not known without the configuration"


def _print_stats(path: Path, held: LogStatus, entries: list[Entry], policy: str) -> None:
    print_rows([*contents_rows(path, held), ("limits", policy), ("dropped", _dropped(held))])
    for entry in entries:
        print_rows([("set aside", f"{iso(entry.set_aside_at_ms)}  {entry.path}"), ("", entry.reason)])
        print_rows([("", _progress_of(entry))])


def _dropped(held: LogStatus) -> str:
    if not held.dropped_batches:
        return "nothing"
    return f"{held.dropped_readings} READINGS in {held.dropped_batches} batches, for want of room, unacknowledged"


def _progress_of(entry: Entry) -> str:
    return {
        "to read": "being read",
        "ready": f"{entry.unacknowledged} batches to send",
        "sent": "all of it is in the cloud",
        "lost": "NOTHING OF IT COULD BE READ",
    }[entry.state]


def _stats_as_json(path: Path, held: LogStatus, entries: list[Entry], policy: str) -> dict[str, Any]:
    return contents_as_json(path, held) | {
        "policy": policy,
        "dropped_batches": held.dropped_batches,
        "dropped_readings": held.dropped_readings,
        "set_aside": [
            {
                "path": entry.path,
                "stream": entry.stream,
                "reason": entry.reason,
                "state": entry.state,
                "unacknowledged": entry.unacknowledged,
                "at": iso(entry.set_aside_at_ms),
            }
            for entry in entries
        ],
    }


def _instant(text: str | None, otherwise: int) -> int:
    if text is None:
        return otherwise
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        typer.echo(
            f"lms-agent: found time {text!r}; allowed: an instant with its time zone, such as 2026-11-23T06:00:00Z",
            err=True,
        )
        raise typer.Exit(UNUSABLE)
    return round(instant.timestamp() * 1000)


def _progress(done: int, last: int) -> None:
    end = "\n" if done >= last else "\r"
    typer.echo(f"{done} of {last}{end}", err=True, nl=False)
