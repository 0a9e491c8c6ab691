"""`lms-cloud`: the cloud at the server's command line. Thin: each command calls what the cloud itself uses, and prints.

A command's module is imported only when the command is called. Exit codes: 0 all good, 1 something failed, 2 the
command or a setting cannot be used.
"""

from importlib import import_module
from typing import Any, NamedTuple

import typer
from lms_protocol.errors import LmsError
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from lms_cloud.kernel.errors import SettingsError


class _Entry(NamedTuple):
    module: str
    attribute: str  # a function (one command) or a typer.Typer (sub-commands)
    help: str


COMMANDS = {
    "migrate": _Entry("lms_cloud.cli.migrate", "migrate", "Bring the database to the newest migration."),
    "serve": _Entry("lms_cloud.cli.serve", "serve", "Serve pages, REST and WebSockets, until stopped."),
    "ingest": _Entry("lms_cloud.cli.ingest", "app", "Take batches from the broker into the database."),
    "database-user": _Entry(
        "lms_cloud.cli.database_user", "database_user", "Make a database login for the web or the ingest workers."
    ),
    "storage": _Entry("lms_cloud.cli.storage", "app", "Look after the stored readings and their rollups."),
    "organization": _Entry("lms_cloud.cli.organization", "app", "Create and list organizations."),
    "user": _Entry("lms_cloud.cli.user", "app", "Create, list and disable users."),
    "agent": _Entry("lms_cloud.cli.agent", "app", "Create and list agents."),
    "bioreactor": _Entry("lms_cloud.cli.bioreactor", "app", "Create and list bioreactors."),
    "completeness": _Entry(
        "lms_cloud.cli.completeness", "completeness", "Tell whether all that agents logged is stored."
    ),
    "dead-letters": _Entry(
        "lms_cloud.cli.dead_letters", "app", "List messages that could not be stored, and have them stored."
    ),
    "audit": _Entry("lms_cloud.cli.audit", "app", "Verify the hash chains of the events."),
}


class _LazyGroup(TyperGroup):
    """Lists commands from the table above and imports only the one that is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A stand-in with the right name and help; `resolve_command` loads the real one."""
        entry = COMMANDS.get(cmd_name)
        return None if entry is None else TyperCommand(cmd_name, help=entry.help, short_help=entry.help)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command if name is None else _load(name), rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command; what LMS evo itself reports becomes one sentence, not a stack trace."""
        try:
            return super().invoke(ctx)
        except LmsError as error:
            typer.echo(f"lms-cloud: {error}", err=True)
            raise typer.Exit(2 if isinstance(error, SettingsError) else 1) from error


def _load(name: str) -> Any:
    entry = COMMANDS[name]
    found = getattr(import_module(entry.module), entry.attribute)
    if isinstance(found, typer.Typer):
        command: Any = get_group(found)
    else:
        single = typer.Typer(add_completion=False)
        single.command(name, help=entry.help)(found)
        command = get_command(single)
    command.name = name
    return command


app = typer.Typer(
    cls=_LazyGroup,
    name="lms-cloud",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="The LMS evo cloud: takes readings from the broker into PostgreSQL and shows them, live and historical.",
)


@app.callback()
def _root() -> None:
    """Without a command: only help."""
