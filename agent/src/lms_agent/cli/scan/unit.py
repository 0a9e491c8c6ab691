"""`lms-agent scan --unit`: what one unit holds, and how a value that is known is stored. Called by `command.py`."""

import asyncio
import json
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import typer

from lms_agent.cli.scan.plan import Plan
from lms_agent.cli.scan.progress import Progress
from lms_agent.cli.scan.telling import told
from lms_agent.cli.screen.prose import say
from lms_agent.cli.screen.terminal import faint
from lms_agent.errors import InstrumentError
from lms_agent.scanning import scanning
from lms_agent.scanning.places import Place
from lms_agent.scanning.reach import Reach
from lms_agent.scanning.scanning import Found
from lms_agent.scanning.seeking import REGISTERS, Match, Wanted, seek
from lms_agent.scanning.surveying import Survey, survey

LOOKS, BETWEEN_LOOKS_S = 3, 0.5
_MOST_MATCHES, _MOST_SHOWN, _MOST_SPANS = 8, 12, 6


@dataclass(frozen=True)
class Question:
    """What is to be found out.

    Attributes:
        plan: how the unit's line may be set.
        wanted: bounds of a value; None: look at everything.
        number: of a register, as the manual has it; None: look at all up to `upto`.
        upto: last address.
    """

    place: Place
    plan: Plan
    unit: int
    wanted: Wanted | None
    number: int | None
    upto: int


async def look_into(question: Question, *, as_json: bool) -> int:
    """Find out and print it; the exit code."""
    plan, place = question.plan, question.place
    progress = Progress(plan.questions_at(place), plan.timeout_at(place), quiet=as_json)
    try:
        found = await _find(question, progress)
        if found is None:
            progress.clear()
            _tell_failure(f"unit {question.unit} does not answer on {place.name}", as_json=as_json)
            return 1
        async with scanning.line(place, found.setting, plan.timeout_s or scanning.PATIENT_S) as master:
            reach = Reach(master, question.unit, lambda address: progress.tell(f"address {address} …"))
            return await _ask(question, found, reach, progress, as_json=as_json)
    except InstrumentError as error:
        progress.clear()
        _tell_failure(str(error), as_json=as_json)
        return 1


async def _ask(question: Question, found: Found, reach: Reach, progress: Progress, *, as_json: bool) -> int:
    if question.wanted is not None:
        matches = await seek(
            reach, question.wanted, number=question.number, upto=question.upto, looks=LOOKS, pause=_pause
        )
        progress.clear()
        _tell_matches(found, matches, as_json=as_json)
        return 0 if matches else 1
    first = question.number or 0
    last = min(65_535, first + question.upto)
    surveys = {register: survey(await reach.words(function, first, last)) for function, register in REGISTERS.items()}
    progress.clear()
    _tell_surveys(found, surveys, as_json=as_json)
    return 0 if any(seen.spans for seen in surveys.values()) else 1


async def _pause() -> None:
    await asyncio.sleep(BETWEEN_LOOKS_S)


async def _find(question: Question, progress: Progress) -> Found | None:
    """The unit, with the setting at which it answers."""
    place, plan = question.place, question.plan
    heard = scanning.scan(place, plan.survey_of(place), progress.asking)
    async with aclosing(heard):  # it holds the line open
        async for found in heard:
            if found.heard.said and found.heard.unit == question.unit:
                return found
    return None


def _tell_failure(sentence: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"error": sentence}, ensure_ascii=False))
    else:
        say(f"lms-agent: {sentence}", err=True)


def _place(found: Found) -> dict[str, Any]:
    setting = None if found.setting is None else found.setting._asdict()
    return {"place": found.place.name, "unit": found.heard.unit, "line": setting}


def _tell_matches(found: Found, matches: list[Match], *, as_json: bool) -> None:
    if as_json:
        rows = [{"register": REGISTERS[m.function], "address": m.address, **m.how._asdict()} for m in matches]
        typer.echo(json.dumps({**_place(found), "matches": rows}, ensure_ascii=False))
        return
    typer.echo(f"{found.place.name}, {told(found)}")
    if not matches:
        typer.echo("  no register holds such a value in any form; wider bounds, another --register, a higher --upto?")
        return
    for match in matches[:_MOST_MATCHES]:
        where = f"{REGISTERS[match.function]} {match.address}"
        typer.echo(f"  {where:<15} {match.how.value:<12.6g} {match.how}")
    if len(matches) > _MOST_MATCHES:
        typer.echo(f"  … and {len(matches) - _MOST_MATCHES} less likely ones")
    first, *others = matches
    if any(match.how.kind == first.how.kind and match.shares_with & first.shares_with for match in others):
        say(
            "Some share registers: only one can be right. Look again when the value has moved, with more of its digits."
        )
    typer.echo("The first as a point of the configuration (addresses count from 0):")
    typer.echo("\n".join(f"  {row}" for row in point_lines(first)))


def point_lines(match: Match) -> list[str]:
    """A match as a table of the configuration."""
    register = [] if REGISTERS[match.function] == "holding" else [f'register = "{REGISTERS[match.function]}"']
    keys = [f"{key} = {value}" for key, value in match.how.point_keys().items()]
    return ["[[instrument.point]]", 'tag = "Name/PV"', *register, f"address = {match.address}", *keys]


def _tell_surveys(found: Found, surveys: dict[str, Survey], *, as_json: bool) -> None:
    if as_json:
        rows = {
            register: {
                "spans": seen.spans,
                "word_order": seen.order and seen.order[0],
                "byte_order": seen.order and seen.order[1],
                "numbers": {address: how.value for address, how in seen.numbers.items()},
                "counts": seen.counts,
            }
            for register, seen in surveys.items()
        }
        typer.echo(json.dumps({**_place(found), **rows}, ensure_ascii=False))
        return
    typer.echo(f"{found.place.name}, {told(found)}")
    for register, seen in surveys.items():
        for text in _survey_lines(register, seen):
            typer.echo(f"  {text}")
    typer.echo(faint("--value finds what a display shows; --register begins at a number from a manual."))


def _survey_lines(register: str, found: Survey) -> list[str]:
    if not found.spans:
        return [f"{register} registers: none can be read"]
    spans = ", ".join(
        f"{first}" if first == last else f"{first} to {last}" for first, last in found.spans[:_MOST_SPANS]
    )
    more = f" and {len(found.spans) - _MOST_SPANS} more runs" if len(found.spans) > _MOST_SPANS else ""
    lines = [f"{register} registers {spans}{more}"]
    if found.numbers:
        how = next(iter(found.numbers.values()))
        lines.append(f"  make sense as {how}:")
        lines += [
            f"    {address:>5}  {number.value:.6g}" for address, number in list(found.numbers.items())[:_MOST_SHOWN]
        ]
    counts = list(found.counts.items())
    if counts:
        lines.append("  whole numbers other than 0:")
        lines += [f"    {address:>5}  {word}  0x{word:04X}" for address, word in counts[:_MOST_SHOWN]]
        if len(counts) > _MOST_SHOWN:
            lines.append(f"    … and {len(counts) - _MOST_SHOWN} more")
    return lines
