"""`lms-agent completion`: a script for the shell, so that Tab finishes commands, options, tags, instruments and ports.

Exit codes: 0 printed or installed, 1 it could not be installed, 2 no such shell.
"""

import os
from pathlib import Path
from typing import Annotated

import typer

from lms_agent.cli.configuration import UNUSABLE
from lms_agent.cli.screen.prose import say

PROGRAM, VARIABLE = "lms-agent", "_LMS_AGENT_COMPLETE"
SYSTEM_PLACES = {
    "bash": Path("/usr/share/bash-completion/completions/lms-agent"),
    "zsh": Path("/usr/share/zsh/vendor-completions/_lms-agent"),
    "fish": Path("/usr/share/fish/vendor_completions.d/lms-agent.fish"),
}


def completion(
    shell: Annotated[
        str | None, typer.Argument(help="bash, zsh or fish; by default yours.", show_default=False)
    ] = None,
    install: Annotated[bool, typer.Option("--install", help="Put it where your shell finds it.")] = False,
    everybody: Annotated[bool, typer.Option("--all-users", help="With --install: for all; needs root.")] = False,
) -> None:
    """Print the script that lets Tab finish what you type; or install it."""
    name = shell or Path(os.environ.get("SHELL", "")).name
    if name not in SYSTEM_PLACES:
        say(f"lms-agent: found shell {name!r}; allowed: {', '.join(SYSTEM_PLACES)}", err=True)
        raise typer.Exit(UNUSABLE)
    if not install:
        typer.echo(script(name))
        return
    place = SYSTEM_PLACES[name] if everybody else own_place(name, Path.home())
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(script(name) + "\n", encoding="utf-8")
    except OSError as error:
        say(f"lms-agent: {place} cannot be written: {error.strerror}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{place} written; it works in the next shell.")
    if name == "zsh" and not everybody:
        typer.echo(f"If it does not: put `fpath+={place.parent}` before `compinit` in ~/.zshrc.")


def own_place(shell: str, home: Path) -> Path:
    """Where a shell looks for what one user has installed."""
    return {
        "bash": home / ".local/share/bash-completion/completions/lms-agent",
        "zsh": home / ".local/share/zsh/site-functions/_lms-agent",
        "fish": home / ".config/fish/completions/lms-agent.fish",
    }[shell]


def script(shell: str) -> str:
    """The script for `shell`; it asks `lms-agent` itself, which imports only what the command at hand needs."""
    from typer._completion_shared import get_completion_script  # noqa: PLC0415 - typer has no other door

    return get_completion_script(prog_name=PROGRAM, complete_var=VARIABLE, shell=shell).strip()
