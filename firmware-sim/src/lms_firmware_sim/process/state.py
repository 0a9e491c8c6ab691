"""Everything of a process that changes, as plain numbers, so that it can be saved exactly and restored."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from lms_firmware_sim.errors import StateError


@dataclass(slots=True)
class State:
    """The truth at one moment. Amounts are of the whole vessel: C-mol for carbon, mol for the rest.

    Attributes:
        volume_l, mass_kg: the broth.
        biomass_cmol, substrate_cmol: in the broth.
        oxygen_mol: dissolved.
        inorganic_mol: CO2 and bicarbonate in the broth.
        strong_mol: strong cations less strong anions in the broth.
        phosphate_mol: in the broth.
        ph: follows from the four before.
        gas_o2_mol, gas_co2_mol: in the headspace.
        pressure_bar: absolute, in the headspace.
        temperature_c, jacket_c: broth and jacket.
        agitation_rpm, air_l_min: as they turn and flow.
        feed_ml_min, base_ml_min: as they flow.
        fed_from_s: when feeding began, s after inoculation; None before.
        feed_start_ml_min: the feed at that time.
        transfer_per_s, oxygen_transfer_mol_s, carbon_release_mol_s: the last step's.
        growth_per_h: the last step's specific growth rate.
        base_ml, feed_ml, sampled_ml: pumped and drawn since the run's beginning.
        o2_in_mol, o2_out_mol, o2_used_mol, co2_in_mol, co2_out_mol, co2_made_mol: through the gas since the beginning.
        carbon_fed_cmol, carbon_sampled_cmol, oxygen_sampled_mol: with feed and samples since the beginning.
    """

    volume_l: float
    mass_kg: float
    biomass_cmol: float
    substrate_cmol: float
    oxygen_mol: float
    inorganic_mol: float
    strong_mol: float
    phosphate_mol: float
    ph: float
    gas_o2_mol: float
    gas_co2_mol: float
    pressure_bar: float
    temperature_c: float
    jacket_c: float
    agitation_rpm: float = 0.0
    air_l_min: float = 0.0
    feed_ml_min: float = 0.0
    base_ml_min: float = 0.0
    fed_from_s: float | None = None
    feed_start_ml_min: float = 0.0
    transfer_per_s: float = 0.0
    oxygen_transfer_mol_s: float = 0.0
    carbon_release_mol_s: float = 0.0
    growth_per_h: float = 0.0
    base_ml: float = 0.0
    feed_ml: float = 0.0
    sampled_ml: float = 0.0
    o2_in_mol: float = 0.0
    o2_out_mol: float = 0.0
    o2_used_mol: float = 0.0
    co2_in_mol: float = 0.0
    co2_out_mol: float = 0.0
    co2_made_mol: float = 0.0
    carbon_fed_cmol: float = 0.0
    carbon_sampled_cmol: float = 0.0
    oxygen_sampled_mol: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, exact when written with `repr` precision (as `json` does)."""
        return asdict(self)

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Self:
        """The inverse of `to_json`.

        Raises:
            StateError: names or numbers are not those of a state.
        """
        names = {field.name for field in fields(cls)}
        if set(saved) != names:
            raise StateError(f"it has other names: {', '.join(sorted(set(saved) ^ names))}")
        for name, value in saved.items():
            if not isinstance(value, int | float) and not (value is None and name == "fed_from_s"):
                raise StateError(f"{name} is {value!r}, not a number")
        return cls(**saved)
