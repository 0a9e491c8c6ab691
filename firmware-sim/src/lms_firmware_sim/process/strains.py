"""Organisms and what they need: the constants of the growth model.

Amounts are in C-mol (the amount that holds one mole of carbon), so that carbon and electrons balance by
construction: per C-mol of substrate taken up, what is not built into biomass leaves as CO2, and the electrons that
are left over take oxygen (Roels, "Energetics and Kinetics in Biotechnology", Elsevier 1983, chapter 3).
"""

from dataclasses import dataclass

BIOMASS_G_CMOL = 24.6
"""Ash-free dry mass of one C-mol of CH1.8 O0.5 N0.2, the average composition of microorganisms (Roels 1983)."""

BIOMASS_REDUCTION = 4.2
"""Its degree of reduction against ammonia: 4 + 1.8 - 2 * 0.5 - 3 * 0.2."""

BIOMASS_NITROGEN = 0.2
"""Mol of nitrogen per C-mol. Taken up as ammonium, each leaves about one proton in the broth."""


@dataclass(frozen=True, slots=True)
class Substrate:
    """A carbon source: mass of one C-mol in g, and degree of reduction."""

    name: str
    g_cmol: float
    reduction: float


GLUCOSE = Substrate("glucose", 30.03, 4.0)
GLYCEROL = Substrate("glycerol", 30.70, 14.0 / 3.0)


@dataclass(frozen=True, slots=True)
class Strain:
    """One organism on one carbon source.

    Attributes:
        mu_max_per_h: largest specific growth rate, at the best temperature and pH.
        yield_g_g: biomass on substrate, without maintenance.
        maintenance_g_g_h: substrate per biomass and hour that builds nothing.
        substrate_half_g_l: substrate at which uptake is half of the largest.
        oxygen_half_mmol_l: dissolved oxygen at which respiration is half of the largest.
        temperature_c: lowest, best and highest temperature of growth.
        ph: lowest, best and highest pH of growth.
    """

    name: str
    substrate: Substrate
    mu_max_per_h: float
    yield_g_g: float
    maintenance_g_g_h: float
    substrate_half_g_l: float
    oxygen_half_mmol_l: float
    temperature_c: tuple[float, float, float]
    ph: tuple[float, float, float]


E_COLI = Strain(
    name="Escherichia coli",
    substrate=GLUCOSE,
    mu_max_per_h=0.55,
    yield_g_g=0.50,
    maintenance_g_g_h=0.04,
    substrate_half_g_l=0.05,
    oxygen_half_mmol_l=0.003,
    temperature_c=(4.9, 39.0, 47.5),
    ph=(4.4, 7.0, 9.2),
)
"""Glucose minimal medium.

Sources: Xu, Jahic and Enfors, Biotechnol. Prog. 15 (1999) 81 (mu_max 0.55 1/h, yield 0.51 g/g, maintenance 0.04
g/g/h, Ks 0.05 g/L); cardinal temperature and pH: Rosso et al., Appl. Environ. Microbiol. 61 (1995) 610. Overflow to
acetate is left out.
"""

K_PHAFFII = Strain(
    name="Komagataella phaffii",
    substrate=GLYCEROL,
    mu_max_per_h=0.26,
    yield_g_g=0.55,
    maintenance_g_g_h=0.02,
    substrate_half_g_l=0.10,
    oxygen_half_mmol_l=0.003,
    temperature_c=(6.0, 30.0, 38.0),
    ph=(2.5, 5.2, 8.0),
)
"""Methylotrophic yeast (Pichia pastoris) in its glycerol phases.

Sources: Cos et al., Microb. Cell Fact. 5 (2006) 17 (mu_max 0.2-0.26 1/h on glycerol, yield 0.5-0.6 g/g); Invitrogen
Pichia fermentation guidelines (30 °C, pH 5).
"""

STRAINS: dict[str, Strain] = {"e-coli": E_COLI, "k-phaffii": K_PHAFFII}
"""The names that a plant's file may use."""
