"""Growth: how much substrate an organism takes up in one step, and what it makes of it.

Source: Monod, Annu. Rev. Microbiol. 3 (1949) 371; maintenance after Pirt, Proc. R. Soc. B 163 (1965) 224; cardinal
temperature and pH model: Rosso et al., Appl. Environ. Microbiol. 61 (1995) 610.
"""

import math
from dataclasses import dataclass

from lms_firmware_sim.process.strains import BIOMASS_G_CMOL, BIOMASS_REDUCTION, Strain


@dataclass(frozen=True, slots=True)
class Kinetics:
    """A strain's constants in the model's units (C-mol, mol, L, s).

    Attributes:
        yield_cmol: biomass on substrate, without maintenance.
        maintenance_per_s: substrate per biomass.
        uptake_max_per_s: substrate per biomass.
    """

    strain: Strain
    yield_cmol: float
    maintenance_per_s: float
    uptake_max_per_s: float
    substrate_half_cmol_l: float
    oxygen_half_mol_l: float

    @classmethod
    def of(cls, strain: Strain) -> "Kinetics":
        """The constants of a strain."""
        per_biomass = BIOMASS_G_CMOL / strain.substrate.g_cmol
        yield_cmol = strain.yield_g_g / per_biomass
        maintenance = strain.maintenance_g_g_h * per_biomass / 3600.0
        return cls(
            strain=strain,
            yield_cmol=yield_cmol,
            maintenance_per_s=maintenance,
            uptake_max_per_s=strain.mu_max_per_h / 3600.0 / yield_cmol + maintenance,
            substrate_half_cmol_l=strain.substrate_half_g_l / strain.substrate.g_cmol,
            oxygen_half_mol_l=strain.oxygen_half_mmol_l / 1000.0,
        )

    def vitality(self, temperature_c: float, ph: float) -> float:
        """How well temperature and pH suit, 0..1."""
        return cardinal_temperature(temperature_c, *self.strain.temperature_c) * cardinal_ph(ph, *self.strain.ph)

    def potential_uptake(self, biomass: float, substrate: float, volume_l: float, vitality: float, dt: float) -> float:
        """Substrate taken up with plenty of oxygen in C-mol/s: a backward Euler step of Monod's law.

        Never more than there is.

        Args:
            biomass, substrate: C-mol in the broth.
            volume_l: of the broth.
            vitality: 0..1.
            dt: step in s.
        """
        if substrate <= 0.0 or biomass <= 0.0:
            return 0.0
        half = self.substrate_half_cmol_l * volume_l
        wanted = dt * self.uptake_max_per_s * vitality * biomass
        b = half + wanted - substrate
        root = math.sqrt(b * b + 4.0 * substrate * half)
        left = (root - b) / 2.0 if b < 0.0 else 2.0 * substrate * half / (root + b)
        return max(0.0, substrate - left) / dt

    def growth(self, uptake: float, biomass: float) -> float:
        """Biomass made in C-mol/s; below the need for maintenance biomass burns itself (endogenous respiration)."""
        return self.yield_cmol * (uptake - self.maintenance_per_s * biomass)

    def oxygen_demand(self, uptake: float, growth: float) -> float:
        """Oxygen respired in mol/s, from the electrons that uptake brings and growth does not keep."""
        return max(0.0, (self.strain.substrate.reduction * uptake - BIOMASS_REDUCTION * growth) / 4.0)


def cardinal_temperature(temperature_c: float, lowest: float, best: float, highest: float) -> float:
    """Growth rate relative to that at the best temperature, 0 outside the lowest and the highest."""
    if not lowest < temperature_c < highest:
        return 0.0
    above = (temperature_c - highest) * (temperature_c - lowest) ** 2
    below = (best - lowest) * (
        (best - lowest) * (temperature_c - best) - (best - highest) * (best + lowest - 2.0 * temperature_c)
    )
    return min(1.0, max(0.0, above / below)) if below else 0.0


def cardinal_ph(ph: float, lowest: float, best: float, highest: float) -> float:
    """Growth rate relative to that at the best pH, 0 outside the lowest and the highest."""
    if not lowest < ph < highest:
        return 0.0
    spread = (ph - lowest) * (ph - highest)
    return min(1.0, max(0.0, spread / (spread - (ph - best) ** 2)))
