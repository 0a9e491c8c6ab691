"""Oxygen and carbon dioxide between gas and broth: solubility, transfer coefficient, and one implicit step.

Sources: Sander, Atmos. Chem. Phys. 15 (2015) 4399 (Henry's constants); van 't Riet, Ind. Eng. Chem. Process Des.
Dev. 18 (1979) 357 (kLa, non-coalescing); Hughmark, ibid. 19 (1980) 638 (gassed power); Antoine constants of water.
"""

import math

GAS_CONSTANT_L_BAR = 0.083145
MOLAR_VOLUME_L = 22.414
"""Volume of a mole of gas at 0 °C and 1.013 bar, what a mass-flow controller's litre means."""
AIR_O2 = 0.2095
AIR_CO2 = 0.00042
CALIBRATION_BAR = 1.01325

_BAR_PER_ATM = 1.01325
_SALT_FACTOR = 0.92
_RUSHTON_POWER_NUMBER = 5.0
_IMPELLERS = 2
_LEAST = 1e-6
"""Below this a flow, speed or volume counts as none: powers of denormal numbers overflow."""
_CO2_TO_O2 = 0.91
"""Ratio of the transfer coefficients, the root of that of the diffusion coefficients (Royce and Thornhill 1991)."""


def oxygen_solubility(temperature_c: float) -> float:
    """Oxygen in medium in mol/L per bar of oxygen: 1.3e-3 mol/L/atm at 25 °C, less 8 % for salts."""
    kelvin = temperature_c + 273.15
    return _SALT_FACTOR * 1.3e-3 / _BAR_PER_ATM * math.exp(1700.0 * (1.0 / kelvin - 1.0 / 298.15))


def carbon_dioxide_solubility(temperature_c: float) -> float:
    """Free CO2 in medium in mol/L per bar of CO2: 3.4e-2 mol/L/atm at 25 °C."""
    kelvin = temperature_c + 273.15
    return 3.4e-2 / _BAR_PER_ATM * math.exp(2400.0 * (1.0 / kelvin - 1.0 / 298.15))


def vapour_bar(temperature_c: float) -> float:
    """Vapour pressure of water (Antoine, 1-100 °C)."""
    return float(10.0 ** (8.07131 - 1730.63 / (233.426 + temperature_c))) / 750.062


def stirrer_power_w(agitation_rpm: float, air_l_min: float, volume_l: float, impeller_m: float) -> float:
    """Power that the stirrer puts into gassed broth, both impellers together.

    Ungassed power from the turbines' power number 5; gassed after Hughmark (1980), kept between 30 and 100 %.
    """
    if agitation_rpm < _LEAST or volume_l < _LEAST:
        return 0.0
    speed = agitation_rpm / 60.0
    ungassed = _IMPELLERS * _RUSHTON_POWER_NUMBER * 1000.0 * speed**3 * impeller_m**5
    if air_l_min < _LEAST:
        return ungassed
    volume_m3 = volume_l / 1000.0
    flow = air_l_min / 60_000.0
    blade_m = 0.2 * impeller_m
    ratio = (
        0.10
        * (flow / (speed * volume_m3)) ** -0.25
        * (speed**2 * impeller_m**4 / (9.81 * blade_m * volume_m3 ** (2.0 / 3.0))) ** -0.2
    )
    return float(ungassed * min(1.0, max(0.3, ratio)))


def transfer_per_s(power_w: float, air_l_min: float, volume_l: float, area_m2: float) -> float:
    """kLa of oxygen in 1/s: 0.002 (P/V)^0.7 v^0.2, P/V in W/m3 and the superficial gas velocity v in m/s."""
    if power_w < _LEAST or air_l_min < _LEAST or volume_l < _LEAST:
        return 0.0
    velocity = air_l_min / 60_000.0 / area_m2
    return float(0.002 * (power_w / volume_l * 1000.0) ** 0.7 * velocity**0.2)


def carbon_dioxide_transfer(oxygen_transfer_per_s: float) -> float:
    """kLa of CO2 from that of oxygen."""
    return _CO2_TO_O2 * oxygen_transfer_per_s


def oxygen_step(
    dissolved: float,
    gas: float,
    *,
    gas_in: float,
    gas_total: float,
    outflow: float,
    transfer_per_s: float,
    capacity: float,
    demand: float,
    half: float,
    dt: float,
) -> tuple[float, float, float, float]:
    """One backward Euler step of oxygen in broth and headspace, solved exactly.

    The three unknowns (dissolved, in the gas, transferred) reduce to one quadratic, whose positive root always
    exists: stable and never negative, however stiff the respiration.

    Args:
        dissolved, gas: mol of oxygen in the broth and in the headspace.
        gas_in: oxygen that comes with the air, mol/s.
        gas_total: all gas in the headspace, mol.
        outflow: exhaust, mol/s.
        transfer_per_s: kLa.
        capacity: mol that the broth would hold against pure oxygen at this pressure.
        demand: respiration with plenty of oxygen, mol/s.
        half: mol in the broth at which respiration is half of the demand.
        dt: step in s.

    Returns:
        (dissolved, gas, transferred mol/s, oxygen limitation 0..1).
    """
    arrived = gas + dt * gas_in
    room = gas_total + dt * outflow
    rate = transfer_per_s / (1.0 + transfer_per_s * dt * capacity / room)
    saturation = capacity * arrived / room
    right = dissolved + dt * rate * saturation
    a = 1.0 + dt * rate
    b = a * half + dt * demand - right
    root = math.sqrt(b * b + 4.0 * a * right * half)
    # The form of the positive root that does not cancel.
    dissolved = (root - b) / (2.0 * a) if b < 0.0 else 2.0 * right * half / (root + b) if root + b > 0.0 else 0.0
    transferred = rate * (saturation - dissolved)
    gas = (arrived - dt * transferred) * gas_total / room
    return dissolved, gas, transferred, dissolved / (half + dissolved)


def carbon_dioxide_step(
    inorganic: float,
    gas: float,
    *,
    gas_in: float,
    gas_total: float,
    outflow: float,
    transfer_per_s: float,
    capacity: float,
    free_share: float,
    produced: float,
    dt: float,
) -> tuple[float, float, float]:
    """One backward Euler step of inorganic carbon in the broth and CO2 in the headspace, solved exactly.

    Args: as `oxygen_step`; `inorganic` is CO2 and bicarbonate together, of which `free_share` is CO2;
        `produced` in mol/s.

    Returns:
        (inorganic, gas, released mol/s).
    """
    arrived = gas + dt * gas_in
    room = gas_total + dt * outflow
    grown = inorganic + dt * produced
    released = (
        transfer_per_s
        * (free_share * grown - capacity * arrived / room)
        / (1.0 + transfer_per_s * dt * (free_share + capacity / room))
    )
    inorganic = grown - dt * released
    gas = (arrived + dt * released) * gas_total / room
    return inorganic, gas, released
