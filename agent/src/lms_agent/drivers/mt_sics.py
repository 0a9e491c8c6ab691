"""Mettler Toledo balances: MT-SICS replies in, weights out.

    asked      answered                     becomes
    SI, S      S S     100.00 g             GOOD, stable
    SI         S D     100.00 g             GOOD, still moving
    SI, S      S +  or  S -                 BAD, no value: over or under load
    SI, S      S I                          InstrumentBusy, after a second try
    any        ES  ET  EL                   InstrumentRefused

A weight without its fixed width, or in another unit than configured, is not believed: the line has no check sum, so
the form is all there is to check.

Source: Mettler-Toledo, MT-SICS Interface Command reference: the weight is right-aligned in ten characters.
"""

import asyncio
import re
from collections.abc import Sequence
from functools import partial

from lms_protocol.instruments.calibration import Step
from lms_protocol.reading import Quality, Reading, Value

from lms_agent.buses.modbus import BUSY_PAUSE_S
from lms_agent.buses.text_commands import Command
from lms_agent.buses.text_line import TextLine
from lms_agent.drivers.driver import Go, Outcome, Written, always, quality_of
from lms_agent.drivers.questions import Question, ask_all
from lms_agent.errors import (
    InstrumentBusy,
    InstrumentRefused,
    NotWritable,
    ReplyRefused,
)
from lms_agent.settings.dialects.mt_sics import CommandPoint, MtSicsInstrument

_WEIGHT = re.compile(
    rb"S (?:(?P<state>[SD]) (?P<weight>[ \-0-9.]{10}) (?P<unit>[!-~]{1,8})|(?P<code>[+\-I]))|(?P<error>E[STL])"
)
_NUMBER = re.compile(rb" *-?\d+(?:\.\d+)?")
_PROBES = tuple(
    Command(name, re.compile(rb'%b A "[ -~]*"|%b I|E[STL]' % (name, name))) for name in (b"I4", b"I2", b"I3")
)
"""Serial number, model, software: all have quotes, which no weight has."""
_STABLE_S = 3.0
"""How long a balance may wait for a stable weight before it says that it has none."""
_ERRORS = {
    "ES": "it does not know the command; is it an MT-SICS balance, and in its normal mode?",
    "ET": "it had a transmission error; check baud, parity and cable",
    "EL": "it cannot carry out the command now",
}


class MtSics:
    """Reads one balance.

    Args:
        instrument: its points.
        line: the serial line that it alone hangs on.
        numbers: tag numbers, one per point.
    """

    def __init__(self, instrument: MtSicsInstrument, line: TextLine, numbers: Sequence[int]) -> None:
        self._line = line
        self._points = tuple(zip(numbers, instrument.points, strict=True))
        self._questions = tuple(
            Question((number,), partial(self._weigh, number, point)) for number, point in self._points
        )
        self._commands = {
            point.command: Command(point.command.encode(), _WEIGHT, takes_s=_STABLE_S if point.command == "S" else 0.0)
            for point in instrument.points
        }

    async def read(self) -> Outcome:
        """Ask for each point. A silent balance is not asked for the rest."""
        return await ask_all(self._questions)

    async def write(self, index: int, value: Value, go: Go = always) -> Written:
        """Weights are read only."""
        raise NotWritable(self._line.port, self._points[index][1].tag, "a balance's weight is only read")

    async def tell(self, step: Step, reference: float, go: Go = always) -> Written:
        """A balance adjusts itself."""
        raise NotWritable(self._line.port, self._points[0][1].tag, "a balance adjusts itself")

    async def _weigh(self, number: int, point: CommandPoint) -> Outcome:
        try:
            return Outcome([await self._ask(number, point)], [])
        except InstrumentBusy:
            await asyncio.sleep(BUSY_PAUSE_S)
            return Outcome([await self._ask(number, point)], [])

    async def _ask(self, number: int, point: CommandPoint) -> Reading:
        match, arrived_ms = await self._line.ask(self._commands[point.command], _PROBES)
        if error := match["error"]:
            code = error.decode()
            raise InstrumentRefused(self._line.port, None, code, _ERRORS[code])
        if code := match["code"]:
            if code == b"I":
                raise InstrumentBusy(self._line.port, None)
            return Reading(number, arrived_ms, None, Quality.BAD)
        weight, unit = match["weight"], match["unit"].decode()
        if not _NUMBER.fullmatch(weight):
            raise ReplyRefused(self._line.port, None, f"{weight.decode()!r} is no weight", match[0])
        if unit != point.unit:
            reason = f"the weight is in {unit!r}, but {point.tag} is configured in {point.unit!r}"
            raise ReplyRefused(self._line.port, None, reason, match[0])
        value = float(weight)
        return Reading(number, arrived_ms, value, quality_of(value, point.minimum, point.maximum))
