"""Atlas Scientific EZO circuits: pH or dissolved oxygen.

    asked                    answered                      becomes
    R; RT,37.00              9.560 *OK                     a pH
    R; RT,37.00              7.82,96.4 *OK                 mg/L and percent of saturation, if both are switched on
    T,?                      ?T,37.00 *OK                  the temperature that it compensates for
    any                      *ER                           InstrumentRefused

Nothing in a reading says what it is of, so before the first one, and again after each failure, the circuit is set up:
response codes on (they end every answer), streaming off (a reading that nobody asked for looks like an answer), the
kind of circuit and, for oxygen, its outputs asked for. A circuit forgets its temperature when its power fails; one that
is to compensate for `temperature_c` is told so with each reading.

Source: Atlas Scientific, EZO-pH and EZO-DO data sheets, chapter UART; with both outputs on, mg/L comes first.
"""

import re
from collections.abc import Sequence

from lms_protocol.instruments.calibration import Step
from lms_protocol.reading import Reading, Value

from lms_agent.buses.text_commands import Answer, Command
from lms_agent.buses.text_line import TextLine
from lms_agent.drivers.driver import Failure, Go, Outcome, Written, always, quality_of, unless_reopened
from lms_agent.drivers.questions import Question, ask_all
from lms_agent.errors import InstrumentError, InstrumentRefused, NotWritable, ReplyRefused, WrongInstrument
from lms_agent.settings.dialects.ezo import READING_S, SETTING_S, EzoInstrument, EzoPoint

_END = b"\r"
_LAST = re.compile(rb"\*(?:OK|ER|WA|SL)")
_NUMBER = rb"-?\d+(?:\.\d+)?"
_READINGS_BEFORE = rb"(?:(?:[-\d.,]+|\*R[SE])\n)*"
"""What a circuit that still streams, or has just been switched on, may say before it answers."""
_OUTPUTS = {"DO.mg": b"mg", "DO.%": b"%"}
"""In the order in which a reading has them."""
_LOWEST_C, _HIGHEST_C = -126.0, 1254.0
_UNKNOWN = "it does not know the command, or cannot carry it out; is it an EZO circuit in UART mode?"


def _command(text: bytes, reply: bytes, *, takes_s: float = SETTING_S, changes: bool = False) -> Command:
    form = rb"(?:%b)\n\*OK|(?P<error>\*ER)" % reply if reply else rb"\*OK|(?P<error>\*ER)"
    pattern = re.compile(form, re.IGNORECASE)  # firmware differs: `?i,`, `?I,`; `?Status`, `?STATUS`
    return Command(text, pattern, end=_END, last=_LAST, takes_s=takes_s, changes=changes)


def _setting(text: bytes) -> Command:
    pattern = re.compile(_READINGS_BEFORE + rb"(?:\*OK|(?P<error>\*ER))")
    return Command(text, pattern, end=_END, last=_LAST, takes_s=SETTING_S)


_PROBES = (
    _command(b"C,?", rb"\?C,0"),
    _command(b"i", rb"\?i,.*"),
    _command(b"Status", rb"\?Status,.*"),
)
"""Whether it streams, what it is, how it is: each answer says what it answers."""
_CODES, _SILENT = _setting(b"*OK,1"), _setting(b"C,0")
_IDENTITY = Command(
    b"i",
    re.compile(_READINGS_BEFORE + rb"\?[iI],(?P<kind>[^,\n]+),[^\n]*\n\*OK"),
    end=_END,
    last=_LAST,
    takes_s=SETTING_S,
)
_SHOWN = _command(b"O,?", rb"\?,?O,(?P<outputs>[^\n]*)")
_COMPENSATION = _command(b"T,?", rb"\?T,(?P<value>%b)" % _NUMBER)
_SLOPE = _command(b"Slope,?", rb"\?Slope,(?P<acid>%b),(?P<base>%b)(?:,%b)?" % (_NUMBER, _NUMBER, _NUMBER))
_PERFECT = 100.0


class Ezo:
    """Reads one circuit.

    Args:
        instrument: its points.
        line: the serial line that it alone hangs on.
        numbers: tag numbers, one per point.
    """

    def __init__(self, instrument: EzoInstrument, line: TextLine, numbers: Sequence[int]) -> None:
        self._line = line
        self._measures = instrument.measures
        self._points = instrument.points
        self._measured = [(n, p) for n, p in zip(numbers, instrument.points, strict=True) if p.field != "temperature"]
        self._told = [(n, p) for n, p in zip(numbers, instrument.points, strict=True) if p.field == "temperature"]
        self._reading = b"R" if instrument.temperature_c is None else b"RT,%.2f" % instrument.temperature_c
        self._fields: tuple[str, ...] = ()  # what a reading holds, once that is known
        self._decimals: tuple[int, ...] = ()  # of the numbers of the readings since
        self._set_up_at = (0, 0)
        questions = [Question(tuple(number for number, _ in self._measured), self._measure)]
        if self._told:
            questions.append(Question(tuple(number for number, _ in self._told), self._ask_temperature))
        self._questions = tuple(questions)

    async def read(self) -> Outcome:
        """Ask for a reading, and for the temperature if a point wants it.

        If it turns out that the circuit has been restarted or changed meanwhile, everything is asked again, once.
        """
        for _ in range(2):
            try:
                await self._set_up()
            except ReplyRefused as error:  # one that streams has said a reading right behind its answer
                outcome = self._failed(error)
                continue
            except InstrumentError as error:
                return self._failed(error)
            outcome = await ask_all(self._questions)
            is_undisturbed = self._set_up_at == self._moment()
            if outcome.failures or not is_undisturbed:
                self._fields = ()  # its power may have failed, or somebody has switched something
            if is_undisturbed:
                return outcome
        reason = "it says something again and again that nobody asked for"
        return outcome if outcome.failures else self._failed(ReplyRefused(self._line.port, None, reason))

    def _failed(self, error: InstrumentError) -> Outcome:
        return Outcome([], [Failure(tuple(tag for question in self._questions for tag in question.tags), error)])

    async def write(self, index: int, value: Value, go: Go = always) -> Written:
        """Tell the temperature to compensate for; see `Driver.write`."""
        point = self._points[index]
        if point.access != "write" or isinstance(value, bool | str) or value is None:
            raise NotWritable(self._line.port, point.tag, f"{value!r} is no temperature that may be told")
        if not _LOWEST_C <= value <= _HIGHEST_C:
            raise NotWritable(self._line.port, point.tag, f"{value:g} °C is not within {_LOWEST_C:g} to {_HIGHEST_C:g}")
        await self._set_up()
        text = b"%.2f" % value
        confirmation = await self._line.write(
            _command(b"T," + text, b"", changes=True),
            _PROBES,
            read_back=_COMPENSATION,
            go=unless_reopened(self._line, go),
        )
        if confirmation.answer is not None:
            self._raise_error(confirmation.answer)
        held = confirmation.read_back
        known = held is not None and not held.match["error"]
        doubt = "" if confirmation.answer is not None else str(confirmation.doubt)
        return Written(not doubt, float(text), float(held.match["value"]) if held and known else None, doubt)

    async def tell(self, step: Step, reference: float, go: Go = always) -> Written:
        """Send one command of a calibration; see `Driver.tell`."""
        if step.command is None:
            raise NotWritable(self._line.port, "the calibration", "a circuit has no registers to write")
        text = step.command.format(value=reference).encode("ascii", "replace")
        await self._set_up()
        command = _command(text, b"", takes_s=max(SETTING_S, step.wait_s), changes=True)
        confirmation = await self._line.write(command, _PROBES, go=unless_reopened(self._line, go))
        if confirmation.answer is None:
            return Written(False, reference, doubt=str(confirmation.doubt))
        self._raise_error(confirmation.answer)
        return Written(True, reference)

    async def slope_percent(self) -> float | None:
        """The slope that is further from a perfect electrode's, of the acid and the base side; see `JudgesItsProbe`."""
        if self._measures != "pH":
            return None
        await self._set_up()
        answer = await self._line.ask(_SLOPE, _PROBES)
        self._raise_error(answer)
        return max((float(answer.match[side]) for side in ("acid", "base")), key=lambda slope: abs(slope - _PERFECT))

    async def _set_up(self) -> None:
        """Silence the circuit and find out what its readings hold, unless that is known."""
        if self._fields and self._set_up_at == self._moment():
            return
        await self._line.ask(_CODES)  # firmware that does not know it has its codes on
        self._raise_error(await self._line.ask(_SILENT))
        (match, _) = await self._line.ask(_IDENTITY)
        kind = match["kind"].decode("ascii", "replace")
        if kind.upper().replace(".", "") != self._measures.upper():
            wanted = f"EZO circuit for {self._measures}"
            raise WrongInstrument(self._line.port, None, wanted, f"an EZO circuit for {kind}", is_profile=False)
        fields = ("pH",) if self._measures == "pH" else await self._outputs()
        self._fields, self._decimals, self._set_up_at = fields, (), self._moment()

    def _moment(self) -> tuple[int, int]:
        """Another one since the last set-up: the circuit may have been restarted, or be another one."""
        return self._line.openings, self._line.unasked

    async def _outputs(self) -> tuple[str, ...]:
        """Switch on the outputs that points want; what a reading holds then."""
        shown = await self._ask_outputs()
        missing = [_OUTPUTS[point.field] for _, point in self._measured if _OUTPUTS[point.field] not in shown]
        for output in missing:
            self._raise_error(await self._line.ask(_command(b"O," + output + b",1", b"", changes=True), _PROBES))
        if missing:
            shown = await self._ask_outputs()
        return tuple(field for field, output in _OUTPUTS.items() if output in shown)

    async def _ask_outputs(self) -> list[bytes]:
        answer = await self._line.ask(_SHOWN, _PROBES)
        self._raise_error(answer)
        return [output.strip().lower() for output in answer.match["outputs"].split(b",")]

    async def _measure(self) -> Outcome:
        reply = b",".join([rb"(%b)" % _NUMBER] * len(self._fields))
        answer = await self._line.ask(_command(self._reading, reply, takes_s=READING_S[self._measures]), _PROBES)
        self._raise_error(answer)
        values = dict(zip(self._fields, answer.match.groups(), strict=False))
        self._check_decimals(answer, [values[field] for field in self._fields])
        outcome = Outcome([], [])
        for number, point in self._measured:
            if point.field in values:
                outcome.readings.append(_reading(number, point, float(values[point.field]), answer.arrived_ms))
            else:
                reason = f"the circuit does not say {point.field}, though it was told to"
                outcome.failures.append(
                    Failure((number,), ReplyRefused(self._line.port, None, reason, answer.match[0]))
                )
        return outcome

    def _check_decimals(self, answer: Answer, numbers: Sequence[bytes]) -> None:
        """A circuit writes all its decimals, zeros too. A number that has fewer than one before has lost some of its
        digits, or its point, on the line.
        """
        decimals = tuple(len(number.partition(b".")[2]) for number in numbers)
        if any(now < before for now, before in zip(decimals, self._decimals, strict=False)):
            reason = "its numbers have fewer decimals than before: a digit or the point was lost"
            raise ReplyRefused(self._line.port, None, reason, answer.match[0])
        self._decimals = decimals

    async def _ask_temperature(self) -> Outcome:
        answer = await self._line.ask(_COMPENSATION, _PROBES)
        self._raise_error(answer)
        value = float(answer.match["value"])
        return Outcome([_reading(number, point, value, answer.arrived_ms) for number, point in self._told], [])

    def _raise_error(self, answer: Answer) -> None:
        if answer.match["error"]:
            raise InstrumentRefused(self._line.port, None, "*ER", _UNKNOWN)


def _reading(number: int, point: EzoPoint, value: float, arrived_ms: int) -> Reading:
    return Reading(number, arrived_ms, value, quality_of(value, point.minimum, point.maximum))
