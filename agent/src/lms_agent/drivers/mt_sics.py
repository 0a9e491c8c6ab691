"""Mettler Toledo balances: MT-SICS replies in, weights out.

    asked      answered                     becomes
    SI, S      S S     100.00 g             GOOD, stable
    SI         S D     100.00 g             GOOD, still moving
    SI, S      S +  or  S -                 BAD, no value: over or under load
    SI, S      S I                          InstrumentBusy, after a second try
    TA         TA A     100.00 g            the tare
    TA 12.5 g  TA A      12.50 g            the tare is set
    any        ES  ET  EL, TA L             InstrumentRefused

A weight without its fixed width, or in another unit than configured, is not believed: the line has no check sum, so
the form is all there is to check.

Source: Mettler-Toledo, MT-SICS Interface Command reference: the weight is right-aligned in ten characters.
"""

import asyncio
import re
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from lms_protocol.instruments.calibration import Step
from lms_protocol.reading import Quality, Reading, Value

from lms_agent.buses.modbus import BUSY_PAUSE_S
from lms_agent.buses.text_commands import Answer, Command
from lms_agent.buses.text_line import TextLine
from lms_agent.drivers.driver import Go, Outcome, Written, always, quality_of, unless_reopened
from lms_agent.drivers.questions import Question, ask_all
from lms_agent.errors import (
    InstrumentBusy,
    InstrumentError,
    InstrumentRefused,
    NotWritable,
    ReplyRefused,
)
from lms_agent.settings.dialects.mt_sics import CommandPoint, MtSicsInstrument

_WEIGHT = re.compile(rb"S (?:[SD] (?P<weight>[ \-0-9.]{10}) (?P<unit>[!-~]{1,8})|(?P<code>[+\-I]))|(?P<error>E[STL])")
_TARE = re.compile(
    rb"TA (?:A (?P<weight>[ \-0-9.]{10}) (?P<unit>[!-~]{1,8})|(?P<code>I)|(?P<refused>L))|(?P<error>E[STL])"
)
_NUMBER = re.compile(rb" *-?\d+(?:\.\d+)?")
_PROBES = tuple(
    Command(name, re.compile(rb'%b A "[ -~]*"|%b I|E[STL]' % (name, name))) for name in (b"I4", b"I2", b"I3")
)
"""Serial number, model, software: all have quotes, which no weight has."""
_STABLE_S = 3.0
"""How long a balance may wait for a stable weight before it says that it has none."""
_MOST_DECIMALS = 4
_ROUNDING = 1e-9
_COMMANDS = {
    "SI": Command(b"SI", _WEIGHT, shape=b"weight"),
    "S": Command(b"S", _WEIGHT, takes_s=_STABLE_S, shape=b"weight"),
    "TA": Command(b"TA", _TARE),
}
_ERRORS = {
    "ES": "it does not know the command; is it an MT-SICS balance, and in its normal mode?",
    "ET": "it had a transmission error; check baud, parity and cable",
    "EL": "it cannot carry out the command now",
    "L": "it does not take the value: beyond its capacity, or in another unit than it is set to",
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

    async def read(self) -> Outcome:
        """Ask for each point. A silent balance is not asked for the rest."""
        return await ask_all(self._questions)

    async def write(self, index: int, value: Value, go: Go = always) -> Written:
        """Set the tare; see `Driver.write`."""
        _, point = self._points[index]
        if point.access != "write" or isinstance(value, bool | str) or value is None or value - value != 0:
            raise NotWritable(self._line.port, point.tag, f"{value!r} is no tare that may be set")
        text = f"{value:.{_MOST_DECIMALS if point.decimals is None else point.decimals}f}"
        tare = Command(f"TA {text} {point.unit}".encode(), _TARE, changes=True, shape=b"TA")
        go = unless_reopened(self._line, go) if self._line.openings else go
        confirmation = await self._line.write(tare, _PROBES, read_back=_COMMANDS["TA"], go=go)
        doubt = "" if confirmation.answer is not None else str(confirmation.doubt)
        known: float | None = None
        if confirmation.answer is not None:
            try:
                taken = self._weight(point, confirmation.answer)
            except ReplyRefused as error:  # it took something
                doubt = str(error)
            else:
                known = taken.value
                if abs(known - float(text)) > 0.5 * 10.0**-taken.decimals + _ROUNDING:
                    doubt = f"its tare is {known:g} {point.unit} afterwards"
        if confirmation.read_back is not None:
            with suppress(InstrumentError):  # which would say nothing of whether the tare was taken
                known = self._weight(point, confirmation.read_back).value
        return Written(not doubt, float(text), known, doubt)

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
        answer = await self._line.ask(_COMMANDS[point.command], _PROBES)
        if answer.match["code"] in (b"+", b"-"):
            return Reading(number, answer.arrived_ms, None, Quality.BAD)
        value = self._weight(point, answer).value
        return Reading(number, answer.arrived_ms, value, quality_of(value, point.minimum, point.maximum))

    def _weight(self, point: CommandPoint, answer: Answer) -> "_Weight":
        """The weight in an answer, in the point's unit.

        Raises:
            InstrumentBusy, InstrumentRefused, ReplyRefused: there is none.
        """
        match = answer.match
        found = match.groupdict()
        if code := found["error"] or found.get("refused"):
            raise InstrumentRefused(self._line.port, None, code.decode(), _ERRORS[code.decode()])
        if found["code"]:
            raise InstrumentBusy(self._line.port, None)
        weight, unit = found["weight"], found["unit"].decode()
        if not _NUMBER.fullmatch(weight):
            raise ReplyRefused(self._line.port, None, f"{weight.decode()!r} is no weight", match[0])
        if unit != point.unit:
            reason = f"the weight is in {unit!r}, but {point.tag} is configured in {point.unit!r}"
            raise ReplyRefused(self._line.port, None, reason, match[0])
        return _Weight(float(weight), len(weight.partition(b".")[2]))


class _Weight(NamedTuple):
    value: float
    decimals: int  # digits that the balance says
