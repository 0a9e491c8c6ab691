"""Heat of broth and jacket in one step.

Source: Doran, "Bioprocess Engineering Principles", 2nd edition, chapter 5: about 460 kJ per mol of oxygen respired.
"""

from lms_firmware_sim.process.vessels import Vessel

RESPIRATION_J_MOL = 460_000.0
ROOM_C = 21.0
COOLING_WATER_C = 8.0
_BROTH_J_KG_K = 4180.0


def heat_step(
    temperature_c: float,
    jacket_c: float,
    vessel: Vessel,
    *,
    mass_kg: float,
    heat_percent: float,
    made_w: float,
    dt: float,
) -> tuple[float, float]:
    """One backward Euler step of both temperatures, solved exactly (a 2 x 2 linear system).

    Args:
        temperature_c, jacket_c: before the step.
        vessel: its areas and powers.
        mass_kg: of the broth.
        heat_percent: 100 heats fully, -100 cools fully.
        made_w: heat of respiration and stirring.
        dt: step in s.

    Returns:
        (temperature_c, jacket_c) after the step.
    """
    between = vessel.jacket_w_k
    loss = vessel.loss_w_k
    cooling = vessel.cooling_w_k * max(0.0, -heat_percent) / 100.0
    heating = vessel.heater_w * max(0.0, heat_percent) / 100.0
    broth = max(mass_kg, 0.05) * _BROTH_J_KG_K / dt
    jacket = vessel.jacket_j_k / dt
    a = broth + between + loss
    d = jacket + between + cooling
    right_broth = broth * temperature_c + made_w + loss * ROOM_C
    right_jacket = jacket * jacket_c + heating + cooling * COOLING_WATER_C
    determinant = a * d - between * between
    return (
        (right_broth * d + between * right_jacket) / determinant,
        (a * right_jacket + between * right_broth) / determinant,
    )
