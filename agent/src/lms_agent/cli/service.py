"""`lms-agent service`: the agent as a service of the computer. Thin: `lms_agent.installing` does it, this tells.

Exit codes: 0 installed, or running; 1 a step failed, or it does not run; 2 the configuration cannot be used.
"""

import json
from typing import Annotated, Any

import typer

from lms_agent.cli.configuration import UNUSABLE, ConfigOption, JsonOption, load_or_exit
from lms_agent.cli.finding import ending
from lms_agent.cli.screen.prose import beside, say
from lms_agent.cli.screen.terminal import coloured, width
from lms_agent.installing import steps as installing
from lms_agent.installing.systemd import UNIT, Unit, ask
from lms_agent.installing.unit import unit_text

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Run the agent as a service of this computer.",
)
_INDENT = 11


@app.command()
def install(
    config: ConfigOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    show_unit: Annotated[bool, typer.Option("--print", help="Print the unit for systemd, and do nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make account and folders, hand the agent to systemd, and start it now and at every boot."""
    path, settings = load_or_exit(config, as_json=as_json)
    path, agent = path.absolute(), installing.program()
    steps = installing.steps(settings, path, agent)
    if show_unit:
        typer.echo(unit_text(agent, path, settings.agent.log.parent), nl=False)
        return
    obstacles = list(installing.obstacles(settings, path, agent))
    if obstacles:
        for obstacle in obstacles:
            say(f"lms-agent: {obstacle}", err=True)
        raise typer.Exit(UNUSABLE)
    with ending(as_json=as_json):
        if not dry_run:
            installing.check_machine()
        for step in steps:
            if not as_json:
                typer.echo(f"{step.what}\n  {step.as_command()}" if step.what else f"  {step.as_command()}")
            if not dry_run:
                installing.carry_out(step)
    if as_json:
        typer.echo(json.dumps({"done": not dry_run, "steps": [_step_as_json(step) for step in steps]}))
    elif dry_run:
        typer.echo("Nothing was done; without --dry-run it is.")
    else:
        typer.echo("Installed. `lms-agent service status` tells how it does, `lms-agent watch` shows the values.")


def _step_as_json(step: installing.Step) -> dict[str, Any]:
    return {"what": step.what, "command": list(step.command), "writes": None if step.path is None else str(step.path)}


@app.command()
def status(as_json: JsonOption = False) -> None:
    """Whether systemd runs the agent, since when, and what it says of itself."""
    unit = ask()
    if as_json:
        typer.echo(json.dumps({"unit": UNIT, "systemd": unit is not None, **(unit._asdict() if unit else {})}))
    elif unit is None:
        say("This computer does not run systemd; `lms-agent doctor` tells whether an agent runs.")
    elif not unit.is_known:
        typer.echo(f"systemd does not know {UNIT}: `sudo lms-agent service install`")
    else:
        _print_unit(unit)
    if unit is None or unit.active != "active":
        raise typer.Exit(1)


def _print_unit(unit: Unit) -> None:
    well = unit.active == "active"
    state = f"{unit.active} ({unit.sub})" + (f", since {unit.since}" if well and unit.since else "")
    rows = [("service", coloured(state, "green" if well else "red"))]
    rows += [("says", unit.status)] if unit.status else []
    rows += [("ended", f"{unit.result}; `journalctl -u {UNIT} -n 20` says why")] if not well else []
    rows += [("restarts", f"{unit.restarts} by systemd")] if unit.restarts else []
    rows += [("process", str(unit.main_pid))] if unit.main_pid else []
    rows += [("memory", f"{unit.memory_bytes / 1e6:.0f} MB")] if unit.memory_bytes else []
    rows += [("at boot", "starts" if unit.starts_at_boot else f"does NOT start: `sudo systemctl enable {UNIT}`")]
    rows += [("unit", unit.path)]
    for name, text in rows:
        typer.echo("\n".join(beside(name, text, indent=_INDENT, width=width())))
