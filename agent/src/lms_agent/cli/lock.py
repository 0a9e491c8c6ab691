"""`lms-agent lock` and `unlock`: whether hosts may set anything on a bioreactor. The bench always may.

Exit codes: 0 done, 1 it could not be, 2 the command cannot be used.
"""

import json
import time
from pathlib import Path
from typing import Annotated

import typer
from lms_protocol.commands import Lock

from lms_agent.cli import completing
from lms_agent.cli.configuration import JsonOption, load_or_exit
from lms_agent.cli.finding import CONFIG_HELP, ending
from lms_agent.cli.screen.prose import say
from lms_agent.cli.who import ByOption, WhyOption, account, who_and_why
from lms_agent.commands.store import locks_of
from lms_agent.log.exporting import iso
from lms_agent.service import Service
from lms_agent.settings import AgentSettings

_Config = Annotated[Path | None, typer.Option("--config", "-c", help=CONFIG_HELP, show_default=False, readable=False)]
_Bioreactor = Annotated[str, typer.Argument(metavar="BIOREACTOR", autocompletion=completing.bioreactors)]


def lock(
    bioreactor: Annotated[
        str | None,
        typer.Argument(
            metavar="[BIOREACTOR]", help="Without one, show what is locked.", autocompletion=completing.bioreactors
        ),
    ] = None,
    by: ByOption = None,
    why: WhyOption = None,
    config: _Config = None,
    as_json: JsonOption = False,
) -> None:
    """Lock a bioreactor: hosts can set nothing on it until it is unlocked, also after a restart."""
    _, settings = load_or_exit(config, as_json=as_json)
    if bioreactor is None:
        with ending(as_json=as_json):
            _show(locks_of(settings.agent.log), as_json=as_json)
        return
    by, why = who_and_why(by, why)
    with ending(as_json=as_json):
        _lock(settings, bioreactor, Lock(by, why, time.time_ns() // 1_000_000), by, why)
    _say(f"{bioreactor} is locked: hosts can set nothing on it until `lms-agent unlock {bioreactor}`", as_json=as_json)


def unlock(
    bioreactor: _Bioreactor,
    by: ByOption = None,
    why: WhyOption = None,
    config: _Config = None,
    as_json: JsonOption = False,
) -> None:
    """Take the lock away: hosts may set what can be set again."""
    _, settings = load_or_exit(config, as_json=as_json)
    by, why = who_and_why(by, why)
    with ending(as_json=as_json):
        _lock(settings, bioreactor, None, by, why)
    _say(f"{bioreactor} is unlocked: hosts may set what can be set", as_json=as_json)


def _lock(settings: AgentSettings, bioreactor: str, wanted: Lock | None, by: str, why: str) -> None:
    service = Service.of(settings.agent.log)
    if service is not None:
        with service:
            service.ask("unlock" if wanted is None else "lock", bioreactor=bioreactor, by=by, reason=why)
        return
    from lms_agent.commands.alone import lock_alone  # noqa: PLC0415 - brings in the whole agent

    lock_alone(settings, bioreactor, wanted, by=by, why=why, account=account(), now_ms=time.time_ns() // 1_000_000)


def _show(locks: dict[str, Lock], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({device: one._asdict() for device, one in locks.items()}, ensure_ascii=False))
        return
    for device, one in locks.items():
        say(f"{device} is locked since {iso(one.since_ms)} by {one.by}: {one.why}")
    if not locks:
        say("nothing is locked")


def _say(sentence: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"done": True}))
    else:
        say(sentence)
