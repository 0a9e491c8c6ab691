"""What every driver gives for one instrument, whatever its dialect.

Between the buses and sampling.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

from lms_protocol.instruments.calibration import Step
from lms_protocol.reading import Quality, Reading, Value

from lms_agent.errors import InstrumentError, PortLost


class Failure(NamedTuple):
    """Tags that could not be read, and why.

    Attributes:
        tags: their numbers.
        error: the reason.
    """

    tags: tuple[int, ...]
    error: InstrumentError


@dataclass(frozen=True, slots=True)
class Outcome:
    """One pass over an instrument: each of its tags is either in `readings` or in one of `failures`.

    Attributes:
        remarks: what the instrument says of a value beside the value, by tag; for people.
    """

    readings: list[Reading]
    failures: list[Failure]
    remarks: dict[int, str] = field(default_factory=dict)


class Written(NamedTuple):
    """What is known after a value was sent to an instrument.

    Attributes:
        confirmed: whether the instrument itself has said that it took it.
        sent: the value as it went out, in the point's unit: as exact as the instrument holds it.
        read_back: what the instrument was found to hold afterwards, in the point's unit; None if that is not known.
        doubt: why it is not confirmed; "" if it is.
    """

    confirmed: bool
    sent: Value
    read_back: Value = None
    doubt: str = ""


Go: TypeAlias = Callable[[], None]
"""Asked when nothing stands between a write and the wire any more; raises if it is not to be sent after all.

What waits for a busy line may be void by the time that it is free.
"""


def always() -> None:
    """Send it, whenever the line is free."""


class Line(Protocol):
    """What can be plugged out and in again, and then perhaps leads to another instrument."""

    port: str
    openings: int


def unless_reopened(line: Line, go: Go) -> Go:
    """`go`, for a write to the instrument that the port leads to now: if it was opened since, nothing is sent."""
    known_at = line.openings

    def still_the_same() -> None:
        if line.openings != known_at:
            reason = "it had to be opened again, and another instrument may be on it now; nothing was sent, try again"
            raise PortLost(line.port, reason)
        go()

    return still_the_same


class Driver(Protocol):
    """Reads all points of one instrument, and writes those that can be written."""

    async def read(self) -> Outcome:
        """Ask once for everything. Does not raise `InstrumentError`s: they are in the outcome."""
        ...

    async def write(self, index: int, value: Value, go: Go = always) -> Written:
        """Send a value to the instrument, once, before polls that wait; then read what it holds.

        Args:
            index: which of the instrument's points.
            value: of the point's datatype, in its unit.

        Raises:
            InstrumentError: it was not sent, or the instrument says that it did not take it. In doubt this does not
                raise: then `Written.confirmed` is false.
            whatever `go` raises: it was not sent.
        """
        ...

    async def tell(self, step: Step, reference: float, go: Go = always) -> Written:
        """Tell the instrument one thing of a calibration, once, before polls that wait.

        Args:
            reference: the value against which the point is held, for a step that says it.

        Returns:
            `sent` is the reference; nothing is read back.

        Raises:
            InstrumentError, and what `go` raises: as `write`.
        """
        ...


@runtime_checkable
class JudgesItsProbe(Protocol):
    """A driver whose instrument says how good its probe is, by what it was calibrated with."""

    async def slope_percent(self) -> float | None:
        """How much of a true difference the probe shows, in percent (for pH, of Nernst's slope); None: not of this one.

        Raises:
            InstrumentError: it cannot be asked now.
        """
        ...


def quality_of(value: Value, minimum: float | None, maximum: float | None) -> Quality:
    """GOOD, or UNCERTAIN for what is no finite number or lies outside what the instrument can measure.

    Args:
        value: in the tag's unit.
        minimum, maximum: the instrument's measuring range; None where it is not known.
    """
    if isinstance(value, float) and value - value != 0.0:  # NaN and the infinities
        return Quality.UNCERTAIN
    if isinstance(value, float | int) and (
        (minimum is not None and value < minimum) or (maximum is not None and value > maximum)
    ):
        return Quality.UNCERTAIN
    return Quality.GOOD
