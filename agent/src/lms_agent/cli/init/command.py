"""`lms-agent init`: the first configuration. Thin: `lms_agent.starting` drafts and writes it, this takes the answers.

What its options do not say is asked for, on a terminal; elsewhere it is missing, and said to be. Exit codes: 0 written
and good, 1 it cannot be written there, 2 the answers make no configuration, 130 ended before anything was written.
"""

import json
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from lms_protocol.errors import LmsError

from lms_agent.cli.configuration import UNUSABLE
from lms_agent.cli.finding import FAILED
from lms_agent.cli.init.answers import Given, Missing, answers_of
from lms_agent.cli.init.questions import Questions
from lms_agent.cli.screen.prose import say
from lms_agent.cli.screen.tables import table
from lms_agent.cli.screen.terminal import width
from lms_agent.settings import AgentSettings, default_path
from lms_agent.starting.storing import AnswersRefused, StoringError, check_place, store

ENDED = 130


def init(  # noqa: PLR0917 - typer calls it by name
    output: Annotated[Path | None, typer.Option("--output", "-o", help="By default /etc/lms-evo/agent.toml.")] = None,
    group: Annotated[str | None, typer.Option("--group", help="The organization's wire id.")] = None,
    agent: Annotated[str | None, typer.Option("--agent", help="This agent's name; by default the computer's.")] = None,
    broker: Annotated[str | None, typer.Option("--broker", help="mqtts://host:port")] = None,
    account: Annotated[str | None, typer.Option("--account", help="By default the agent's name.")] = None,
    password_file: Annotated[Path | None, typer.Option("--password-file", help="Which holds the password.")] = None,
    ca_file: Annotated[Path | None, typer.Option("--ca-file", help="Certificates to trust, in PEM form.")] = None,
    log: Annotated[Path | None, typer.Option("--log", help="By default /var/lib/lms-agent/log.sqlite3.")] = None,
    bioreactor: Annotated[list[str] | None, typer.Option("--bioreactor", help="R1, or R1=STR-1; repeat.")] = None,
    instrument: Annotated[
        list[str] | None, typer.Option("--instrument", help="profile=…,port=… or host=…[,unit=…,bioreactor=…]; repeat.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Ask nothing, and print JSON.")] = False,
) -> None:
    """Ask a few questions and write a checked configuration; what the options say is not asked."""
    path = (output or default_path()).absolute()
    given = Given(group, agent, broker, account, password_file, ca_file, log, bioreactor or [], instrument or [])
    questions = None if as_json or not sys.stdin.isatty() else Questions()
    try:
        check_place(path, force=force)
        answers, password = answers_of(given, path, questions)
        settings = store(path, answers, password)
    except (typer.Abort, KeyboardInterrupt):
        typer.echo("\nNothing was written.", err=True)
        raise typer.Exit(ENDED) from None
    except StoringError as error:
        _end(str(error), FAILED, as_json=as_json)
    except AnswersRefused as error:
        _end_refused(error, as_json=as_json)
    except (Missing, LmsError) as error:
        _end(str(error), UNUSABLE, as_json=as_json)
    _tell(path, settings, as_json=as_json)


def _end(sentence: str, code: int, *, as_json: bool) -> NoReturn:
    if as_json:
        typer.echo(json.dumps({"error": sentence}, ensure_ascii=False))
    else:
        say(f"lms-agent: {sentence}", err=True)
    raise typer.Exit(code)


def _end_refused(error: AnswersRefused, *, as_json: bool) -> NoReturn:
    if as_json:
        typer.echo(json.dumps({"problems": [problem._asdict() for problem in error.problems]}, ensure_ascii=False))
    else:
        say("lms-agent: these answers make no configuration; nothing was written:", err=True)
        for problem in error.problems:
            say(f"{problem.key}: found {problem.found}; allowed: {problem.allowed}", indent=2, err=True)
    raise typer.Exit(UNUSABLE)


def _tell(path: Path, settings: AgentSettings, *, as_json: bool) -> None:
    tags = [tag.name for tag in settings.tag_descriptions()]
    if as_json:
        instruments = [instrument.id for instrument in settings.instruments]
        typer.echo(json.dumps({"path": str(path), "instruments": instruments, "tags": tags}, ensure_ascii=False))
        return
    typer.echo("")
    say(f"{path} is written and good: {', '.join(tags)}.")
    steps = [
        ("lms-agent read", "reads every instrument once"),
        ("lms-agent doctor", "sees whether anything is wrong"),
        ("sudo lms-agent service install", "starts the agent, now and at every boot"),
    ]
    other = "" if path == default_path() else f", each with `-c {path}`"
    say(f"Next{other}:")
    typer.echo("\n".join(f"  {line}" for line in table(steps, width=width() - 2, numbers=())))
