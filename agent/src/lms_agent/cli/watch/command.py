"""`lms-agent watch`: the live screen at the bench. Thin: `lms_agent.watching` looks, this draws.

With Textual (the extra `lms-agent[screen]`) it is a screen with keys, `keys.py`; without it a table, `table.py`.
"""

import json
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from lms_agent.cli.finding import CONFIG_HELP, ending, find_log
from lms_agent.cli.watch.table import screen
from lms_agent.trend.plotting import knows_dots
from lms_agent.watching import Watcher


def watch(  # noqa: PLR0917 - typer calls it by name
    config: Annotated[Path | None, typer.Argument(help=CONFIG_HELP, readable=False)] = None,
    config_option: Annotated[
        Path | None, typer.Option("--config", "-c", help="The same, as an option.", readable=False)
    ] = None,
    log: Annotated[Path | None, typer.Option("--log", help="The log itself, instead of a configuration.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a second.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Look once and end.")] = False,
    plain: Annotated[
        bool, typer.Option("--plain", help="A table without keys, also where there could be some.")
    ] = False,
) -> None:
    """Show live values, ages and the backlog, until Ctrl-C."""
    with ending(as_json=as_json):
        watcher = Watcher.open(find_log(config_option or config, log))
        try:
            if as_json:
                _print_json(watcher, once=once)
            elif once or plain or not _has_keys():
                _draw(watcher, once=once)
            else:
                _run_screen(watcher)
        except (KeyboardInterrupt, BrokenPipeError):
            pass
        finally:
            watcher.close()


def _run_screen(watcher: Watcher) -> None:
    from lms_agent.cli.watch.keys import WatchScreen  # noqa: PLC0415 - only if the extra `screen` is there

    shown = WatchScreen(watcher, dots=knows_dots())
    shown.run()
    if shown.failure is not None:
        raise shown.failure


def _has_keys() -> bool:
    """Whether there is a terminal, and Textual (the extra `screen`) to draw on it."""
    return sys.stdin.isatty() and sys.stdout.isatty() and find_spec("textual") is not None


def _print_json(watcher: Watcher, *, once: bool) -> None:
    while True:
        typer.echo(json.dumps(watcher.look().as_json(), ensure_ascii=False))
        if once:
            return
        time.sleep(1)


def _draw(watcher: Watcher, *, once: bool) -> None:
    from rich.console import Console  # noqa: PLC0415 - drawing libraries only where something is drawn
    from rich.live import Live  # noqa: PLC0415

    console = Console()
    if once or not console.is_terminal:
        console.print(screen(watcher.look(), lines=10_000))
        return
    with Live(screen(watcher.look(), console.height), console=console, screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(1)
            live.update(screen(watcher.look(), console.height), refresh=True)
