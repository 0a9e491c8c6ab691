"""What several commands share: the configuration as argument, `--json`, and how a broken configuration is told."""

import json
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from lms_agent.cli.screen.prose import fitted
from lms_agent.errors import SettingsError
from lms_agent.settings import AgentSettings, default_path, load_settings

ConfigArgument: TypeAlias = Annotated[
    Path | None,
    typer.Argument(
        metavar="CONFIG",
        help="The agent's TOML file; by default $LMS_AGENT_CONFIG, else /etc/lms-evo/agent.toml.",
        show_default=False,
        readable=False,  # our own message says more than typer's
    ),
]
ConfigOption: TypeAlias = Annotated[
    Path | None, typer.Option("--config", "-c", help="The same, as an option.", show_default=False, readable=False)
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

UNUSABLE = 2


def load_or_exit(config: Path | None, *, as_json: bool) -> tuple[Path, AgentSettings]:
    """The configuration and where it was found; or every problem of it on the screen, and exit code 2."""
    path = config or default_path()
    try:
        return path, load_settings(path, with_secret=False)
    except SettingsError as error:
        if as_json:
            typer.echo(
                json.dumps({"path": str(path), "problems": [p._asdict() for p in error.problems]}, ensure_ascii=False)
            )
        else:
            typer.echo(fitted(str(error).splitlines(), err=True), err=True)
        raise typer.Exit(UNUSABLE) from None
