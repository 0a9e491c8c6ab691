"""The bioreactor's controller: set points that clients write, loops that act on what the probes say.

DO is a cascade: its output moves agitation (or air flow) between the written set point (0 %) and the vessel's
largest (100 %); `Agitation/SP` then shows what the cascade asks for at the moment, as controllers of this kind do.
"""

import math
from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypeAlias

from lms_firmware_sim.errors import SetPointRefused, StateError
from lms_firmware_sim.process.pid import PidLoop, PidSettings
from lms_firmware_sim.process.vessels import Vessel

Cascade: TypeAlias = Literal["agitation", "aeration", "none"]

PH_LOOP = PidSettings(gain=200.0, integral_s=2400.0, dead_band=0.01)
OXYGEN_LOOP = PidSettings(gain=0.6, integral_s=90.0, derivative_s=4.0)
TEMPERATURE_LOOP = PidSettings(gain=35.0, integral_s=900.0, derivative_s=30.0, low=-100.0, high=100.0)


@dataclass(frozen=True, slots=True)
class SetPoints:
    """What is asked of the loops at the beginning.

    Attributes:
        ph, do_percent, temperature_c: of the loops.
        agitation_rpm, air_l_min: of the drives; the one that DO's cascade moves is its lowest.
    """

    ph: float
    do_percent: float
    temperature_c: float
    agitation_rpm: float
    air_l_min: float

    def by_tag(self) -> dict[str, float]:
        """The set points by their tags."""
        return {
            "pH/SP": self.ph,
            "DO/SP": self.do_percent,
            "Temperature/SP": self.temperature_c,
            "Agitation/SP": self.agitation_rpm,
            "AirFlow/SP": self.air_l_min,
        }


def set_point_limits(vessel: Vessel) -> dict[str, tuple[float, float]]:
    """What a client may ask for, by tag: (lowest, highest)."""
    return {
        "pH/SP": (2.0, 12.0),
        "DO/SP": (0.0, 100.0),
        "Temperature/SP": (4.0, 60.0),
        "Agitation/SP": (50.0, vessel.agitation_max_rpm),
        "AirFlow/SP": (0.0, vessel.air_max_l_min),
    }


@dataclass(slots=True)
class Demands:
    """What the controller asks of the drives at one step: rpm, L/min, and percent of pump and jacket."""

    agitation_rpm: float
    air_l_min: float
    base_percent: float
    heat_percent: float


@dataclass(slots=True)
class Controller:
    """The loops of one bioreactor.

    Attributes:
        written: the set points as written, by tag.
        working: the set points in force, by tag; differs from `written` where a cascade moves one.
    """

    vessel: Vessel
    cascade: Cascade
    written: dict[str, float]
    working: dict[str, float] = field(default_factory=dict)
    ph: PidLoop = field(default_factory=lambda: PidLoop(PH_LOOP))
    oxygen: PidLoop = field(default_factory=lambda: PidLoop(OXYGEN_LOOP))
    temperature: PidLoop = field(default_factory=lambda: PidLoop(TEMPERATURE_LOOP))

    def __post_init__(self) -> None:
        for tag, value in self.written.items():
            self.write(tag, value)

    def write(self, tag: str, value: float) -> None:
        """Take over a set point.

        Raises:
            SetPointRefused: it is no number, or beyond its limits.
            KeyError: there is no such set point.
        """
        low, high = set_point_limits(self.vessel)[tag]
        # A float32 on the wire may be a hair beyond a limit that the float64 here is not.
        if not math.isfinite(value) or not low - 1e-6 * abs(low) <= value <= high + 1e-6 * abs(high):
            raise SetPointRefused(tag, value, low, high)
        self.written[tag] = min(high, max(low, value))
        self.working[tag] = self.written[tag]

    def step(self, ph: float, do_percent: float, temperature_c: float, dt: float) -> Demands:
        """Act on what the probes say.

        Args:
            ph, do_percent, temperature_c: as measured.
            dt: time since the step before, s.
        """
        written, working = self.written, self.working
        base = self.ph.step(written["pH/SP"], ph, dt)
        heat = self.temperature.step(written["Temperature/SP"], temperature_c, dt)
        share = self.oxygen.step(written["DO/SP"], do_percent, dt) / 100.0
        agitation, air = written["Agitation/SP"], written["AirFlow/SP"]
        if self.cascade == "agitation":
            agitation += share * (self.vessel.agitation_max_rpm - agitation)
        elif self.cascade == "aeration":
            air += share * (self.vessel.air_max_l_min - air)
        working["Agitation/SP"], working["AirFlow/SP"] = agitation, air
        return Demands(agitation, air, base, heat)

    def value(self, tag: str) -> float:
        """A set point in force (`…/SP`) or a loop's output in percent (`…/OUT`). Raises KeyError for another tag."""
        if tag == "pH/OUT":
            return self.ph.output
        if tag == "DO/OUT":
            return self.oxygen.output
        if tag == "Temperature/OUT":
            return self.temperature.output
        return self.working[tag]

    def to_json(self) -> dict[str, Any]:
        """What the loops remember."""
        return {
            "written": dict(self.written),
            "working": dict(self.working),
            "loops": {
                name: [loop.integral, loop.last, loop.output]
                for name, loop in (("ph", self.ph), ("oxygen", self.oxygen), ("temperature", self.temperature))
            },
        }

    @classmethod
    def from_json(cls, vessel: Vessel, cascade: Cascade, saved: dict[str, Any]) -> Self:
        """The inverse of `to_json`.

        Raises:
            StateError: what is saved is not what a controller saves, or beyond its limits.
        """
        try:
            controller = cls(vessel, cascade, dict(saved["written"]))
            controller.working.update(saved["working"])
            for name, loop in (
                ("ph", controller.ph),
                ("oxygen", controller.oxygen),
                ("temperature", controller.temperature),
            ):
                loop.integral, loop.last, loop.output = saved["loops"][name]
        except (KeyError, TypeError, ValueError, SetPointRefused) as error:
            raise StateError(f"the controller's part: {error!r}") from error
        return controller
