"""A mass-flow controller for gas: what flows, at which pressure, what it was told; whatever dialect it speaks.

Flows are at the maker's standard conditions, 25 °C and 14.696 psi. Used by `alicat_ascii` and `alicat_modbus`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lms_firmware_sim.errors import SetPointRefused, StateError

PSI_PER_BAR = 14.503774
STANDARD_PSI, STANDARD_K = 14.696, 298.15
OVERFLOW_SHARE = 1.28
"""Share of full scale beyond which a flow can no longer be measured."""

GASES: tuple[str, ...] = (
    *("Air", "Ar", "CH4", "CO", "CO2", "C2H6", "H2", "He", "N2", "N2O", "Ne", "O2", "C3H8", "n-C4H10", "C2H2"),
    *("C2H4", "i-C4H10", "Kr", "Xe", "SF6", "C-25", "C-10", "C-8", "C-2", "C-75", "A-75", "A-25", "A1025", "Star29"),
    "P-5",
)
"""Gases by number. Source: Alicat, Serial primer, appendix; the same in PyPI alicat."""


@dataclass(frozen=True, slots=True)
class GasStream:
    """What the controller is built into.

    Attributes:
        flow_l_min: gives the true mass flow, standard litres per minute.
        set_point_l_min: gives the set point in force.
        write_set_point: takes a set point over; raises SetPointRefused.
        pressure_bar: gives the absolute pressure behind the valve.
        temperature_c: of the gas.
    """

    flow_l_min: Callable[[], float]
    set_point_l_min: Callable[[], float]
    write_set_point: Callable[[float], None]
    pressure_bar: Callable[[], float]
    temperature_c: float = 23.0


class FlowController:
    """One controller.

    Args:
        stream: what flows through it.
        full_scale_l_min: largest set point.
        zero_l_min: what it shows without flow; taring takes it off.
    """

    def __init__(self, stream: GasStream, *, full_scale_l_min: float, zero_l_min: float = 0.0) -> None:
        self.stream = stream
        self.full_scale_l_min = full_scale_l_min
        self.zero_l_min = zero_l_min
        self.tare_l_min = 0.0
        self.gas = 0
        self.is_locked = False
        self.is_held = False

    @property
    def pressure_psi(self) -> float:
        """Absolute."""
        return self.stream.pressure_bar() * PSI_PER_BAR

    @property
    def temperature_c(self) -> float:
        """Of the gas."""
        return self.stream.temperature_c

    @property
    def mass_flow_l_min(self) -> float:
        """As shown: with the zero's drift, less what was tared."""
        return self.stream.flow_l_min() + self.zero_l_min - self.tare_l_min

    @property
    def volumetric_flow_l_min(self) -> float:
        """As shown: the mass flow at the present pressure and temperature."""
        expansion = STANDARD_PSI / self.pressure_psi * (self.temperature_c + 273.15) / STANDARD_K
        return self.mass_flow_l_min * expansion

    @property
    def set_point_l_min(self) -> float:
        """In force."""
        return self.stream.set_point_l_min()

    @property
    def is_overflowing(self) -> bool:
        """More flows than can be measured."""
        return abs(self.mass_flow_l_min) > OVERFLOW_SHARE * self.full_scale_l_min

    def write_set_point(self, value: float) -> None:
        """Take over a set point, standard litres per minute.

        Raises:
            SetPointRefused: it is no number, or beyond the controller's or the vessel's limits.
        """
        if not math.isfinite(value) or not 0.0 <= value <= self.full_scale_l_min * (1.0 + 1e-6):
            raise SetPointRefused("set point", value, 0.0, self.full_scale_l_min)
        self.stream.write_set_point(value)

    def select_gas(self, number: int) -> bool:
        """Measure another gas; False where there is none of this number."""
        if not 0 <= number < len(GASES):
            return False
        self.gas = number
        return True

    def tare(self) -> None:
        """Call what is shown now no flow; right only while nothing flows."""
        self.tare_l_min += self.mass_flow_l_min

    def to_json(self) -> dict[str, Any]:
        """What it keeps without power."""
        return {"gas": self.gas, "locked": self.is_locked, "tare_l_min": self.tare_l_min}

    def restore(self, saved: dict[str, Any]) -> None:
        """The inverse of `to_json`.

        Raises:
            StateError: it is not what that gives.
        """
        try:
            gas, locked, tare = int(saved["gas"]), bool(saved["locked"]), float(saved["tare_l_min"])
        except (KeyError, TypeError, ValueError) as error:
            raise StateError(f"a flow controller: {error!r}") from error
        if not self.select_gas(gas):
            raise StateError(f"a flow controller: there is no gas {gas}")
        self.is_locked, self.tare_l_min = locked, tare
