"""The talk with the technician while something is calibrated: which references, is the probe there, what it shows.

Between `calibrate.py` (options) and `lms_agent.calibration.session` (the steps). It waits for a steady reading, shows
it on one line, and asks what only people can know.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import typer
from lms_protocol.errors import LmsError
from lms_protocol.instruments.calibration import Procedure

from lms_agent.calibration.at_bench import AtBench, InDoubt, Shown
from lms_agent.calibration.fitting import CalibrationError
from lms_agent.calibration.judging import Figures
from lms_agent.calibration.making import Calibratable, judge
from lms_agent.calibration.record import Calibration, Measured
from lms_agent.calibration.session import Chosen, Session, State, chosen_of
from lms_agent.cli.screen.prose import say
from lms_agent.cli.screen.tables import table
from lms_agent.cli.screen.terminal import width

FASTEST_S, SLOWEST_S = 0.5, 5.0


@dataclass
class Made:
    """What has come of measuring.

    Attributes:
        points: what was measured; of an instrument that adjusts itself, only what it was told.
        remarks: what went wrong on the way.
        in_doubt: whether nobody knows if the instrument has taken the last point.
        slope_percent: what an instrument that adjusts itself says of its probe then; None: nothing.
    """

    points: list[Measured] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    in_doubt: bool = False
    slope_percent: float | None = None


class Guide:
    """Guides one technician through one calibration.

    Args:
        bench: where the instrument is read.
        silent: nothing is asked.
        words: whether anything is said; not if a program reads.
        accept: take a reading that does not become steady as it is.
    """

    def __init__(self, bench: AtBench, able: Calibratable, *, silent: bool, words: bool, accept: bool) -> None:
        self.silent = silent
        self._bench = bench
        self._able = able
        self._instrument, self._point, self._procedure = able
        self._words = words
        self._accept = accept
        self._every_s = min(SLOWEST_S, max(FASTEST_S, able.instrument.period_s))
        self._line = 0

    def measure(self, chosen: Sequence[Chosen]) -> Made:
        """Measure against references, one after the other; an instrument that keeps its calibration adjusts itself.

        Args:
            chosen: the references; none: they are chosen here.

        Raises:
            CalibrationError: nothing could be read, or it did not become steady and nobody has taken it as it is, and
                nothing has changed.
            LmsError: likewise.
        """
        self._introduce()
        session = Session(self._procedure, chosen or self._choose())
        made = Made()
        while session.state is not State.DONE:
            try:
                self._measure_next(session, made)
            except (KeyboardInterrupt, typer.Abort):
                self._end_line()
                if not made.points or self._procedure.kind == "agent":
                    raise
                made.remarks.append("ended early: by hand")
                self._say(f"Ended. What {self._instrument.id} was told is kept.", indent=2)
                break
            except LmsError as error:
                self._end_line()
                made.in_doubt = isinstance(error, InDoubt)
                if not made.in_doubt and (not made.points or self._procedure.kind == "agent"):
                    raise
                made.remarks.append(f"ended early: {error}")
                self._say(f"{error}", indent=2)
                break
        if self._procedure.kind == "instrument" and len(made.points) > 1:  # one point says nothing of a slope
            made.slope_percent = self._bench.slope_percent(self._able)
        return made

    def _measure_next(self, session: Session, made: Made) -> None:
        """One reference, to its end."""
        now = session.now
        self._place(now)
        session.placed()
        self._settle(session)
        measured = session.accept()
        self._end_line()
        self._say(f"{measured.name}: {self._number(measured.measured)} (should be {measured.reference:g})", indent=2)
        if self._procedure.kind == "instrument":
            self._check(measured)
            try:
                self._bench.adjust(self._able, now)
            except InDoubt:
                made.points.append(measured)
                raise
            except KeyboardInterrupt:
                made.points.append(measured)
                made.in_doubt = True
                raise
            self._say(f"{self._instrument.id} has taken {measured.name} = {measured.reference:g}.", indent=2)
        made.points.append(measured)

    def _check(self, measured: Measured) -> None:
        """Before an instrument adjusts itself, for that cannot be taken back.

        Raises:
            CalibrationError: what was measured is not plausible, and nobody says to go on.
        """
        _, doubts = judge(self._able, (measured,))
        for doubt in doubts:
            self._say(f"NOT PLAUSIBLE: {doubt}", indent=2)
        if doubts and not self._accept and not self.agreed(f"Have {self._instrument.id} adjust itself all the same?"):
            raise CalibrationError(f"{measured.name} was not told to {self._instrument.id}: {'; '.join(doubts)}")

    def show(self, points: Sequence[Measured], figures: Figures | None, doubts: Sequence[str]) -> None:
        """What was measured, and what it says of the probe."""
        if not self._words or not points:
            return
        rows = [("REFERENCE", "SHOULD BE", "WAS READ")]
        rows += [(one.name, f"{one.reference:g}", self._number(one.measured)) for one in points]
        for line in table(rows, width=width(), numbers=(1, 2)):
            typer.echo(f"  {line}")
        for line in _figures(figures, self._procedure, self._point.unit):
            self._say(line, indent=2)
        for doubt in doubts:
            self._say(f"NOT PLAUSIBLE: {doubt}", indent=2)

    def agreed(self, question: str) -> bool:
        """Whether the technician says yes; not, if nothing may be asked."""
        return not self.silent and typer.confirm(question, default=False)

    def _introduce(self) -> None:
        keeper = "the agent corrects" if self._procedure.kind == "agent" else f"{self._instrument.id} adjusts itself"
        self._say(f"{self._point.tag} of {self._instrument.bioreactor}, instrument {self._instrument.id}: {keeper}.")
        newest = self._bench.held().newest(*self._able.key)
        if newest is None:
            self._say("It was never calibrated here.")
        else:
            self._say(f"Last: calibration {newest.number} on {_day(newest.at_ms)}, by {newest.by} ({newest.why}).")
        for note in self._procedure.notes:
            self._say(f"Note: {note}", indent=2)

    def _choose(self) -> list[Chosen]:
        """Ask which references are at hand, and what their bottles say."""
        self._say("References:")
        for reference in self._procedure.references:
            self._say(f"{reference.name}  {reference.value:g} {self._point.unit}  {reference.words}", indent=2)
        names = [reference.name for reference in self._procedure.references]
        while True:
            answer = str(typer.prompt("Which, in which order", default=",".join(names[:2])))
            try:
                return [self._with_value(name.strip()) for name in answer.split(",") if name.strip()]
            except CalibrationError as error:
                self._say(str(error))

    def _with_value(self, name: str) -> Chosen:
        """Ask for the value that stands on the bottle, if it may differ."""
        one = chosen_of(self._procedure, name)
        if one.reference.minimum == one.reference.maximum:
            return one
        while True:
            value = float(
                typer.prompt(f"{one.reference.name}: its value now, {self._point.unit}", default=one.value, type=float)
            )
            try:
                return chosen_of(self._procedure, name, value)
            except CalibrationError as error:
                self._say(str(error))

    def _place(self, one: Chosen) -> None:
        if self.silent:
            return
        words = f" ({one.reference.words})" if one.reference.words else ""
        self._say(f"Rinse the probe and put it into {one.reference.name}, {one.value:g} {self._point.unit}{words}.")
        typer.prompt("Press Enter when it is there", default="", show_default=False)

    def _settle(self, session: Session) -> None:
        """Read until it is steady, or somebody takes it as it is."""
        asked = False
        while True:
            shown = self._bench.read(self._able)
            state = session.take(shown.taken_at_ms, shown.value, shown.quality)
            self._show_line(session, shown)
            if state is State.STEADY:
                return
            if state is State.TIRED and not asked:
                asked = True
                self._end_line()
                if self._accept and session.held is not None:
                    return
                why = shown.reason or "it is still drifting"
                if self.silent:
                    patience_s = self._procedure.stability.patience_s
                    raise CalibrationError(f"no steady reading within {patience_s:g} s ({why}); nothing was kept")
                if session.held is not None and self.agreed("It does not become steady. Take it as it is?"):
                    return
                self._say("Waiting on. Ctrl-C ends it.")
            time.sleep(self._every_s)

    def _show_line(self, session: Session, shown: Shown) -> None:
        if not self._words or not sys.stdout.isatty():
            return
        held, stability = session.held, self._procedure.stability
        if held is None:
            text = f"no reading: {shown.reason or 'it is not to be trusted'}"
        else:
            unit = self._point.unit
            text = (
                f"{self._number(float(shown.value or 0))} {unit}  drift {held.drift_per_min:+.3g} {unit}/min "
                f"(at most {stability.drift_per_min:g})  {min(held.seconds, stability.window_s):.0f} of "
                f"{stability.window_s:g} s"
            )
        text = f"  {text}"[: width() - 1]
        typer.echo("\r" + text.ljust(self._line), nl=False)
        self._line = len(text)

    def _end_line(self) -> None:
        if self._line:
            typer.echo("")
        self._line = 0

    def _say(self, text: str, *, indent: int = 0) -> None:
        if self._words:
            say(text, indent=indent)

    def _number(self, value: float) -> str:
        decimals = 3 if self._point.decimals is None else self._point.decimals + 1
        return f"{value:.{decimals}f}"


def told(made: Calibration) -> Iterator[str]:
    """What has come of it, in sentences."""
    if not made.points:
        yield f"{made.tag} of {made.bioreactor} is uncorrected from now on (calibration {made.number})."
        return
    yield f"Calibration {made.number} of {made.tag} of {made.bioreactor} holds from the next reading on."
    if made.due_at_ms is not None:
        yield f"It is due again on {_day(made.due_at_ms)}."


def _figures(figures: Figures | None, procedure: Procedure, unit: str) -> Iterator[str]:
    if figures is None:
        return
    if figures.slope_percent is not None:
        of = " of Nernst's slope" if procedure.nernst else ""
        limits = procedure.slope_percent
        plausible = "" if limits is None else f"  (plausible: {limits.minimum:g} to {limits.maximum:g})"
        yield f"slope   {figures.slope_percent:.1f} %{of}{plausible}"
    limits = procedure.offset
    plausible = "" if limits is None else f"  (plausible: {limits.minimum:g} to {limits.maximum:g})"
    yield f"offset  {figures.offset:+.3g} {unit}".rstrip() + plausible


def _day(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000).astimezone():%Y-%m-%d}"
