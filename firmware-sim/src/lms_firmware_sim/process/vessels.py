"""Vessel and recipe: what is built and what is done in it, apart from the organism."""

import math
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Vessel:
    """A stirred-tank bioreactor of a bench, scaled from its total volume.

    Proportions of a standard tank: height twice the diameter, two Rushton turbines of 0.4 diameters (Doran,
    "Bioprocess Engineering Principles", 2nd edition, chapters 7 and 10).

    Attributes:
        total_l: volume of the vessel.
        agitation_max_rpm, air_max_l_min: what stirrer and mass-flow controller can do.
        overpressure_bar: back pressure at the exhaust.
    """

    total_l: float
    agitation_max_rpm: float
    air_max_l_min: float
    overpressure_bar: float = 0.2

    @cached_property
    def diameter_m(self) -> float:
        """Inner diameter of the tank."""
        return math.cbrt(2.0 * self.total_l / 1000.0 / math.pi)

    @cached_property
    def impeller_m(self) -> float:
        """Diameter of an impeller."""
        return 0.4 * self.diameter_m

    @cached_property
    def area_m2(self) -> float:
        """Cross-section of the tank."""
        return math.pi * self.diameter_m**2 / 4.0

    @cached_property
    def jacket_w_k(self) -> float:
        """Heat passed between jacket and broth: 350 W/m2/K over the wetted wall."""
        return 350.0 * math.pi * self.diameter_m * 1.4 * self.diameter_m

    @cached_property
    def jacket_j_k(self) -> float:
        """Heat capacity of the jacket: a third of the vessel's volume as water."""
        return self.total_l / 3.0 * 4180.0

    @cached_property
    def heater_w(self) -> float:
        """Heating at 100 % output: 120 W per litre of vessel."""
        return 120.0 * self.total_l

    @cached_property
    def cooling_w_k(self) -> float:
        """Cooling at -100 % output, per kelvin between jacket and cooling water."""
        return 12.0 * self.total_l

    @cached_property
    def loss_w_k(self) -> float:
        """Heat lost to the room, per kelvin: 8 W/m2/K over the free wall."""
        return 8.0 * math.pi * self.diameter_m * 2.0 * self.diameter_m


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the vessel is run.

    Attributes:
        start_l: broth at inoculation.
        inoculum_g_l: biomass at inoculation.
        batch_g_l: substrate at inoculation.
        feed_g_l: substrate in the feed.
        feed_mu_per_h: growth rate that the exponential feed aims at, once the batch's substrate is used up.
        feed_max_ml_min: what the feed pump can do.
        base_mol_l, base_max_ml_min: strength of the base, and what its pump can do.
        buffer_mmol_l: phosphate in the medium.
        sample_ml, sample_every_h: samples drawn.
        preparation_h: sterile medium brought to its set points before inoculation.
        run_h: from inoculation to harvest; then the next run is prepared.
    """

    start_l: float
    inoculum_g_l: float = 0.1
    batch_g_l: float = 10.0
    feed_g_l: float = 500.0
    feed_mu_per_h: float = 0.15
    feed_max_ml_min: float = 1.0
    base_mol_l: float = 5.0
    base_max_ml_min: float = 5.0
    buffer_mmol_l: float = 60.0
    sample_ml: float = 15.0
    sample_every_h: float = 2.0
    preparation_h: float = 1.0
    run_h: float = 30.0
