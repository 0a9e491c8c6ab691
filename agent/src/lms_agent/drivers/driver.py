"""What every driver gives for one instrument, whatever its dialect.

Between the buses and sampling.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from lms_protocol.reading import Quality, Reading, Value

from lms_agent.errors import InstrumentError


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
    """One pass over an instrument: each of its tags is either in `readings` or in one of `failures`."""

    readings: list[Reading]
    failures: list[Failure]


class Driver(Protocol):
    """Reads all points of one instrument."""

    async def read(self) -> Outcome:
        """Ask once for everything. Does not raise `InstrumentError`s: they are in the outcome."""
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
