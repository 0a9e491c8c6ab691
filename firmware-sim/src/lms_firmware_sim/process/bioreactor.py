"""One bioreactor in calendar time: runs one after another, each a process, its controller and its instruments.

The clock is the caller's: `advance_to(now)` takes the process, on a fixed grid of steps that begins with the run,
to the last grid point before now. The same seed and set points give the same values at the same time, however the way
there was divided.
"""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

from lms_firmware_sim.errors import StateError
from lms_firmware_sim.process.controller import Cascade, Controller, SetPoints
from lms_firmware_sim.process.instruments import BY_TAG, Panel
from lms_firmware_sim.process.model import Process
from lms_firmware_sim.process.state import State
from lms_firmware_sim.process.strains import Strain
from lms_firmware_sim.process.vessels import Recipe, Vessel

STEP_S = 2.0
"""Length of a model step, in process time. Noise is drawn anew every second, so that no reading looks stuck."""

WRITABLE = frozenset({"pH/SP", "DO/SP", "Temperature/SP", "Agitation/SP", "AirFlow/SP"})
OUTPUTS = frozenset({"pH/OUT", "DO/OUT", "Temperature/OUT"})
TAGS: tuple[str, ...] = (*BY_TAG, *sorted(WRITABLE), *sorted(OUTPUTS))
"""Every tag that a bioreactor can give."""

UNITS: dict[str, str] = {
    **{tag: instrument.unit for tag, instrument in BY_TAG.items()},
    **{tag: BY_TAG[tag.replace("/SP", "/PV")].unit for tag in WRITABLE},
    **dict.fromkeys(OUTPUTS, "%"),
}
"""The unit of every tag."""


@dataclass(frozen=True, slots=True)
class Cultivation:
    """What is grown, in what, how, and since when.

    Attributes:
        inoculated_at_s: inoculation of the first run, seconds since 1970 UTC.
        time_factor: process seconds per second.
    """

    strain: Strain
    vessel: Vessel
    recipe: Recipe
    set_points: SetPoints
    cascade: Cascade
    seed: int
    inoculated_at_s: float
    time_factor: float = 1.0

    @property
    def fingerprint(self) -> str:
        """The same for the same cultivation: a saved state belongs to one."""
        return hashlib.blake2b(repr(self).encode(), digest_size=16).hexdigest()


class SimulatedBioreactor:
    """A bioreactor whose time is set from outside.

    Args:
        cultivation: what goes on in it.

    Attributes:
        run: number of the present run, from 0.
        step: steps done in it.
        second: process time since it began, in whole seconds; counts the noise.
    """

    def __init__(self, cultivation: Cultivation) -> None:
        self.cultivation = cultivation
        recipe = cultivation.recipe
        self._preparation_steps = round(recipe.preparation_h * 3600.0 / STEP_S)
        self._run_steps = self._preparation_steps + max(1, round(recipe.run_h * 3600.0 / STEP_S))
        self._sample_steps = max(1, round(recipe.sample_every_h * 3600.0 / STEP_S))
        self._began_at_s = cultivation.inoculated_at_s - recipe.preparation_h * 3600.0 / cultivation.time_factor
        self._begin(0, cultivation.set_points.by_tag())

    def _begin(self, run: int, set_points: dict[str, float]) -> None:
        """Begin a run with fresh medium, calibrated instruments and loops at rest."""
        cultivation = self.cultivation
        seed = cultivation.seed * 1009 + run
        # No two inoculations are alike: ± 20 % of biomass, drawn from the seed.
        share = 0.8 + 0.4 * ((seed * 2654435761 % 2**32) / 2**32)
        recipe = replace(cultivation.recipe, inoculum_g_l=cultivation.recipe.inoculum_g_l * share)
        self.run = run
        self.step = 0
        self.second = 0
        self.process = Process(cultivation.strain, cultivation.vessel, recipe, set_ph=set_points["pH/SP"])
        self.controller = Controller(cultivation.vessel, cultivation.cascade, set_points)
        self.panel = Panel(seed, self._true_values())

    @property
    def age_s(self) -> float:
        """Process time since this run's inoculation; negative before."""
        return (self.step - self._preparation_steps) * STEP_S

    @property
    def at_s(self) -> float:
        """The time of the present step, seconds since 1970 UTC."""
        steps = self.run * self._run_steps + self.step
        return self._began_at_s + steps * STEP_S / self.cultivation.time_factor

    def advance_to(self, now_s: float) -> None:
        """Take the process to the last step before now (seconds since 1970 UTC); never back.

        Runs that ended unseen are not worked through: a run begins the same whatever was before it.
        """
        elapsed_s = max(0.0, (now_s - self._began_at_s) * self.cultivation.time_factor)
        run, step = divmod(int(elapsed_s / STEP_S), self._run_steps)
        if run > self.run:
            self._begin(run, dict(self.controller.written))
        if run == self.run:
            for _ in range(step - self.step):
                self._step()
            self.second = max(self.second, int(elapsed_s - run * self._run_steps * STEP_S))

    def advance(self, dt_s: float) -> None:
        """Take the process on by a time in process seconds, in whole steps."""
        self.advance_to(self.at_s + (dt_s + STEP_S / 2.0) / self.cultivation.time_factor)

    def _step(self) -> None:
        if self.step == self._preparation_steps:
            self.process.inoculate()
        since = self.step - self._preparation_steps
        if since > 0 and since % self._sample_steps == 0:
            self.process.sample()
        age_s = self.step * STEP_S
        measured = self.panel.measured
        demands = self.controller.step(
            measured("pH/PV", age_s), measured("DO/PV", age_s), measured("Temperature/PV", age_s), STEP_S
        )
        self.process.step(demands, self.age_s, STEP_S)
        self.panel.follow(self._true_values(), STEP_S)
        self.step += 1

    def _true_values(self) -> dict[str, float]:
        """The truth behind every instrument, by tag."""
        state = self.process.state
        oxygen, carbon_dioxide = self.process.off_gas_percent()
        return {
            "pH/PV": state.ph,
            "DO/PV": self.process.do_percent(),
            "Temperature/PV": state.temperature_c,
            "pH/Temperature": state.temperature_c,
            "DO/Temperature": state.temperature_c,
            "Agitation/PV": state.agitation_rpm,
            "AirFlow/PV": state.air_l_min,
            "Pressure/PV": state.pressure_bar,
            "OffGasO2/PV": oxygen,
            "OffGasCO2/PV": carbon_dioxide,
            "Weight/PV": state.mass_kg,
            "BasePumped/PV": state.base_ml,
        }

    def reading(self, tag: str) -> float:
        """What the instrument or controller shows now, in the tag's unit. Raises KeyError for an unknown tag."""
        if tag in BY_TAG:
            return self.panel.reading(tag, self.second)
        return round(self.controller.value(tag), 3)

    def write(self, tag: str, value: float) -> None:
        """Write a set point.

        Raises:
            SetPointRefused: it is no number, or beyond its limits.
            KeyError: the tag is no set point.
        """
        self.controller.write(tag, value)

    def truth(self) -> dict[str, float]:
        """The true state in everyday units, with the run and its age."""
        return {"run": self.run, "age_h": self.age_s / 3600.0, **self.process.truth()}

    def to_json(self) -> dict[str, Any]:
        """All that changes, as JSON would hold it."""
        return {
            "cultivation": self.cultivation.fingerprint,
            "run": self.run,
            "step": self.step,
            "state": self.process.state.to_json(),
            "controller": self.controller.to_json(),
            "lagged": dict(self.panel.lagged),
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from what `to_json` gave, for the same cultivation.

        Raises:
            StateError: it is not what `to_json` gives, or of another cultivation. Nothing is changed then.
        """
        if saved.get("cultivation") != self.cultivation.fingerprint:
            raise StateError("it belongs to another cultivation: the plant's description or start has changed")
        try:
            run, step, lagged = int(saved["run"]), int(saved["step"]), dict(saved["lagged"])
            state = State.from_json(saved["state"])
            controller = Controller.from_json(self.cultivation.vessel, self.cultivation.cascade, saved["controller"])
            if set(lagged) != set(BY_TAG) or run < 0 or not 0 <= step < self._run_steps:
                raise StateError("its instruments, run or step are not those of this bioreactor")
        except (KeyError, TypeError, ValueError) as error:
            raise StateError(f"a part is missing or of the wrong kind: {error!r}") from error
        self._begin(run, dict(controller.written))
        self.step = step
        self.second = int(step * STEP_S)
        self.process.state = state
        self.controller = controller
        self.panel.lagged = lagged
