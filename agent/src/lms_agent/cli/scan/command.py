"""`lms-agent scan`: what hangs on a line that nobody has described. Thin: `lms_agent.scanning` asks, this prints.

Exit codes: 0 something was found, 1 nothing was, or a line could not be used, 2 the command cannot be used.
"""

import asyncio
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from lms_protocol.instruments.catalogue import Catalogue

from lms_agent.cli import completing
from lms_agent.cli.scan.plan import Plan
from lms_agent.cli.scan.progress import Progress
from lms_agent.cli.scan.telling import Tally, report, summary, told, what
from lms_agent.cli.screen.prose import say
from lms_agent.cli.who import refuse
from lms_agent.errors import PortError
from lms_agent.scanning import scanning
from lms_agent.scanning.places import Place, places
from lms_agent.scanning.scanning import Found
from lms_agent.scanning.seeking import Wanted
from lms_agent.scanning.settings_order import BAUDS, PARITIES, Parity, to_try
from lms_agent.settings import default_path


def scan(  # noqa: PLR0917 - typer calls it by name
    where: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PORT|HOST[:PORT]]...",
            help="Serial ports and TCP hosts; by default all serial ports.",
            autocompletion=completing.ports,
        ),
    ] = None,
    units: Annotated[str, typer.Option("--units", help="Modbus units to ask, such as 1-20 or 1,3,10-12.")] = "1-16",
    baud: Annotated[list[int] | None, typer.Option("--baud", help="Only this baud rate; may be repeated.")] = None,
    parity: Annotated[list[str] | None, typer.Option("--parity", help="Only none, even or odd.")] = None,
    timeout: Annotated[float | None, typer.Option("--timeout", min=0.02, max=10, help="Seconds for an answer.")] = None,
    every: Annotated[bool, typer.Option("--every", help="Try all settings, also after one was right.")] = False,
    unit: Annotated[int | None, typer.Option("--unit", min=0, max=255, help="Look into this unit.")] = None,
    register: Annotated[int | None, typer.Option("--register", min=0, help="The number from the manual.")] = None,
    value: Annotated[float | None, typer.Option("--value", help="What the instrument's display shows.")] = None,
    between: Annotated[str | None, typer.Option("--between", help="Bounds of the value, such as 6.5,7.5.")] = None,
    upto: Annotated[int, typer.Option("--upto", min=0, max=65_535, help="Last address to look at.")] = 299,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Of the agent whose lines are left alone.", readable=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Find ports, baud rates and Modbus units; with --unit, how its values are stored."""
    settings = list(to_try(tuple(baud or BAUDS), _parities(parity)))
    found = places(where or (), config or default_path())
    if unit is None:
        if value is not None or between is not None or register is not None:
            refuse("--value, --between and --register need --unit")
        plan = Plan(settings, _units(units), timeout, every, tuple(Catalogue()))
        code = asyncio.run(_scan_all(found, plan, as_json=as_json))
    else:
        from lms_agent.cli.scan.unit import Question, look_into  # noqa: PLC0415 - another command, nearly

        if len(found) != 1:
            refuse("--unit needs one port or host, such as `lms-agent scan /dev/ttyUSB0 --unit 3`")
        if found[0].obstacle:
            refuse(f"{found[0].name}: {found[0].obstacle}")
        question = Question(
            found[0], Plan(settings, [unit], timeout, texts=False), unit, _wanted(value, between), register, upto
        )
        code = asyncio.run(look_into(question, as_json=as_json))
    if code:
        raise typer.Exit(code)


def _parities(named: list[str] | None) -> tuple[Parity, ...]:
    for name in named or ():
        if name not in PARITIES:
            refuse(f"found --parity {name!r}; allowed: {', '.join(PARITIES)}")
    return tuple(parity for parity in PARITIES if not named or parity in named)


def _units(text: str) -> list[int]:
    units: dict[int, None] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,3})\s*(?:-\s*(\d{1,3})\s*)?", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not match or not 0 <= first <= last <= 255:
            refuse(f"found --units {text!r}; allowed: numbers from 0 to 255, such as 1-20 or 1,3,10-12")
        units.update(dict.fromkeys(range(first, last + 1)))
    return list(units)


def _wanted(value: float | None, between: str | None) -> Wanted | None:
    if value is not None and between is not None:
        refuse("--value and --between are one or the other")
    if value is not None:
        return Wanted.around(value)
    if between is None:
        return None
    try:
        low, high = (float(part) for part in between.split(","))
    except ValueError:
        low, high = 1.0, 0.0
    if not low <= high:
        refuse(f"found --between {between!r}; allowed: two numbers, such as 6.5,7.5")
    return Wanted(low, high)


async def _scan_all(found: list[Place], plan: Plan, *, as_json: bool) -> int:
    tally = Tally()
    if not found and not as_json:
        typer.echo("No serial port is present. Plug in the adapter, or name a host: lms-agent scan 192.168.0.20")
    for place in found:
        await _scan_one(place, plan, tally, quiet=as_json)
    if as_json:
        typer.echo(json.dumps(report(tally), ensure_ascii=False))
    return 0 if tally.found else 1


async def _scan_one(place: Place, plan: Plan, tally: Tally, *, quiet: bool) -> None:
    tell: Callable[[str], None] = (lambda _: None) if quiet else partial(say, indent=2)
    if not quiet:
        typer.echo(place.name)
    if place.obstacle:
        tally.failures.append((place, place.obstacle))
        tell(f"left alone: {place.obstacle}")
        return
    progress = Progress(plan.questions_at(place), plan.timeout_at(place), quiet=quiet)
    mine: list[Found] = []
    noise: list[Found] = []
    try:
        async for found in scanning.scan(place, plan.survey_of(place), progress.asking):
            (mine if found.heard.said else noise).append(found)
            if found.heard.said:
                progress.clear()
                tell(f"{told(found)}: {what(found)}")
    except PortError as error:
        tally.failures.append((place, str(error)))
        progress.clear()
        tell(str(error))
        return
    finally:
        tally.found += mine
        tally.noise += noise
    progress.clear()
    for text in summary(place, plan, mine, noise):
        tell(text)
