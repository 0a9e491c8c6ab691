"""`lms-agent set`: set a tag, and say what became of it. Thin: `lms_agent.commands` does it, here or in the agent.

Exit codes: 0 done, 1 refused or expired, 2 the command cannot be used, 3 not confirmed: it may have been carried out.
"""

import asyncio
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import typer
from lms_protocol.commands import CommandEvent, SetPoint, Source, State
from lms_protocol.reading import Datatype, Value

from lms_agent.cli import completing
from lms_agent.cli.configuration import JsonOption, load_or_exit
from lms_agent.cli.finding import CONFIG_HELP, ending
from lms_agent.cli.read import shown
from lms_agent.cli.screen.prose import say
from lms_agent.cli.who import ByOption, WhyOption, account, refuse, who_and_why
from lms_agent.service import Service, ServiceBroken, ServiceSilent
from lms_agent.settings import AgentSettings, InstrumentSettings
from lms_agent.settings.points import Point

_CODES = {State.DONE: 0, State.REFUSED: 1, State.EXPIRED: 1, State.NOT_CONFIRMED: 3}
_WORDS = {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}


def set_(  # noqa: PLR0917 - typer calls it by name
    tag: Annotated[str, typer.Argument(metavar="TAG", help="Such as pH/SP.", autocompletion=completing.settable_tags)],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="In the tag's unit; on or off for a switch.")],
    bioreactor: Annotated[
        str | None,
        typer.Option(help="Whose tag, if several have one of that name.", autocompletion=completing.bioreactors),
    ] = None,
    by: ByOption = None,
    why: WhyOption = None,
    within: Annotated[float, typer.Option(min=1, max=600, help="Seconds after which it is void.")] = 30,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help=CONFIG_HELP, show_default=False, readable=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Set a tag that can be set, and say what became of it."""
    _, settings = load_or_exit(config, as_json=as_json)
    instrument, point = _find(settings, tag, bioreactor)
    by, why = who_and_why(by, why)
    wish = _value(value, point.datatype, tag)
    command = SetPoint(uuid4().hex, instrument.bioreactor, tag, wish, by, why, Source.BENCH, 0, 0)
    with ending(as_json=as_json), _doubt(as_json=as_json):
        event = _carry_out(settings, command, within)
    if as_json:
        typer.echo(event.to_text())
    else:
        say(_sentence(event, instrument, point), err=event.state is not State.DONE)
    raise typer.Exit(_CODES.get(State(event.state), 1))


@contextmanager
def _doubt(*, as_json: bool) -> Iterator[None]:
    """Whoever asked the agent, or began to send, and learns nothing more, must not believe that nothing was set."""
    try:
        yield
    except (ServiceSilent, ServiceBroken, KeyboardInterrupt) as error:
        why = str(error) or "it was interrupted"
        if as_json:
            typer.echo(json.dumps({"state": str(State.NOT_CONFIRMED), "error": why}, ensure_ascii=False))
        else:
            say(f"lms-agent: it is NOT CONFIRMED that it was set: read it before you go on ({why})", err=True)
        raise typer.Exit(_CODES[State.NOT_CONFIRMED]) from error


def _carry_out(settings: AgentSettings, command: SetPoint, lifetime_s: float) -> CommandEvent:
    service = Service.of(settings.agent.log, within_s=lifetime_s + 60)
    if service is None:
        from lms_agent.commands.alone import set_alone  # noqa: PLC0415 - brings in the whole agent
        from lms_agent.commands.telling import event_of  # noqa: PLC0415

        logging.getLogger("lms_agent").addHandler(logging.NullHandler())  # what matters of it is said below
        record = asyncio.run(set_alone(settings, command, round(1000 * lifetime_s), account()))
        return CommandEvent.from_text(event_of(record)[1])
    with service:
        answer = service.ask(
            "set",
            id=command.id,
            bioreactor=command.device,
            tag=command.tag,
            value=command.value,
            by=command.by,
            reason=command.reason,
            lifetime_s=lifetime_s,
        )
    return CommandEvent.from_text(str(answer["event"]))


def _find(settings: AgentSettings, tag: str, bioreactor: str | None) -> tuple[InstrumentSettings, Point]:
    found = [
        (instrument, point)
        for instrument in settings.instruments
        for point in instrument.points
        if point.tag == tag and bioreactor in {None, instrument.bioreactor}
    ]
    if not found:
        settable = sorted({p.tag for i in settings.instruments for p in i.points if p.access == "write"})
        whose = f" of {bioreactor}" if bioreactor else ""
        refuse(f"the configuration has no tag {tag!r}{whose}; these can be set: {', '.join(settable) or 'none'}")
    if len(found) > 1:
        names = " or ".join(instrument.bioreactor for instrument, _ in found)
        refuse(f"several bioreactors have a tag {tag!r}: say --bioreactor {names}")
    return found[0]


def _value(text: str, datatype: Datatype, tag: str) -> Value:
    """What was typed, as the tag's type; whether it may be set is the agent's to say."""
    try:
        if datatype is Datatype.BOOLEAN:
            return _WORDS[text.lower()]
        if datatype is Datatype.STRING:
            return text
        return int(text) if datatype in (Datatype.INT64, Datatype.UINT64) else float(text)
    except (ValueError, KeyError):
        allowed = "on or off" if datatype is Datatype.BOOLEAN else "a number such as 7 or 7.1"
        if datatype in (Datatype.INT64, Datatype.UINT64):
            allowed = "a whole number such as 7"
        refuse(f"found {text!r} for {tag}; allowed: {allowed}")


def _sentence(event: CommandEvent, instrument: InstrumentSettings, point: Point) -> str:
    def told(value: Value) -> str:
        return f"{shown(value, point.datatype, point.decimals)} {point.unit}".rstrip()

    what = f"{event.tag} of {instrument.bioreactor}"
    if event.state is State.DONE:
        back = "" if event.read_back is None else f"; {instrument.id} holds {told(event.read_back)}"
        return f"{what} is set to {told(event.value)}{back}"
    verdict = {
        State.NOT_CONFIRMED: "it is NOT CONFIRMED that it was set: read it before you go on",
        State.EXPIRED: "nothing was set: it took too long",
    }.get(State(event.state), "nothing was set: it is refused")
    return f"{what}, {told(event.value)}: {verdict} ({event.why})"
