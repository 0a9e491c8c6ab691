"""`lms-agent calibrations`: what can be calibrated, when it was, by whom, and what is due; or the history of one tag.

Looks at the file beside the log, so that it works beside an agent and without one. Exit code 1: something is overdue,
or in doubt.
"""

import json
import time
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from lms_agent.calibration import store
from lms_agent.calibration.record import DAY_MS, Calibration
from lms_agent.calibration.standing import Standing, standings
from lms_agent.cli import completing
from lms_agent.cli.configuration import JsonOption, load_or_exit
from lms_agent.cli.finding import CONFIG_HELP, FAILED, ending
from lms_agent.cli.screen.prose import say
from lms_agent.cli.screen.tables import table
from lms_agent.cli.screen.terminal import width

NEVER = "never"


def calibrations(
    tag: Annotated[
        str | None,
        typer.Argument(metavar="TAG", help="Its whole history, such as pH or pH/PV.", autocompletion=completing.tags),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help=CONFIG_HELP, show_default=False, readable=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what is calibrated, and what is due."""
    _, settings = load_or_exit(config, as_json=as_json)
    now_ms = time.time_ns() // 1_000_000
    with ending(as_json=as_json):
        held = store.load(settings.agent.log)
        found = [
            one for one in standings(settings, held, now_ms) if tag is None or one.able.point.tag in (tag, f"{tag}/PV")
        ]
        history = [one for one in held.history if tag is None or one.tag in (tag, f"{tag}/PV")]
        trouble = held.trouble(store.store_path(settings.agent.log))
    states = [_state(one, now_ms) for one in found]
    if as_json:
        said = {"tags": states, "history": [one.to_json() for one in history], "trouble": trouble or None}
        typer.echo(json.dumps(said, ensure_ascii=False))
    else:
        _show(states, history if tag is not None else [], trouble)
    if trouble or any(state["overdue"] or state["in_doubt"] for state in states):
        raise typer.Exit(FAILED)


def _state(one: Standing, now_ms: int) -> dict[str, Any]:
    instrument, point, procedure = one.able
    newest = one.newest
    return {
        "bioreactor": instrument.bioreactor,
        "tag": point.tag,
        "instrument": instrument.id,
        "kept_by": procedure.kind,
        "number": None if newest is None else newest.number,
        "at_ms": None if newest is None else newest.at_ms,
        "by": None if newest is None else newest.by,
        "slope_percent": None if newest is None else newest.slope_percent,
        "offset": None if newest is None else newest.zero,
        "due_at_ms": None if newest is None else newest.due_at_ms,
        "overdue": one.overdue,
        "in_doubt": one.in_doubt,
        "doubt": one.doubt or None,
        "due_in_days": None
        if newest is None or newest.due_at_ms is None
        else round((newest.due_at_ms - now_ms) / DAY_MS, 1),
    }


def _show(states: list[dict[str, Any]], history: list[Calibration], trouble: str) -> None:
    if not states:
        say("Nothing here can be calibrated: no point has a procedure. Instruments with a profile bring theirs.")
    rows: list[tuple[str, ...]] = [("TAG", "OF", "KEPT BY", "NO", "MADE", "BY", "SLOPE", "OFFSET", "DUE")]
    rows += [_row(state) for state in states]
    if states:
        for line in table(rows, width=width(), numbers=(3, 6, 7)):
            typer.echo(line)
    for state in states:
        if state["doubt"]:
            say(f"{state['tag']} of {state['bioreactor']} is in doubt: {state['doubt']}. Calibrate it again.")
    if history:
        typer.echo("")
        for one in history:
            say(_told(one))
    if trouble:
        say(f"{trouble} Tags in doubt are to be calibrated again.")


def _row(state: dict[str, Any]) -> tuple[str, ...]:
    slope, offset = state["slope_percent"], state["offset"]
    return (
        state["tag"],
        state["bioreactor"],
        state["kept_by"],
        "–" if state["number"] is None else str(state["number"]),
        NEVER if state["at_ms"] is None else _day(state["at_ms"]),
        state["by"] or "–",
        "–" if slope is None else f"{slope:.1f} %",
        "–" if offset is None else f"{offset:+.3g}",
        _due(state),
    )


def _due(state: dict[str, Any]) -> str:
    if state["in_doubt"]:
        return "IN DOUBT"
    if state["due_in_days"] is None:
        return "–"
    days = state["due_in_days"]
    return f"OVERDUE {-days:.0f} d" if state["overdue"] else f"in {days:.0f} d"


def _told(one: Calibration) -> str:
    """One line of the history."""
    points = (
        ", ".join(f"{point.measured:.4g} at {point.reference:.4g}" for point in one.points) or "back to uncorrected"
    )
    doubts = f"; NOT PLAUSIBLE: {'; '.join(one.doubts)}" if one.doubts else ""
    at = f"{datetime.fromtimestamp(one.at_ms / 1000).astimezone():%Y-%m-%d %H:%M}"
    return f"{one.number}  {at}  {one.tag} of {one.bioreactor}: {points}; by {one.by} ({one.why}){doubts}"


def _day(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000).astimezone():%Y-%m-%d}"
