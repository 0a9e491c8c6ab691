"""Where a probe is, and how its signal follows when it is taken from one place to another.

A probe stands in its vessel until somebody puts it into a buffer, into air, or back (`lms-sim place`). Its signal then
goes to the new value as a first-order response: `value = target + lead · exp(-t / response)`. That is a function of
the time since it was moved, so that it is the same however often it is read.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lms_firmware_sim.errors import PlaceRefused, StateError

VESSEL = "vessel"


@dataclass(frozen=True, slots=True)
class Quantity:
    """One true quantity that a probe feels.

    Attributes:
        in_vessel: gives its present value in the vessel.
        response_s: time constant with which the probe follows.
    """

    in_vessel: Callable[[], float]
    response_s: float


class Immersion:
    """The place of one probe.

    Args:
        quantities: what it feels, by name.
        elsewhere: gives the values at a place that is not the vessel; None where there is no such place.
        allowed: the places in words, for the refusal of others.
        clock: seconds, of any beginning.
    """

    def __init__(
        self,
        quantities: Mapping[str, Quantity],
        elsewhere: Callable[[str], Mapping[str, float] | None],
        *,
        allowed: str,
        clock: Callable[[], float],
    ) -> None:
        self._quantities = dict(quantities)
        self._elsewhere = elsewhere
        self._allowed = allowed
        self._clock = clock
        self._place = VESSEL
        self._values: Mapping[str, float] | None = None
        self._moved_at_s = 0.0
        self._lead = dict.fromkeys(self._quantities, 0.0)

    @property
    def place(self) -> str:
        """Where the probe is, as it was told."""
        return self._place

    def move(self, place: str) -> None:
        """Put the probe somewhere else.

        Raises:
            PlaceRefused: there is no such place; the probe stays where it is.
        """
        values = self._values_at(place)
        before = {name: self.value(name) for name in self._quantities}
        self._place, self._values = place, values
        self._moved_at_s = self._clock()
        self._lead = {name: before[name] - self._target(name) for name in self._quantities}

    def _values_at(self, place: str) -> Mapping[str, float] | None:
        values = None if place == VESSEL else self._elsewhere(place)
        if place != VESSEL and values is None:
            raise PlaceRefused(place, f"{VESSEL}, {self._allowed}")
        return values

    def value(self, quantity: str) -> float:
        """What the probe feels of a quantity now."""
        elapsed_s = max(0.0, self._clock() - self._moved_at_s)
        lead = self._lead[quantity] * math.exp(-elapsed_s / self._quantities[quantity].response_s)
        return self._target(quantity) + lead

    def drift_per_min(self, quantity: str) -> float:
        """How fast the response to the last move still goes on, in the quantity's unit per minute."""
        response_s = self._quantities[quantity].response_s
        elapsed_s = max(0.0, self._clock() - self._moved_at_s)
        return abs(self._lead[quantity]) * math.exp(-elapsed_s / response_s) / response_s * 60.0

    def _target(self, quantity: str) -> float:
        return self._quantities[quantity].in_vessel() if self._values is None else self._values[quantity]

    def restore(self, saved: Any) -> None:
        """Go on at a saved `place`, the response long over.

        Raises:
            StateError: there is no such place.
        """
        try:
            self._values = self._values_at(str(saved))
        except PlaceRefused as error:
            raise StateError(f"a probe's place: {error}") from error
        self._place = str(saved)
        self._lead = dict.fromkeys(self._quantities, 0.0)


def number(place: str, low: float, high: float) -> float | None:
    """A place that is named by its value, such as the buffer 4.01; None where it is no number within the limits."""
    try:
        value = float(place)
    except ValueError:
        return None
    return value if low <= value <= high else None
