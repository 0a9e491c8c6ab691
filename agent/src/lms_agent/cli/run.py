"""`lms-agent run`: the agent, until SIGTERM or SIGINT; SIGHUP has it read its settings again.

Thin: `lms_agent.app` is the agent.
"""

import asyncio
import logging
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from lms_agent.cli.finding import CONFIG_HELP, ending
from lms_agent.settings import default_path, load_settings


def run(
    config: Annotated[Path | None, typer.Argument(help=CONFIG_HELP, readable=False)] = None,
    config_option: Annotated[
        Path | None, typer.Option("--config", "-c", help="The same, as an option.", readable=False)
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more of what is done.")] = False,
) -> None:
    """Read the instruments, keep the log and send it, until stopped by SIGTERM or Ctrl-C.

    On SIGHUP the settings are read again: good ones are taken over without losing a scan, broken ones are not.
    """
    with ending():
        path = config_option or config or default_path()
        settings = load_settings(path)
        _configure_logging(verbose=verbose)
        from lms_agent.app import run_agent  # noqa: PLC0415 - only once the settings are known to be good
        from lms_agent.notify import Notifier  # noqa: PLC0415
        from lms_agent.reloading import Reloading  # noqa: PLC0415

        async def run_until_signal() -> None:
            stop = asyncio.Event()
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stop.set)
            reloading = Reloading(partial(load_settings, path))
            loop.add_signal_handler(signal.SIGHUP, reloading.ask)
            notifier = Notifier.from_environment(os.environ)
            await run_agent(settings, stop, notifier=notifier, reloading=reloading)

        asyncio.run(run_until_signal())


def _configure_logging(*, verbose: bool) -> None:
    """To standard error, a line each; with systemd's levels, and without times, where the journal adds its own."""
    in_journal = "JOURNAL_STREAM" in os.environ
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line("%(message)s" if in_journal else "%(asctime)s %(levelname)s %(message)s", in_journal))
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler])
    for chatty in ("pymodbus", "asyncio", "mqtt"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


class _Line(logging.Formatter):
    """One record, one line: whatever an instrument or a broker says cannot forge another."""

    def __init__(self, layout: str, in_journal: bool) -> None:
        super().__init__(layout)
        self._in_journal = in_journal

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if record.exc_info is None:
            text = text.replace("\r", "\\r").replace("\n", "\\n")
        return f"<{_LEVELS.get(record.levelno, 6)}>{text}" if self._in_journal else text


_LEVELS = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
