"""Alicat mass-flow and pressure instruments, in their ASCII dialect.

    asked       answered
    A           the data frame, with everything
    A??D*       the table of the frame: its columns, their units and decimals
    AS1.500     the data frame, with the set point now in force
    any         ?                                              InstrumentRefused

Columns and units are each instrument's own, and may be changed at its display, so the table is asked for before the
first frame and again after each failure. A value in another unit than the configured one is refused, one that a status
word calls out of range is UNCERTAIN.

Source: Alicat, Serial Communications Primer.
"""

import re
from collections.abc import Sequence
from contextlib import suppress

from lms_protocol.instruments.calibration import Step
from lms_protocol.reading import Quality, Reading, Value

from lms_agent.buses.text_commands import Answer, Command
from lms_agent.buses.text_line import TextLine
from lms_agent.drivers.alicat_frames import USUAL, Column, NoLayout, fits, frame_pattern, layout_of, quality_by
from lms_agent.drivers.driver import Failure, Go, Outcome, Written, always, quality_of, unless_reopened
from lms_agent.drivers.questions import Question, ask_all
from lms_agent.errors import InstrumentError, InstrumentRefused, NotWritable, ReplyRefused
from lms_agent.settings.dialects.alicat import AlicatInstrument, AlicatPoint

_END = b"\r"
_QUIET_S = 0.15
"""A table has ended when nothing has come for so long: between its lines lie some milliseconds."""
_REFUSED = "it does not know the command, or does not take the value; is its set point source the serial line?"


def _rows(letter: bytes, kind: bytes) -> bytes:
    """The form of a table; some instruments end it with an empty line."""
    row = letter + b" +" + kind + rb"\d\d [^\n]*"
    return rb"(?:%b\n)*%b\n*" % (row, row)


class Alicat:
    """Reads and sets one instrument.

    Args:
        instrument: its unit letter and points.
        line: the serial line, perhaps with other Alicats.
        numbers: tag numbers, one per point.
    """

    def __init__(self, instrument: AlicatInstrument, line: TextLine, numbers: Sequence[int]) -> None:
        self._line = line
        self._unit = instrument.unit
        self._points = tuple(zip(numbers, instrument.points, strict=True))
        letter = instrument.unit.encode()
        self._table = self._command(b"??D*", rb"(?P<table>%b)|(?P<error>(?:[A-Z] +)?\?)" % _rows(letter, b"D"))
        self._probes = (
            self._table,
            self._command(b"??M*", rb"%b|(?:[A-Z] +)?\?" % _rows(letter, b"M")),
        )
        self._columns: tuple[Column, ...] = ()
        self._lengths: tuple[tuple[int, int], ...] | None = None  # of the numbers in the first frame with these columns
        self._known_at = -1  # which opening of the port
        self._poll = self._table
        self._questions = (Question(tuple(numbers), self._ask_frame),)

    async def read(self) -> Outcome:
        """Ask for one data frame."""
        outcome = await ask_all(self._questions)
        if outcome.failures:
            self._columns = ()
        return outcome

    async def write(self, index: int, value: Value, go: Go = always) -> Written:
        """Set the set point; see `Driver.write`."""
        _, point = self._points[index]
        if point.access != "write" or isinstance(value, bool | str) or value is None:
            raise NotWritable(self._line.port, point.tag, f"{value!r} is no set point that may be written")
        await self._find_layout()
        column = next((column for column in self._columns if column.field == "set_point"), None)
        if column is None:
            raise NotWritable(self._line.port, point.tag, f"unit {self._unit} has no set point; it only measures")
        self._check_unit(column, point)
        text = f"{value:.{column.decimals}f}"
        order = Command(
            f"{self._unit}S{text}".encode(), self._poll.reply, end=_END, unit=self._unit, prefix=self._poll.prefix,
            changes=True, shape=self._poll.shape,
        )  # fmt: skip
        confirmation = await self._line.write(
            order, self._probes, read_back=self._poll, go=unless_reopened(self._line, go)
        )
        doubt = "" if confirmation.answer is not None else str(confirmation.doubt)
        known: float | None = None
        if confirmation.answer is not None:
            known = self._set_point(confirmation.answer)
            if known != float(text):
                doubt = f"its set point is {known:g} afterwards"
        if confirmation.read_back is not None:
            with suppress(InstrumentRefused):  # which would say nothing of whether the set point was taken
                known = self._set_point(confirmation.read_back)
        return Written(not doubt, float(text), known, doubt)

    async def tell(self, step: Step, reference: float, go: Go = always) -> Written:
        """See `Driver.tell`."""
        raise NotWritable(self._line.port, "the calibration", "a controller is not calibrated over its line")

    async def _find_layout(self) -> None:
        """Ask which columns a frame has, unless that is known."""
        if self._columns and self._known_at == self._line.openings:
            return
        answer = await self._line.ask(self._table)
        try:
            columns = USUAL if answer.match["error"] else layout_of(answer.match["table"].split(b"\n"))
        except NoLayout as error:
            raise ReplyRefused(self._line.port, self._unit, str(error), answer.match[0]) from error
        reply = frame_pattern(self._unit, columns)
        prefix = f"{self._unit} ".encode()
        self._poll = Command(self._unit.encode(), reply, end=_END, unit=self._unit, prefix=prefix, shape=b"frame")
        self._columns, self._lengths, self._known_at = columns, None, self._line.openings

    async def _ask_frame(self) -> Outcome:
        await self._find_layout()
        answer = await self._line.ask(self._poll, self._probes)
        self._raise_error(answer)
        if self._known_at != self._line.openings:  # the port was lost, and has just been opened for this frame
            return await self._ask_frame()
        self._check_lengths(answer)
        words = answer.match["words"].decode().split()
        outcome = Outcome([], [])
        for number, point in self._points:
            try:
                outcome.readings.append(self._reading(number, point, answer, words))
            except InstrumentError as error:
                outcome.failures.append(Failure((number,), error))
        return outcome

    def _reading(self, number: int, point: AlicatPoint, answer: Answer, words: Sequence[str]) -> Reading:
        at = next((at for at, column in enumerate(self._columns) if column.field == point.field), None)
        if at is None:
            shown = ", ".join(column.field for column in self._columns if column.field)
            reason = f"its data frame has no {point.field}, but {shown}"
            raise ReplyRefused(self._line.port, self._unit, reason, answer.match[0])
        self._check_unit(self._columns[at], point)
        quality = quality_by(words, point.field)
        if quality is Quality.BAD:
            reason = "it reports an error of its converter (ADC): no value of it can be trusted; let it be repaired"
            raise ReplyRefused(self._line.port, self._unit, reason, answer.match[0])
        said = answer.match[f"c{at}"]
        value = float(said) if self._columns[at].is_number else said.decode()
        return Reading(number, answer.arrived_ms, value, min(quality, quality_of(value, point.minimum, point.maximum)))

    def _check_unit(self, column: Column, point: AlicatPoint) -> None:
        if not fits(column.unit, point.unit):
            reason = f"it gives {point.field} in {column.unit}, but {point.tag} is configured in {point.unit!r}"
            raise ReplyRefused(self._line.port, self._unit, reason)

    def _check_lengths(self, answer: Answer) -> None:
        """An instrument fills its numbers up with zeros. One of another length has lost a digit on the line; other
        decimals are all that shows in a frame when somebody has chosen another unit at the display.
        """
        numbers = [answer.match[f"c{at}"] for at, column in enumerate(self._columns) if column.is_number]
        lengths = tuple((len(number), len(number.partition(b".")[2])) for number in numbers)
        if self._lengths is not None and lengths != self._lengths:
            reason = "its numbers have other digits than before: its units may have been changed, or a digit was lost"
            raise ReplyRefused(self._line.port, self._unit, reason, answer.match[0])
        self._lengths = lengths

    def _set_point(self, answer: Answer) -> float:
        self._raise_error(answer)
        at = next(at for at, column in enumerate(self._columns) if column.field == "set_point")
        return float(answer.match[f"c{at}"])

    def _raise_error(self, answer: Answer) -> None:
        if answer.match["error"]:
            raise InstrumentRefused(self._line.port, self._unit, "?", _REFUSED)

    def _command(self, text: bytes, reply: bytes) -> Command:
        letter = self._unit.encode()
        return Command(
            letter + text, re.compile(reply), end=_END, quiet_s=_QUIET_S, unit=self._unit, prefix=letter + b" "
        )
