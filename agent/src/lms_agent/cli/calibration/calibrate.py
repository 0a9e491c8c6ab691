"""`lms-agent calibrate`: guides through a calibration, or keeps one that was measured otherwise.

Exit codes: 0 kept, 1 not kept, 2 the command cannot be used, 3 not confirmed: the instrument may have been adjusted.

Neighbours: `guide.py` talks with the technician; `lms_agent.calibration` does everything else.
"""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from lms_agent.calibration.at_bench import AtBench, at_bench
from lms_agent.calibration.fitting import CalibrationError
from lms_agent.calibration.making import Calibratable, Wish, calibratable, judge
from lms_agent.calibration.record import Calibration, Measured
from lms_agent.calibration.session import Chosen, chosen_of
from lms_agent.cli import completing
from lms_agent.cli.calibration.guide import Guide, Made, told
from lms_agent.cli.configuration import JsonOption, load_or_exit
from lms_agent.cli.finding import CONFIG_HELP, FAILED, ending
from lms_agent.cli.screen.prose import say
from lms_agent.cli.who import ByOption, WhyOption, account, refuse, who_and_why
from lms_agent.settings import AgentSettings

NOT_CONFIRMED = 3


def calibrate(  # noqa: PLR0917 - typer calls it by name
    tag: Annotated[str, typer.Argument(metavar="TAG", help="Such as pH or pH/PV.", autocompletion=completing.tags)],
    bioreactor: Annotated[
        str | None,
        typer.Option(help="Whose tag, if several have one of that name.", autocompletion=completing.bioreactors),
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option("--reference", "-r", help="Such as mid or mid=7.01; may be repeated.", show_default=False),
    ] = None,
    point: Annotated[
        list[str] | None,
        typer.Option("--point", help="READ=TRUE, measured otherwise: a sample in the laboratory.", show_default=False),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Back to uncorrected readings.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: the probe is in the one reference.")] = False,
    accept: Annotated[bool, typer.Option("--accept", help="Keep it though its figures are not plausible.")] = False,
    by: ByOption = None,
    why: WhyOption = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help=CONFIG_HELP, show_default=False, readable=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Hold an instrument against known values, and correct its readings, or adjust it."""
    _, settings = load_or_exit(config, as_json=as_json)
    able = _find(settings, tag, bioreactor)
    silent = yes or as_json or not sys.stdin.isatty()
    chosen = _chosen(able, reference or [])
    points = [_point(text) for text in point or []]
    _check(able, chosen, points, clear=clear, silent=silent)
    by, why = who_and_why(by, why)
    with ending(as_json=as_json), at_bench(settings, able.instrument, account()) as bench:
        guide = Guide(bench, able, silent=silent, words=not as_json, accept=accept)
        measured = Made(points) if points or clear else guide.measure(chosen)
        changed = able.procedure.kind == "instrument"  # it has adjusted itself: that is written down in any case
        remarks = tuple(measured.remarks)
        wish = Wish(
            *able.key,
            tuple(measured.points),
            by,
            why,
            accepted=accept or changed,
            remarks=remarks,
            slope_percent=measured.slope_percent,
            unconfirmed=measured.in_doubt,
        )
        made = _kept(bench, guide, wish, able)
    if made is None:
        raise typer.Exit(FAILED)
    if as_json:
        typer.echo(json.dumps(made.to_json(), ensure_ascii=False))
    else:
        for line in told(made):
            say(line)
    if remarks:
        raise typer.Exit(NOT_CONFIRMED if measured.in_doubt else FAILED)


def _kept(bench: AtBench, guide: Guide, wish: Wish, able: Calibratable) -> Calibration | None:
    """The calibration, if its figures are plausible or somebody says that it is to be kept all the same."""
    found, doubts = judge(able, wish.points, wish.slope_percent)
    guide.show(wish.points, found, doubts)
    if doubts and not wish.accepted:
        if not guide.agreed("Keep it all the same?"):
            say("lms-agent: nothing was kept" + (f": {'; '.join(doubts)}" if guide.silent else ""), err=True)
            return None
        wish = replace(wish, accepted=True)
    return bench.keep(wish, account())


def _find(settings: AgentSettings, tag: str, bioreactor: str | None) -> Calibratable:
    able = [one for one in calibratable(settings) if bioreactor in {None, one.instrument.bioreactor}]
    found = [one for one in able if one.point.tag == tag] or [one for one in able if one.point.tag == f"{tag}/PV"]
    if not found:
        names = ", ".join(f"{one.point.tag} of {one.instrument.bioreactor}" for one in able)
        refuse(f"{tag!r} cannot be calibrated; what can is {names or 'nothing: no point has a procedure'}")
    if len(found) > 1:
        names = " or ".join(one.instrument.bioreactor for one in found)
        refuse(f"several bioreactors have a tag {tag!r}: say --bioreactor {names}")
    return found[0]


def _chosen(able: Calibratable, references: list[str]) -> list[Chosen]:
    chosen = []
    for text in references:
        name, equals, value = text.partition("=")
        try:
            number = float(value) if equals else None
            chosen.append(chosen_of(able.procedure, name.strip(), number))
        except ValueError:
            refuse(f"--reference {text}: found {value!r}; allowed: a number, such as {name}=7.01")
        except CalibrationError as error:
            refuse(f"--reference {text}: {error}")
    return chosen


def _point(text: str) -> Measured:
    read, _, true = text.partition("=")
    try:
        measured, reference = float(read), float(true)
    except ValueError:
        refuse(f"--point {text}: allowed: what was read, and what it should have been, such as 7.05=7.00")
    if not math.isfinite(measured) or not math.isfinite(reference):
        refuse(f"--point {text}: allowed: finite numbers")
    return Measured("sample", reference, measured, 1, 0.0, stable=True)


def _check(able: Calibratable, chosen: list[Chosen], points: list[Measured], *, clear: bool, silent: bool) -> None:
    """Refuse options that contradict each other, or leave open what may not be asked."""
    if sum(map(bool, (chosen, points, clear))) > 1:
        refuse("--reference, --point and --clear exclude each other")
    if (points or clear) and able.procedure.kind == "instrument":
        refuse(f"{able.point.tag} is calibrated in its instrument: only with --reference")
    if silent and not clear and not points and len(chosen) != 1:
        refuse("nothing can be asked here: say --yes and one --reference in which the probe is, or --point, or --clear")
