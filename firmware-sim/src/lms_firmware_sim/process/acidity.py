"""The broth's pH from its charges: strong ions, bicarbonate and phosphate must balance.

Source: Stewart, Can. J. Physiol. Pharmacol. 61 (1983) 1444 (strong ion difference); apparent constants at 30-37 °C
and the ionic strength of a medium: pK1' of CO2 6.1, pK2' of phosphate 6.8, pKw 13.6.
"""

import math

_CO2_CONSTANT = 10.0**-6.1
_PHOSPHATE_CONSTANT = 10.0**-6.8
_WATER_CONSTANT = 10.0**-13.6
_LN10 = math.log(10.0)
_PH_LOW, _PH_HIGH = 1.0, 13.0


def free_share(ph: float) -> float:
    """The share of inorganic carbon that is free CO2 at a pH; carbonate, rare below pH 9, is left out."""
    proton = math.exp(-_LN10 * ph)
    return proton / (proton + _CO2_CONSTANT)


def strong_ions(ph: float, inorganic_mol_l: float, phosphate_mol_l: float) -> float:
    """The strong ion difference in mol/L that gives this pH."""
    proton = math.exp(-_LN10 * ph)
    return (
        _WATER_CONSTANT / proton
        - proton
        + inorganic_mol_l * _CO2_CONSTANT / (_CO2_CONSTANT + proton)
        + phosphate_mol_l * (1.0 + _PHOSPHATE_CONSTANT / (_PHOSPHATE_CONSTANT + proton))
    )


def solve(ph: float, strong_mol_l: float, inorganic_mol_l: float, phosphate_mol_l: float) -> float:
    """The pH at which charges balance, by Newton's method from the pH before.

    Args:
        ph: where to begin; the nearer, the fewer steps.
        strong_mol_l: strong cations minus strong anions.
        inorganic_mol_l: CO2 and bicarbonate.
        phosphate_mol_l: phosphate.

    Returns:
        the pH, kept within 1..13.
    """
    for _ in range(60):
        proton = math.exp(-_LN10 * ph)
        hydroxide = _WATER_CONSTANT / proton
        carbon = _CO2_CONSTANT + proton
        phosphate = _PHOSPHATE_CONSTANT + proton
        excess = (
            strong_mol_l
            + proton
            - hydroxide
            - inorganic_mol_l * _CO2_CONSTANT / carbon
            - phosphate_mol_l * (1.0 + _PHOSPHATE_CONSTANT / phosphate)
        )
        slope = _LN10 * (
            proton
            + hydroxide
            + inorganic_mol_l * _CO2_CONSTANT * proton / (carbon * carbon)
            + phosphate_mol_l * _PHOSPHATE_CONSTANT * proton / (phosphate * phosphate)
        )
        change = excess / slope
        # A long stride would leave the region where the slope is meaningful.
        change = max(-0.5, min(0.5, change))
        ph += change
        if ph <= _PH_LOW or ph >= _PH_HIGH:
            return min(_PH_HIGH, max(_PH_LOW, ph))
        if abs(change) < 1e-7:  # Newton's next stride would be the square of it
            break
    return ph
