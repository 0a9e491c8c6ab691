"""Watson-Marlow pumps 520 and 323.

    asked    answered                                                   of
    nRS      520Du 15.84 520R 9.6MM 220.0 CW P/N 1 123456 1 !           a 520: …, rpm, direction, number, tacho, running
    nRS      323Du 110 CW 1 !                                           a 323: rpm, direction, running

One question gives all points. `nSPxxx.x`, `nGO`, `nST`, `nRR` and `nRL` are not answered: whether the pump has obeyed
says the status that is asked for in the same turn. Between two commands lie at least 10 ms. A 323 does not say its
number, so it must be alone on its line; a 520 whose number is not the one asked is not believed.

Source: Watson-Marlow, 520 and 323 manuals, chapter RS232.
"""

import re
from collections.abc import Sequence

from lms_protocol.instruments.calibration import Step
from lms_protocol.reading import Reading, Value

from lms_agent.buses.text_commands import Answer, Command
from lms_agent.buses.text_line import TextLine
from lms_agent.drivers.driver import Failure, Go, Outcome, Written, always, quality_of, unless_reopened
from lms_agent.drivers.questions import Question, ask_all
from lms_agent.errors import NotWritable, ReplyRefused
from lms_agent.settings.dialects.watson_marlow import PumpPoint, WatsonMarlowInstrument

PAUSE_S = 0.02
UNENDED_S = 0.1
"""The manuals call the `!` the end of a status, and do not say whether a line end follows."""
MOST_RPM = 999.9
_END = b"\r"
_STATUS = (
    rb"(?P<model>[0-9A-Za-z]+) (?:[ -~]* )?(?P<rpm>\d{1,3}(?:\.\d+)?) (?P<direction>CW|CCW) "
    rb"(?:P/N 0?%d (?P<tacho>\d+) )?(?P<running>[01]) ?!"
)
_DIRECTIONS = {"CW": b"RR", "CCW": b"RL"}


class WatsonMarlow:
    """Reads and sets one pump.

    Args:
        instrument: its number and points.
        line: the serial line, perhaps with other pumps.
        numbers: tag numbers, one per point.
    """

    def __init__(self, instrument: WatsonMarlowInstrument, line: TextLine, numbers: Sequence[int]) -> None:
        self._line = line
        self._unit = instrument.unit
        self._points = tuple(zip(numbers, instrument.points, strict=True))
        self._status = self._command(b"RS", re.compile(_STATUS % self._unit))
        self._probes = (self._command(b"ZY", re.compile(rb"[01]")), self._command(b"RT", re.compile(rb"\d{2,}")))
        self._has_whole_rpm = False
        self._known_at = -1  # which opening of the port
        self._questions = (Question(tuple(numbers), self._ask_status),)

    async def read(self) -> Outcome:
        """Ask for the status, which has everything."""
        return await ask_all(self._questions)

    async def write(self, index: int, value: Value, go: Go = always) -> Written:
        """Set speed, direction or whether it runs; see `Driver.write`."""
        _, point = self._points[index]
        if self._known_at != self._line.openings:
            self._learn(await self._line.ask(self._status, self._probes, urgent=True))
        text, sent = self._order(point, value)
        confirmation = await self._line.write(
            self._command(text, None, changes=True),
            self._probes,
            read_back=self._status,
            go=unless_reopened(self._line, go),
        )
        held: Value = None
        doubt = str(confirmation.doubt or "")
        if confirmation.read_back is not None:
            held = _values(confirmation.read_back)[point.field]
        if not doubt and held != sent:
            doubt = f"the pump says {held!r} afterwards"
        return Written(not doubt, sent, held, doubt)

    async def tell(self, step: Step, reference: float, go: Go = always) -> Written:
        """See `Driver.tell`."""
        raise NotWritable(self._line.port, "the calibration", "a pump is not calibrated over its line")

    def _learn(self, answer: Answer) -> None:
        """A 323 takes whole rpm only."""
        self._has_whole_rpm, self._known_at = answer.match["tacho"] is None, self._line.openings

    def _order(self, point: PumpPoint, value: Value) -> tuple[bytes, Value]:
        """What to send, and the value as it is then."""
        match point.field, value:
            case _ if point.access != "write":
                reason = 'its settings do not say access = "write"'
            case "running", bool():
                return (b"GO" if value else b"ST"), value
            case "direction", "CW" | "CCW":
                return _DIRECTIONS[value], value
            case "speed", (float() | int()) if not isinstance(value, bool) and 0 <= value <= MOST_RPM:
                text = b"%03.0f" % value if self._has_whole_rpm else b"%05.1f" % value
                return b"SP" + text, float(text)
            case _:
                reason = f"{value!r} is no {point.field}: true or false, CW or CCW, or 0 to {MOST_RPM:g} rpm"
        raise NotWritable(self._line.port, point.tag, reason)

    async def _ask_status(self) -> Outcome:
        answer = await self._line.ask(self._status, self._probes)
        self._learn(answer)
        values = _values(answer)
        outcome = Outcome([], [])
        for number, point in self._points:
            value = values[point.field]
            if value is None:
                error = ReplyRefused(self._line.port, self._unit, f"this pump has no {point.field}", answer.match[0])
                outcome.failures.append(Failure((number,), error))
                continue
            quality = quality_of(value, point.minimum, point.maximum)
            outcome.readings.append(Reading(number, answer.arrived_ms, value, quality))
        return outcome

    def _command(self, text: bytes, reply: re.Pattern[bytes] | None, *, changes: bool = False) -> Command:
        return Command(
            b"%d" % self._unit + text,
            reply,
            end=_END,
            pause_s=PAUSE_S,
            unended_s=UNENDED_S,
            unit=self._unit,
            changes=changes,
        )


def _values(answer: Answer) -> dict[str, Value]:
    """What a status says, by field."""
    match = answer.match
    return {
        "speed": float(match["rpm"]),
        "direction": match["direction"].decode(),
        "running": match["running"] == b"1",
        "tacho": None if match["tacho"] is None else int(match["tacho"]),
    }
