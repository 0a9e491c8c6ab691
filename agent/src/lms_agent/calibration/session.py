"""The steps of one calibration, as a state machine without clock and wire: events in, what to do out.

    state       event                                     next
    PLACE       placed                                    SETTLE      the probe is in the reference
    SETTLE      reading, steady over the window           STEADY
    SETTLE      reading, patience is over                 TIRED       ask whether to take it as it is
    STEADY      reading, drifts again                     SETTLE
    TIRED       reading, steady after all                 STEADY
    STEADY,     accept                                    PLACE       with the next reference, or
    TIRED                                                 DONE
    any         not read                                  SETTLE      the window begins anew
    any         skip (not the first reference)            PLACE, DONE

What is measured is uncorrected: as the instrument shows it.

Neighbours: `lms_protocol.instruments.calibration` has the procedure; `lms-agent calibrate` asks people and instruments;
`making.py` makes the calibration of what was measured.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from lms_protocol.instruments.calibration import Procedure, Reference
from lms_protocol.reading import Quality, Value

from lms_agent.calibration.fitting import CalibrationError
from lms_agent.calibration.record import Measured
from lms_agent.calibration.stability import Held, Stability


class State(StrEnum):
    """Where a calibration has got to."""

    PLACE = "place"
    SETTLE = "settle"
    STEADY = "steady"
    TIRED = "tired"
    DONE = "done"


class Chosen(NamedTuple):
    """A reference, and the value of the one that is really there (its bottle says 4.01, not 4.00)."""

    reference: Reference
    value: float


class Session:
    """Guides through one calibration.

    Args:
        procedure: of the point.
        chosen: references in the order in which they are measured.

    Raises:
        CalibrationError: none is chosen, one twice, or two of one value.
    """

    def __init__(self, procedure: Procedure, chosen: Sequence[Chosen]) -> None:
        names, values = [one.reference.name for one in chosen], [one.value for one in chosen]
        if not chosen:
            raise CalibrationError("choose at least one reference")
        if len(set(names)) < len(names) or len(set(values)) < len(values):
            raise CalibrationError("each reference is measured once, and their values must differ")
        self.state = State.PLACE
        self.measured: list[Measured] = []
        self._procedure = procedure
        self._left = list(chosen)
        self._stability = Stability(procedure.stability.window_s, procedure.stability.drift_per_min)
        self._since_ms: int | None = None

    @property
    def now(self) -> Chosen:
        """The reference whose turn it is.

        Raises:
            CalibrationError: all are measured.
        """
        if not self._left:
            raise CalibrationError("all references are measured")
        return self._left[0]

    @property
    def held(self) -> Held | None:
        """What was read of it so far, over the window."""
        return self._stability.held

    def placed(self) -> None:
        """The probe is in the reference."""
        self._expect(State.PLACE)
        self._begin(State.SETTLE)

    def take(self, taken_at_ms: int, value: Value, quality: Quality) -> State:
        """A reading, as the instrument shows it; one without a usable value begins the window anew."""
        if self.state in (State.PLACE, State.DONE):
            return self.state
        if self._since_ms is None:
            self._since_ms = taken_at_ms
        if quality is Quality.BAD or isinstance(value, bool) or not isinstance(value, int | float) or value - value:
            self._stability.forget()
        else:
            self._stability.take(taken_at_ms, float(value))
        tired = taken_at_ms - self._since_ms >= 1000 * self._procedure.stability.patience_s
        self.state = State.STEADY if self._stability.is_stable else State.TIRED if tired else State.SETTLE
        return self.state

    def accept(self) -> Measured:
        """Take what was read for the reference; the next one's turn comes.

        Raises:
            CalibrationError: nothing was read.
        """
        self._expect(State.STEADY, State.TIRED, State.SETTLE)
        held, now = self.held, self.now
        if held is None:
            raise CalibrationError("nothing was read in this reference; look at the instrument and its line")
        stable = self._stability.is_stable
        measured = Measured(now.reference.name, now.value, held.mean, held.readings, held.drift_per_min, stable)
        self.measured.append(measured)
        self._next()
        return measured

    def skip(self) -> None:
        """Leave this reference out.

        Raises:
            CalibrationError: it is the only one.
        """
        if not self.measured and len(self._left) == 1:
            raise CalibrationError("at least one reference must be measured")
        self._next()

    def _next(self) -> None:
        del self._left[0]
        self._begin(State.PLACE if self._left else State.DONE)

    def _begin(self, state: State) -> None:
        self.state = state
        self._stability.forget()
        self._since_ms = None

    def _expect(self, *states: State) -> None:
        if self.state not in states:
            raise CalibrationError(f"not now: the calibration is at {self.state.value!r}")


def chosen_of(procedure: Procedure, name: str, value: float | None = None) -> Chosen:
    """A reference of a procedure by name, with the value that it has, or the one that the bottle says.

    Raises:
        CalibrationError: there is none of that name, or it cannot have that value.
    """
    reference = next((one for one in procedure.references if one.name.lower() == name.lower()), None)
    if reference is None:
        known = ", ".join(one.name for one in procedure.references)
        raise CalibrationError(f"there is no reference {name!r}; there are {known}")
    if value is None:
        value = reference.value
    if not reference.minimum <= value <= reference.maximum:
        raise CalibrationError(
            f"{name} cannot be {value:g}: it lies between {reference.minimum:g} and {reference.maximum:g}"
        )
    return Chosen(reference, value)
