"""`lms-agent scan`: what hangs on a line that nobody has described. Thin: `lms_agent.scanning` asks, this prints.

Exit codes: 0 something was found, 1 nothing was, or a line could not be used, 2 the command cannot be used.
"""

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from lms_protocol.instruments.catalogue import Catalogue
from lms_protocol.instruments.model import Profile

from lms_agent.cli import completing
from lms_agent.cli.configuration import UNUSABLE
from lms_agent.cli.scan_progress import Progress
from lms_agent.cli.screen.prose import say
from lms_agent.errors import PortError
from lms_agent.scanning import scanning, text_questions
from lms_agent.scanning.places import Place, places
from lms_agent.scanning.scanning import Found
from lms_agent.scanning.seeking import Wanted
from lms_agent.scanning.settings_order import BAUDS, PARITIES, LineSetting, Parity, to_try
from lms_agent.settings import default_path

SERIAL_TIMEOUT_S, TCP_TIMEOUT_S = 0.15, 0.5


@dataclass(frozen=True)
class Plan:
    """What is asked on each line.

    Attributes:
        settings: of serial lines, in the order in which they are tried.
        units: their numbers.
        timeout_s: for an answer; None: as the kind of line has it.
        every: whether all settings are tried, also after one was right.
        profiles: the models that are known.
        texts: whether instruments that talk in lines of text are asked, too.
    """

    settings: list[LineSetting]
    units: list[int]
    timeout_s: float | None
    every: bool = False
    profiles: tuple[Profile, ...] = ()
    texts: bool = True

    def timeout_at(self, place: Place) -> float:
        """For an answer there."""
        return self.timeout_s or (TCP_TIMEOUT_S if place.host else SERIAL_TIMEOUT_S)

    def survey_of(self, place: Place) -> scanning.Survey:
        """What is asked there."""
        timeout_s = self.timeout_at(place)
        return scanning.Survey(self.settings, self.units, timeout_s, self.profiles, self.every, self.texts)

    def questions_at(self, place: Place) -> int:
        """How many they are at most."""
        if place.host:
            return len(self.units)
        talkers = text_questions.text_profiles(self.profiles) if self.texts else []
        return len(self.units) * len(self.settings) + len(text_questions.questions(talkers, self.units))


@dataclass
class _Tally:
    """What a scan came to."""

    found: list[Found] = field(default_factory=list)
    noise: list[Found] = field(default_factory=list)
    failures: list[tuple[Place, str]] = field(default_factory=list)


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
        Path | None, typer.Option("--config", "-c", help="Of the agent whose lines are left alone.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Find ports, baud rates and Modbus units; with --unit, how its values are stored."""
    settings = list(to_try(tuple(baud or BAUDS), _parities(parity)))
    found = places(where or (), config or default_path())
    if unit is None:
        if value is not None or between is not None or register is not None:
            _refuse("--value, --between and --register need --unit")
        plan = Plan(settings, _units(units), timeout, every, tuple(Catalogue()))
        code = asyncio.run(_scan_all(found, plan, as_json=as_json))
    else:
        from lms_agent.cli.scan_unit import Question, look_into  # noqa: PLC0415 - another command, nearly

        if len(found) != 1:
            _refuse("--unit needs one port or host, such as `lms-agent scan /dev/ttyUSB0 --unit 3`")
        if found[0].obstacle:
            _refuse(f"{found[0].name}: {found[0].obstacle}")
        question = Question(
            found[0], Plan(settings, [unit], timeout, texts=False), unit, _wanted(value, between), register, upto
        )
        code = asyncio.run(look_into(question, as_json=as_json))
    if code:
        raise typer.Exit(code)


def _refuse(sentence: str) -> NoReturn:
    say(f"lms-agent: {sentence}", err=True)
    raise typer.Exit(UNUSABLE)


def _parities(named: list[str] | None) -> tuple[Parity, ...]:
    for name in named or ():
        if name not in PARITIES:
            _refuse(f"found --parity {name!r}; allowed: {', '.join(PARITIES)}")
    return tuple(parity for parity in PARITIES if not named or parity in named)


def _units(text: str) -> list[int]:
    units: dict[int, None] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,3})\s*(?:-\s*(\d{1,3})\s*)?", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not match or not 0 <= first <= last <= 255:
            _refuse(f"found --units {text!r}; allowed: numbers from 0 to 255, such as 1-20 or 1,3,10-12")
        units.update(dict.fromkeys(range(first, last + 1)))
    return list(units)


def _wanted(value: float | None, between: str | None) -> Wanted | None:
    if value is not None and between is not None:
        _refuse("--value and --between are one or the other")
    if value is not None:
        return Wanted.around(value)
    if between is None:
        return None
    try:
        low, high = (float(part) for part in between.split(","))
    except ValueError:
        low, high = 1.0, 0.0
    if not low <= high:
        _refuse(f"found --between {between!r}; allowed: two numbers, such as 6.5,7.5")
    return Wanted(low, high)


async def _scan_all(found: list[Place], plan: Plan, *, as_json: bool) -> int:
    tally = _Tally()
    if not found and not as_json:
        typer.echo("No serial port is present. Plug in the adapter, or name a host: lms-agent scan 192.168.0.20")
    for place in found:
        await _scan_one(place, plan, tally, quiet=as_json)
    if as_json:
        typer.echo(json.dumps(_as_json(tally), ensure_ascii=False))
    return 0 if tally.found else 1


async def _scan_one(place: Place, plan: Plan, tally: _Tally, *, quiet: bool) -> None:
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
                tell(f"{told(found)}: {_what(found)}")
    except PortError as error:
        tally.failures.append((place, str(error)))
        progress.clear()
        tell(str(error))
        return
    finally:
        tally.found += mine
        tally.noise += noise
    progress.clear()
    for text in _summary(place, plan, mine, noise):
        tell(text)


def _what(found: Found) -> str:
    """What an instrument is, or at least what it answered."""
    if found.model is None:
        return f"unknown; {found.heard.said}"
    shown = f", says {found.model.shown!r}" if found.model.shown else ""
    perhaps = "" if found.model.sure else "perhaps "
    return f"{perhaps}{found.model.profile} ({found.model.name}){shown}"


def _next_step(found: Found, profiles: tuple[Profile, ...]) -> list[str]:
    """What to do with an instrument that was found."""
    place, unit = found.place, found.heard.unit
    if found.model is None:
        return [f"what unit {unit} holds: `lms-agent scan {place.name} --unit {unit}`"]
    where = f"host={place.host}:{place.port}" if place.host else f"port={place.name}"
    option = f"profile={found.model.profile},{where}" + (f",unit={unit}" if unit is not None else "")
    boxed = next((profile.links[0] for profile in profiles if profile.id == found.model.profile), None)
    if found.setting is not None and boxed is not None and found.setting.baud != boxed.baud:
        option += f",baud={found.setting.baud}"
    if found.setting is not None and boxed is not None and found.setting.parity != boxed.parity:
        option += f",parity={found.setting.parity}"
    return [f"to set it up: `lms-agent init --instrument {option}`"]


def _summary(place: Place, plan: Plan, mine: list[Found], noise: list[Found]) -> list[str]:
    """What to say when all was asked."""
    if mine:
        known = [found for found in mine if found.model is not None]
        return _next_step((known or mine)[0], plan.profiles)
    if noise:
        return [
            f"no unit answers, but something is heard at {', '.join(str(found.setting) for found in noise[:3])}:",
            "another protocol, two units with one number, or noise on the line",
        ]
    first, last = plan.units[0], plan.units[-1]
    units = f"unit {first}" if first == last else f"units {first} to {last}"
    at = "" if place.host else f" at {_several(plan.settings)}"
    return [f"no unit answers; asked: {units}{at}"]


def _several(settings: list[LineSetting]) -> str:
    return str(settings[0]) if len(settings) == 1 else f"{len(settings)} settings from {settings[0]} on"


def told(found: Found) -> str:
    """Setting and unit, for people; 8N1 and 8N2 cannot be told apart, and need not."""
    unit = "" if found.heard.unit is None else f"unit {found.heard.unit}"
    if found.setting is None:
        return unit
    either = found.setting.parity == "none" and found.setting.stop_bits == 2 and not (found.model and found.model.sure)
    return f"{found.setting}{' (or 8N1)' if either else ''}{', ' * bool(unit)}{unit}"


def _as_json(tally: _Tally) -> dict[str, Any]:
    return {
        "units": [
            {
                "place": found.place.name,
                "baud": found.setting.baud if found.setting else None,
                "parity": found.setting.parity if found.setting else None,
                "stop_bits": found.setting.stop_bits if found.setting else None,
                "unit": found.heard.unit,
                "said": found.heard.said,
                "profile": found.model.profile if found.model else None,
                "sure": found.model.sure if found.model else None,
                "shown": found.model.shown if found.model else None,
            }
            for found in tally.found
        ],
        "noise": [{"place": found.place.name, "setting": str(found.setting)} for found in tally.noise],
        "failures": [{"place": place.name, "reason": reason} for place, reason in tally.failures],
    }
