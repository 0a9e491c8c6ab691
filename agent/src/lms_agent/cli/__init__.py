"""`lms-agent`: the agent at the bench. Thin: each command calls what the agent itself uses, and prints.

A command's module is imported only when the command is called, so that `lms-agent --help` answers at once on a
Raspberry Pi. Exit codes: 0 all good, 1 something failed, 2 the command or the configuration cannot be used.
"""

import os
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group


class _Entry(NamedTuple):
    module: str
    attribute: str  # a function (one command) or a typer.Typer (sub-commands)
    help: str
    takes_numbers: bool = False  # as arguments: then -5 is a number, and no option


COMMANDS = {
    "init": _Entry("lms_agent.cli.init.command", "init", "Ask a few questions and write a checked configuration."),
    "run": _Entry("lms_agent.cli.run", "run", "Read the instruments, keep the log and send it, until stopped."),
    "read": _Entry("lms_agent.cli.read", "read", "Read every instrument once and show the values."),
    "set": _Entry("lms_agent.cli.set", "set_", "Set a tag that can be set, and say what became of it.", True),
    "calibrate": _Entry("lms_agent.cli.calibration.calibrate", "calibrate", "Hold an instrument against known values."),
    "calibrations": _Entry(
        "lms_agent.cli.calibration.calibrations", "calibrations", "Show what is calibrated, and what is due."
    ),
    "lock": _Entry("lms_agent.cli.lock", "lock", "Lock a bioreactor: hosts can set nothing on it."),
    "unlock": _Entry("lms_agent.cli.lock", "unlock", "Take the lock away."),
    "sync": _Entry("lms_agent.cli.sync", "sync", "Show connection, backlog, clock, last acknowledgement."),
    "watch": _Entry("lms_agent.cli.watch.command", "watch", "Show live values, ages and the backlog."),
    "history": _Entry("lms_agent.cli.history", "history", "Draw how tags went, from the log."),
    "log": _Entry("lms_agent.cli.log.app", "app", "Show what the log holds and what the cloud has acknowledged."),
    "scan": _Entry("lms_agent.cli.scan.command", "scan", "Find what hangs on a line that nobody has described."),
    "profile": _Entry("lms_agent.cli.profile", "app", "Show which instruments are known, and check your own profiles."),
    "doctor": _Entry("lms_agent.cli.doctor", "doctor", "Look for what is wrong, and say what to do about it."),
    "plan": _Entry("lms_agent.cli.plan", "plan", "Show what is asked on each line, and how busy that makes it."),
    "check": _Entry("lms_agent.cli.check", "check", "Check the configuration and show what it means."),
    "service": _Entry("lms_agent.cli.service", "app", "Run the agent as a service of this computer."),
    "completion": _Entry("lms_agent.cli.completion", "completion", "Let Tab finish what you type."),
}


class _LazyGroup(TyperGroup):
    """Lists commands from the table above and imports only the one that is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A stand-in with the right name and help; `resolve_command` loads the real one."""
        entry = COMMANDS.get(cmd_name)
        return None if entry is None else TyperCommand(cmd_name, help=entry.help, short_help=entry.help)

    def _main_shell_completion(self, *arguments: Any, **named: Any) -> None:
        """Answer the shell; its words are learnt only when it asks."""
        if "_LMS_AGENT_COMPLETE" in os.environ:
            from typer._completion_classes import completion_init  # noqa: PLC0415 - see above; typer has no other door

            completion_init()
        super()._main_shell_completion(*arguments, **named)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches  # noqa: PLC0415 - see the module's docstring

            near = get_close_matches(args[0], COMMANDS, n=1)
            ctx.fail(f"No such command '{args[0]}'." + (f" Perhaps '{near[0]}'?" if near else ""))
        name, command, rest = super().resolve_command(ctx, args)
        return name, command if name is None else _load(name), rest


def _load(name: str) -> Any:
    entry = COMMANDS[name]
    found = getattr(import_module(entry.module), entry.attribute)
    if isinstance(found, typer.Typer):
        command: Any = get_group(found)
    else:
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        settings = {"ignore_unknown_options": entry.takes_numbers}
        single.command(name, help=entry.help, context_settings=settings)(found)
        command = get_command(single)
    command.name = name
    return command


app = typer.Typer(
    cls=_LazyGroup,
    name="lms-agent",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # the drawn frames cost 0.1 s of every --help
    help="The LMS evo agent: reads instruments, keeps every reading in a local log, and sends the log to the cloud.",
)


@app.callback()
def _root() -> None:
    """Without a command: only help."""
