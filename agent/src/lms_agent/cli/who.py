"""Who does something at the bench, and why: as options say, or as is asked on a terminal.

Used by every command that changes something.
"""

import json
import os
import sys
from typing import Annotated, NoReturn, TypeAlias

import typer
from lms_protocol.commands import MAX_WORDS, flaw_of
from typer._click.globals import get_current_context  # typer has no other door to it

from lms_agent.accounts import account_name
from lms_agent.cli.configuration import UNUSABLE
from lms_agent.cli.screen.prose import say

ByOption: TypeAlias = Annotated[
    str | None, typer.Option("--by", help="Who you are; by default your account here.", show_default=False)
]
WhyOption: TypeAlias = Annotated[
    str | None, typer.Option("--why", help="Why; asked for, if it is not given.", show_default=False)
]


def account() -> str:
    """Who sits at the terminal, also behind sudo."""
    return os.environ.get("SUDO_USER") or account_name()


def who_and_why(by: str | None, why: str | None) -> tuple[str, str]:
    """Both, checked; or a sentence and exit code 2."""
    by = account() if by is None else by
    if why is None and sys.stdin.isatty():
        why = str(typer.prompt("Why"))
    if why is None:
        refuse("say why: --why TEXT")
    for name, words in (("--by", by), ("--why", why)):
        if flaw := flaw_of(words, MAX_WORDS):
            refuse(f"{name} {flaw}")
    return by, why


def refuse(sentence: str) -> NoReturn:
    """Say why a command cannot be used, to programs (`--json`) as an object's `error`, and end with code 2."""
    context = get_current_context(silent=True)
    if context is not None and context.params.get("as_json"):
        typer.echo(json.dumps({"error": sentence}, ensure_ascii=False))
    else:
        say(f"lms-agent: {sentence}", err=True)
    raise typer.Exit(UNUSABLE)
