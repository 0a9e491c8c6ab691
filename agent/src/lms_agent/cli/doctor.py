"""`lms-agent doctor`: what is wrong, and what to do about it. Thin: `lms_agent.doctor` looks, this prints.

Exit codes: 0 nothing is bad, 1 something is, 2 the command cannot be used.
"""

import asyncio
import json
from pathlib import Path

import typer

from lms_agent.cli.configuration import ConfigArgument, ConfigOption, JsonOption
from lms_agent.cli.screen.prose import beside
from lms_agent.cli.screen.terminal import coloured, width
from lms_agent.settings import default_path

_INDENT = 24
_MARKS = {"good": ("ok", "green"), "note": ("note", "yellow"), "bad": ("BAD", "red"), "unknown": ("?", "yellow")}


def doctor(config: ConfigArgument = None, config_option: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Look for what is wrong with ports, groups, disk, clock, broker and log, and say what to do about it."""
    if asyncio.run(_examine(config_option or config or default_path(), as_json=as_json)):
        raise typer.Exit(1)


async def _examine(config: Path, *, as_json: bool) -> int:
    """Print each finding as it comes; how many are bad."""
    from lms_agent.doctor.examining import examine  # noqa: PLC0415 - brings in the whole agent
    from lms_agent.doctor.finding import State  # noqa: PLC0415

    findings = []
    async for finding in examine(config):
        findings.append(finding)
        if not as_json:
            mark, colour = _MARKS[finding.state]
            lines = beside(f"{finding.subject:<17} {mark}", finding.found, indent=_INDENT, width=width())
            if finding.remedy:
                lines += beside(" " * (_INDENT - 3) + "→ ", finding.remedy, indent=_INDENT, width=width())
            lines[0] = lines[0].replace(f" {mark} ", f" {coloured(mark, colour, bold=mark == 'BAD')} ", 1)
            typer.echo("\n".join(lines))
    worst = sum(finding.state is State.BAD for finding in findings)
    if as_json:
        typer.echo(json.dumps({"well": not worst, "findings": [f._asdict() for f in findings]}, ensure_ascii=False))
    else:
        notes, hidden = (sum(finding.state is state for finding in findings) for state in (State.NOTE, State.UNKNOWN))
        typer.echo(_verdict(worst, notes, hidden))
    return worst


def _verdict(worst: int, notes: int, hidden: int) -> str:
    more = f"; {notes} to note" if notes else ""
    unseen = f"; {hidden} could not be looked at" if hidden else ""
    if worst:
        words = f"{worst} {'thing is' if worst == 1 else 'things are'} wrong{more}{unseen}. Begin with the first."
        return coloured(words, "red")
    if hidden:
        return coloured(f"Nothing wrong was found{more}{unseen}.", "yellow")
    return coloured(f"Nothing is wrong{more}.", "green")
