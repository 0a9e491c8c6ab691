"""Answers as a configuration: TOML with the comments that whoever edits it next will want.

Neighbours: `storing.py` has it checked as the agent will.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from lms_agent.starting.answers import Answers, BusAnswer, InstrumentAnswer

_HEAD = """\
# The configuration of this LMS evo agent, made by `lms-agent init`. Edit it as you like, then:
#   lms-agent check        says what it means, or what is wrong, with the line
#   lms-agent read         reads every instrument once
#   sudo systemctl reload lms-agent    has the running agent take it over
# Every key is explained in docs/agent-configuration.md.
"""


def toml_of(answers: Answers) -> str:
    """The whole file."""
    return "\n".join([_HEAD, *_lines(answers)]) + "\n"


def _lines(answers: Answers) -> Iterator[str]:
    yield "[agent]"
    yield _row("id", text(answers.agent), "this agent's name in topics")
    yield _row("group", text(answers.group), "the organization's wire id")
    yield _row("log", text(answers.log), "every reading is kept here first")
    yield "# log_max_bytes = 4000000000         # what the cloud has acknowledged goes first, the oldest first"
    yield ""
    yield "[broker]"
    yield _row("url", text(answers.url))
    yield _row("account", text(answers.account))
    yield _row(
        "password_file", text(answers.password_file), "mode 0600; a relative path counts from this file's folder"
    )
    if answers.ca_file is not None:
        yield _row("ca_file", text(answers.ca_file), "whom to trust instead of the system's authorities")
    yield _row("primary_host", text(answers.primary_host), "the cloud's name")
    for id_, name in answers.bioreactors:
        yield ""
        yield "[[bioreactor]]"
        yield _row("id", text(id_), "its wire id")
        if name:
            yield _row("name", text(name))
    for bus in answers.buses:
        yield ""
        yield from _bus(bus)
        for instrument in answers.instruments:
            if instrument.bus == bus.id:
                yield ""
                yield from _instrument(instrument)


def _bus(bus: BusAnswer) -> Iterator[str]:
    yield "[[bus]]"
    yield _row("id", text(bus.id))
    yield _row("kind", text(bus.kind))
    if bus.kind == "modbus-tcp":
        yield _row("host", text(bus.host))
        yield _row("port", str(bus.tcp_port))
        return
    by_number = not bus.port.startswith("/dev/serial/by-id/") and bus.port.startswith(("/dev/ttyUSB", "/dev/ttyACM"))
    remark = "better a name from /dev/serial/by-id, which stays when adapters are plugged in again" if by_number else ""
    yield _row("port", text(bus.port), remark)
    if bus.baud is not None:
        yield _row("baud", str(bus.baud))
    if bus.parity is not None:
        yield _row("parity", text(bus.parity))
    if bus.stop_bits is not None:
        yield _row("stop_bits", str(bus.stop_bits))


def _instrument(instrument: InstrumentAnswer) -> Iterator[str]:
    yield f"# {instrument.about}"
    yield "[[instrument]]"
    yield _row("id", text(instrument.id))
    if instrument.profile:
        yield _row("profile", text(instrument.profile), f"lms-agent profile show {instrument.profile}")
    yield _row("bus", text(instrument.bus))
    yield _row("bioreactor", text(instrument.bioreactor))
    if instrument.unit is not None:
        yield _row("unit", str(instrument.unit) if isinstance(instrument.unit, int) else text(instrument.unit))
    for point in instrument.points:
        yield ""
        yield "[[instrument.point]]"
        if point.point:
            yield _row("point", text(point.point))
        yield _row("tag", text(point.tag))
        yield from (_row(key, value) for key, value in point.keys.items())


def _row(key: str, value: str, remark: str = "") -> str:
    row = f"{key} = {value}"
    return f"{row:<35} # {remark}" if remark else row


def text(value: str | Path) -> str:
    """A text as TOML has it."""
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
