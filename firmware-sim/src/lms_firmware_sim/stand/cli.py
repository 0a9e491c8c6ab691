"""``lms-sim stand``: run the whole system on one machine. The Makefile's targets demo and demo-reset are these."""

import ctypes
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from lms_firmware_sim.stand import broker_programs, outside, postgres_programs
from lms_firmware_sim.stand import demo as demos
from lms_firmware_sim.stand.errors import FolderUnusableError, StandError
from lms_firmware_sim.stand.launcher import PR_SET_PDEATHSIG
from lms_firmware_sim.stand.layout import Layout

app = typer.Typer(
    name="stand",
    help="Run the whole system on this machine: database, broker, simulator, agents, cloud.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
Folder = Annotated[Path, typer.Option(help="The demo's folder.")]
Tools = Annotated[Path, typer.Option(help="Where fetched programs are kept.")]


class StopRequested(BaseException):
    """Ctrl-C or SIGTERM."""


@app.command()
def demo(
    folder: Folder = Path(".demo"),
    tools: Tools = Path(".tools"),
    history_h: Annotated[float, typer.Option(help="Hours of history at the first start.", min=0.01, max=200)] = 6.0,
    with_parent: Annotated[bool, typer.Option(help="Stop when the process that started us ends.")] = False,
) -> None:
    """Start everything and keep it running until Ctrl-C or SIGTERM; the data stays for the next start."""
    if with_parent:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _request_stop)
    layout = Layout(folder.resolve())
    try:
        layout.make()
        layout.hold()
        _run(demos.Demo(layout, tools.resolve(), os.environ, history_h=history_h, say=_say))
    except (StandError, OSError) as error:
        _fail(error)
    except StopRequested:
        pass


@app.command()
def reset(folder: Folder = Path(".demo")) -> None:
    """Forget the demo's data, accounts and passwords. Refused while it runs."""
    try:
        demos.reset(Layout(folder.resolve()))
    except (StandError, OSError) as error:
        _fail(error)
    _say("The demo's data, accounts and passwords are gone; the next start makes new ones.")


@app.command()
def prepare(tools: Tools = Path(".tools")) -> None:
    """Find or fetch PostgreSQL and the broker, and see whether they run here."""
    try:
        if outside.database_url(os.environ) is None:
            postgres_programs.for_tests(os.environ)
        if outside.broker(os.environ) is None:
            broker_programs.find(tools.resolve(), _say)
    except (StandError, OSError) as error:
        _fail(error)


def _run(running: demos.Demo) -> None:
    try:
        running.start()
        email, password = running.login()
        _say(f"\n  LMS evo is at   {running.url}\n  e-mail          {email}\n  password        {password}\n")
        _say("All of this is in .demo/demo.json. Ctrl-C stops it, the data stays; make demo-reset forgets it.")
        running.keeper.run(lambda: False)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        _say("Stopping")
        running.stop()


def _request_stop(_number: int, _frame: FrameType | None) -> None:
    raise StopRequested


def _say(sentence: str) -> None:
    typer.echo(sentence)
    sys.stdout.flush()


def _fail(error: StandError | OSError) -> None:
    if isinstance(error, OSError):
        error = FolderUnusableError(str(error.filename or "A system call"), error.strerror or str(error))
    typer.echo(f"lms-sim stand: {error}", err=True)
    raise typer.Exit(1) from error
