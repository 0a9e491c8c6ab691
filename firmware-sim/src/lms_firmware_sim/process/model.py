"""One step of a whole bioreactor: the truth that the instruments look at.

Order of a step: drives follow the controller, then growth, gas, acidity, heat, weight. Every part is implicit or
exact, so that no set point and no step length makes it unstable or negative.
"""

import math
from typing import NamedTuple

from lms_firmware_sim.process import acidity, gas
from lms_firmware_sim.process.controller import Demands
from lms_firmware_sim.process.growth import Kinetics
from lms_firmware_sim.process.heat import RESPIRATION_J_MOL, ROOM_C, heat_step
from lms_firmware_sim.process.state import State
from lms_firmware_sim.process.strains import BIOMASS_G_CMOL, BIOMASS_NITROGEN, Strain
from lms_firmware_sim.process.vessels import Recipe, Vessel

_AGITATION_LAG_S = 2.0
_AIR_LAG_S = 3.0
_PRESSURE_LAG_S = 8.0
_FILTER_BAR_PER_VVM = 0.02
_FULL_SHARE = 0.85
_O2_KG_MOL = 0.0320
_CO2_KG_MOL = 0.0440
_BASE_KG_L = 1.10
_FEED_KG_L = 1.18
_LEAST_GAS_L = 0.1


class _GasFlow(NamedTuple):
    """Air in and exhaust out in mol/s, gas in the headspace in mol, its pressure without vapour in bar."""

    inflow: float
    outflow: float
    total: float
    dry_bar: float


class Process:
    """A bioreactor's physics.

    Args:
        strain, vessel, recipe: what grows, in what, how.

    Attributes:
        state: the truth at present; replace it to restore a saved one.
    """

    def __init__(self, strain: Strain, vessel: Vessel, recipe: Recipe, *, set_ph: float) -> None:
        self.kinetics = Kinetics.of(strain)
        self.vessel = vessel
        self.recipe = recipe
        self.state = self._medium(set_ph)

    def _medium(self, ph: float) -> State:
        """Fresh sterile medium at room temperature, in equilibrium with air, at the pH of the recipe."""
        recipe, vessel = self.recipe, self.vessel
        volume = recipe.start_l
        pressure = gas.CALIBRATION_BAR
        dry = pressure - gas.vapour_bar(ROOM_C)
        inorganic = gas.carbon_dioxide_solubility(ROOM_C) * gas.AIR_CO2 * dry * volume / acidity.free_share(ph)
        phosphate = recipe.buffer_mmol_l / 1000.0 * volume
        headspace = max(_LEAST_GAS_L, vessel.total_l - volume)
        gas_total = dry * headspace / (gas.GAS_CONSTANT_L_BAR * (ROOM_C + 273.15))
        return State(
            volume_l=volume,
            mass_kg=volume * 1.01,
            biomass_cmol=0.0,
            substrate_cmol=recipe.batch_g_l * volume / self.kinetics.strain.substrate.g_cmol,
            oxygen_mol=gas.oxygen_solubility(ROOM_C) * gas.AIR_O2 * dry * volume,
            inorganic_mol=inorganic,
            strong_mol=acidity.strong_ions(ph, inorganic / volume, phosphate / volume) * volume,
            phosphate_mol=phosphate,
            ph=ph,
            gas_o2_mol=gas.AIR_O2 * gas_total,
            gas_co2_mol=gas.AIR_CO2 * gas_total,
            pressure_bar=pressure,
            temperature_c=ROOM_C,
            jacket_c=ROOM_C,
        )

    def inoculate(self) -> None:
        """Put the organism in."""
        self.state.biomass_cmol += self.recipe.inoculum_g_l * self.state.volume_l / BIOMASS_G_CMOL

    def sample(self) -> None:
        """Draw one sample of broth."""
        state = self.state
        drawn_l = min(self.recipe.sample_ml / 1000.0, 0.5 * state.volume_l)
        keep = 1.0 - drawn_l / state.volume_l
        dissolved = state.biomass_cmol + state.substrate_cmol + state.inorganic_mol
        state.carbon_sampled_cmol += (1.0 - keep) * dissolved
        state.oxygen_sampled_mol += (1.0 - keep) * state.oxygen_mol
        state.sampled_ml += drawn_l * 1000.0
        state.volume_l *= keep
        state.mass_kg *= keep
        state.biomass_cmol *= keep
        state.substrate_cmol *= keep
        state.oxygen_mol *= keep
        state.inorganic_mol *= keep
        state.strong_mol *= keep
        state.phosphate_mol *= keep

    def step(self, demands: Demands, age_s: float, dt: float) -> None:
        """Advance the truth.

        Args:
            demands: of the controller.
            age_s: time since inoculation; negative while the medium is prepared.
            dt: step in s; 1-2 s are meant.
        """
        state = self.state
        self._drives(demands, age_s, dt)
        self._pump(dt)
        volume = state.volume_l
        kinetics = self.kinetics
        vitality = kinetics.vitality(state.temperature_c, state.ph) if state.biomass_cmol > 0.0 else 0.0
        potential = kinetics.potential_uptake(state.biomass_cmol, state.substrate_cmol, volume, vitality, dt)
        growth = kinetics.growth(potential, state.biomass_cmol)
        demand = kinetics.oxygen_demand(potential, growth)

        power = gas.stirrer_power_w(state.agitation_rpm, state.air_l_min, volume, self.vessel.impeller_m)
        state.transfer_per_s = gas.transfer_per_s(power, state.air_l_min, volume, self.vessel.area_m2)
        flow = self._gas_flow()
        limitation = self._oxygen(flow, demand, dt)
        uptake = potential * limitation
        growth *= limitation
        respired = demand * limitation
        state.substrate_cmol = max(0.0, state.substrate_cmol - dt * uptake)
        state.growth_per_h = 3600.0 * growth / state.biomass_cmol if state.biomass_cmol > 0.0 else 0.0
        state.biomass_cmol += dt * growth
        state.strong_mol -= dt * BIOMASS_NITROGEN * growth
        state.o2_used_mol += dt * respired

        self._carbon_dioxide(flow, uptake - growth, dt)
        state.ph = acidity.solve(
            state.ph, state.strong_mol / volume, state.inorganic_mol / volume, state.phosphate_mol / volume
        )
        state.temperature_c, state.jacket_c = heat_step(
            state.temperature_c,
            state.jacket_c,
            self.vessel,
            mass_kg=state.mass_kg,
            heat_percent=demands.heat_percent,
            made_w=respired * RESPIRATION_J_MOL + power,
            dt=dt,
        )

    def _drives(self, demands: Demands, age_s: float, dt: float) -> None:
        """Stirrer, air, pressure and pumps follow what is asked of them."""
        state, vessel, recipe = self.state, self.vessel, self.recipe
        state.agitation_rpm += (demands.agitation_rpm - state.agitation_rpm) * dt / (_AGITATION_LAG_S + dt)
        state.air_l_min += (demands.air_l_min - state.air_l_min) * dt / (_AIR_LAG_S + dt)
        back = vessel.overpressure_bar if state.air_l_min > 0.02 else 0.0
        pressure = gas.CALIBRATION_BAR + back + _FILTER_BAR_PER_VVM * state.air_l_min / recipe.start_l
        state.pressure_bar += (pressure - state.pressure_bar) * dt / (_PRESSURE_LAG_S + dt)
        state.base_ml_min = demands.base_percent / 100.0 * recipe.base_max_ml_min
        state.feed_ml_min = self._feed(age_s)
        if state.volume_l >= _FULL_SHARE * vessel.total_l:
            state.feed_ml_min = state.base_ml_min = 0.0

    def _feed(self, age_s: float) -> float:
        """The exponential feed in mL/min, from the moment when the batch's substrate is used up."""
        state, recipe, kinetics = self.state, self.recipe, self.kinetics
        if state.fed_from_s is None:
            used_up = state.substrate_cmol / state.volume_l < kinetics.substrate_half_cmol_l
            if age_s < 0.0 or not used_up or state.biomass_cmol <= 0.0:
                return 0.0
            needed = recipe.feed_mu_per_h / 3600.0 / kinetics.yield_cmol + kinetics.maintenance_per_s
            litres_s = needed * state.biomass_cmol * kinetics.strain.substrate.g_cmol / recipe.feed_g_l
            state.fed_from_s = age_s
            state.feed_start_ml_min = litres_s * 60_000.0
        exponent = recipe.feed_mu_per_h * (age_s - state.fed_from_s) / 3600.0
        return min(recipe.feed_max_ml_min, state.feed_start_ml_min * math.exp(min(50.0, exponent)))

    def _pump(self, dt: float) -> None:
        """Base and feed flow into the vessel."""
        state, recipe = self.state, self.recipe
        base_l = state.base_ml_min * dt / 60_000.0
        feed_l = state.feed_ml_min * dt / 60_000.0
        carbon = feed_l * recipe.feed_g_l / self.kinetics.strain.substrate.g_cmol
        state.volume_l += base_l + feed_l
        state.mass_kg += base_l * _BASE_KG_L + feed_l * _FEED_KG_L
        state.strong_mol += base_l * recipe.base_mol_l
        state.substrate_cmol += carbon
        state.carbon_fed_cmol += carbon
        state.base_ml += base_l * 1000.0
        state.feed_ml += feed_l * 1000.0

    def _gas_flow(self) -> _GasFlow:
        state = self.state
        inflow = state.air_l_min / 60.0 / gas.MOLAR_VOLUME_L
        outflow = max(0.0, inflow + state.carbon_release_mol_s - state.oxygen_transfer_mol_s)
        dry = max(0.05, state.pressure_bar - gas.vapour_bar(state.temperature_c))
        headspace = max(_LEAST_GAS_L, self.vessel.total_l - state.volume_l)
        total = dry * headspace / (gas.GAS_CONSTANT_L_BAR * (state.temperature_c + 273.15))
        return _GasFlow(inflow, outflow, total, dry)

    def _oxygen(self, flow: _GasFlow, demand: float, dt: float) -> float:
        """Oxygen in broth and headspace; the limitation 0..1 that respiration meets."""
        state = self.state
        inflow, outflow, total, dry = flow
        before = state.gas_o2_mol
        state.oxygen_mol, state.gas_o2_mol, transferred, limitation = gas.oxygen_step(
            state.oxygen_mol,
            before,
            gas_in=inflow * gas.AIR_O2,
            gas_total=total,
            outflow=outflow,
            transfer_per_s=state.transfer_per_s,
            capacity=gas.oxygen_solubility(state.temperature_c) * dry * state.volume_l,
            demand=demand,
            half=self.kinetics.oxygen_half_mol_l * state.volume_l,
            dt=dt,
        )
        state.oxygen_transfer_mol_s = transferred
        arrived = dt * inflow * gas.AIR_O2
        state.o2_in_mol += arrived
        state.o2_out_mol += before + arrived - dt * transferred - state.gas_o2_mol
        state.mass_kg += dt * transferred * _O2_KG_MOL
        return limitation

    def _carbon_dioxide(self, flow: _GasFlow, produced: float, dt: float) -> None:
        """Inorganic carbon in broth and headspace."""
        state = self.state
        inflow, outflow, total, dry = flow
        before = state.gas_co2_mol
        state.inorganic_mol, state.gas_co2_mol, released = gas.carbon_dioxide_step(
            state.inorganic_mol,
            before,
            gas_in=inflow * gas.AIR_CO2,
            gas_total=total,
            outflow=outflow,
            transfer_per_s=gas.carbon_dioxide_transfer(state.transfer_per_s),
            capacity=gas.carbon_dioxide_solubility(state.temperature_c) * dry * state.volume_l,
            free_share=acidity.free_share(state.ph),
            produced=produced,
            dt=dt,
        )
        state.carbon_release_mol_s = released
        arrived = dt * inflow * gas.AIR_CO2
        state.co2_in_mol += arrived
        state.co2_made_mol += dt * produced
        state.co2_out_mol += before + arrived + dt * released - state.gas_co2_mol
        state.mass_kg -= dt * released * _CO2_KG_MOL

    def truth(self) -> dict[str, float]:
        """What no instrument measures exactly, in everyday units."""
        state, strain = self.state, self.kinetics.strain
        volume = state.volume_l
        inflow, outflow, total, _ = self._gas_flow()
        return {
            "biomass_g_l": state.biomass_cmol * BIOMASS_G_CMOL / volume,
            "substrate_g_l": state.substrate_cmol * strain.substrate.g_cmol / volume,
            "growth_rate_per_h": state.growth_per_h,
            "oxygen_mmol_l": 1000.0 * state.oxygen_mol / volume,
            "do_percent": self.do_percent(),
            "ph": state.ph,
            "temperature_c": state.temperature_c,
            "jacket_c": state.jacket_c,
            "kla_per_h": 3600.0 * state.transfer_per_s,
            "oxygen_transfer_mmol_l_h": 3.6e6 * state.oxygen_transfer_mol_s / volume,
            "carbon_release_mmol_l_h": 3.6e6 * state.carbon_release_mol_s / volume,
            "off_gas_o2_percent": 100.0 * state.gas_o2_mol / total,
            "off_gas_co2_percent": 100.0 * state.gas_co2_mol / total,
            "exhaust_l_min": outflow * 60.0 * gas.MOLAR_VOLUME_L,
            "air_l_min": inflow * 60.0 * gas.MOLAR_VOLUME_L,
            "pressure_bar": state.pressure_bar,
            "agitation_rpm": state.agitation_rpm,
            "volume_l": volume,
            "mass_kg": state.mass_kg,
            "base_ml": state.base_ml,
            "feed_ml": state.feed_ml,
            "feed_ml_min": state.feed_ml_min,
            "sampled_ml": state.sampled_ml,
        }

    def do_percent(self) -> float:
        """Dissolved oxygen as a probe's partial pressure, in percent of what air-saturated medium had at calibration.

        Calibrated at the temperature of the broth and 1.013 bar: pressure in the headspace raises it above 100 %.
        """
        state = self.state
        partial = state.oxygen_mol / state.volume_l / gas.oxygen_solubility(state.temperature_c)
        calibrated = gas.AIR_O2 * (gas.CALIBRATION_BAR - gas.vapour_bar(state.temperature_c))
        return 100.0 * partial / calibrated

    def off_gas_percent(self) -> tuple[float, float]:
        """(O2, CO2) in the dried exhaust."""
        state, total = self.state, self._gas_flow().total
        return 100.0 * state.gas_o2_mol / total, 100.0 * state.gas_co2_mol / total
