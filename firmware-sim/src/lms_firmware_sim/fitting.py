"""The instruments of a plant, fitted to its bioreactors: built from the description, by the name of their wire.

One that is alone on its wire has the wire's name; those that share one have its name and their address: `line/A`.
What they keep without power (calibration, settings, where a probe was put) is part of the plant's saved state.
Neighbours: `simulated` lays the wires on which they speak.
"""

import zlib
from collections.abc import Callable, Mapping, Sized
from typing import Any, Protocol, TypeVar

from lms_firmware_sim.errors import StateError, UnknownProbe
from lms_firmware_sim.instruments.alicat_ascii import AlicatAscii
from lms_firmware_sim.instruments.alicat_modbus import AlicatRegisters
from lms_firmware_sim.instruments.ezo_do import EzoDo
from lms_firmware_sim.instruments.ezo_ph import EzoPh
from lms_firmware_sim.instruments.flow_controller import FlowController, GasStream
from lms_firmware_sim.instruments.hamilton_do import HamiltonDo
from lms_firmware_sim.instruments.hamilton_ph import HamiltonPh
from lms_firmware_sim.instruments.immersion import Immersion, Quantity, number
from lms_firmware_sim.instruments.mettler_m80 import MettlerM80
from lms_firmware_sim.instruments.oxygen_optode import OxygenOptode
from lms_firmware_sim.instruments.ph_electrode import PhElectrode
from lms_firmware_sim.instruments.watson_marlow import Pump
from lms_firmware_sim.instruments.wear import Sensor, age, restore_age, wear
from lms_firmware_sim.plants.description import Plant
from lms_firmware_sim.plants.registers import (
    AlicatRegistersDescription,
    HamiltonDoDescription,
    HamiltonPhDescription,
    RegisterInstrument,
)
from lms_firmware_sim.plants.text_wires import (
    AlicatDescription,
    EzoDoDescription,
    EzoPhDescription,
    PumpDescription,
    TextWireDescription,
    WatsonMarlowDescription,
)
from lms_firmware_sim.plants.wires import BalanceDescription, ModbusRtuDescription, ModbusTcpDescription
from lms_firmware_sim.wires.registers import RegisterMap
from lms_firmware_sim.wires.text_wire import TextInstrument


class Vessel(Protocol):
    """What an instrument feels and acts on: `SimulatedPlant`."""

    def feel(self, bioreactor: str, tag: str) -> float:
        """The present value of a bioreactor's tag, in the tag's unit."""

    def act(self, bioreactor: str, tag: str, value: float) -> None:
        """Write a set point; raises SetPointRefused."""


class Kept(Protocol):
    """An instrument that keeps something without power."""

    def to_json(self) -> dict[str, Any]:
        """What it keeps, as JSON would hold it."""

    def restore(self, saved: dict[str, Any]) -> None:
        """The inverse; raises StateError."""


_PAN_RESPONSE_S = 0.5
_COUNTED = frozenset({"pulses"})
_Kept = TypeVar("_Kept", bound=Kept)


class FittedInstruments:
    """All instruments of a plant that are more than plain registers and a balance.

    Args:
        plant: its description.
        vessel: what they feel and act on.
        clock: seconds since 1970 UTC.

    Attributes:
        on_text_wires: the instruments of each text wire, by the wire's id.
        registers: the registers of each Modbus instrument, by the wire's id and its unit.
        probes: where each probe is, by the instrument's name.
    """

    def __init__(self, plant: Plant, vessel: Vessel, clock: Callable[[], float]) -> None:
        self._vessel = vessel
        self._clock = clock
        self._kept: dict[str, Kept] = {}
        self._sensors: dict[str, Sensor] = {}
        self.probes: dict[str, Immersion] = {}
        for wire in plant.wire:
            if isinstance(wire, BalanceDescription):
                self.probes[wire.id] = self._pan(wire)
        self.on_text_wires: dict[str, list[TextInstrument]] = {
            wire.id: self._on_text_wire(wire) for wire in plant.wire if isinstance(wire, TextWireDescription)
        }
        self.registers: dict[tuple[str, int], RegisterMap] = {
            (wire.id, unit.unit): self._with_registers(
                _name(wire.id, unit.unit, wire.unit), unit.unit, unit.bioreactor, unit.instrument
            )
            for wire in plant.wire
            if isinstance(wire, ModbusTcpDescription | ModbusRtuDescription)
            for unit in wire.unit
            if unit.instrument is not None
        }

    def _on_text_wire(self, wire: TextWireDescription) -> list[TextInstrument]:
        match wire:
            case EzoPhDescription():
                electrode = self._electrode(wire.id, wire.bioreactor, wire.slope_percent, wire.offset_mv)
                return [self._keep(wire.id, EzoPh(electrode, streaming_s=wire.streaming_s))]
            case EzoDoDescription():
                probe = self._optode(wire.id, wire.bioreactor, wire.gain, wire.zero_percent)
                return [self._keep(wire.id, EzoDo(probe, streaming_s=wire.streaming_s))]
            case AlicatDescription():
                return [
                    AlicatAscii(
                        self._flow_controller(
                            _name(wire.id, each.unit, wire.controller),
                            each.bioreactor,
                            each.full_scale_l_min,
                            each.zero_l_min,
                        ),
                        unit=each.unit,
                    )
                    for each in wire.controller
                ]
            case WatsonMarlowDescription():
                return [self._keep(_name(wire.id, each.number, wire.pump), self._pump(each)) for each in wire.pump]
            case _:
                raise AssertionError(wire.kind)

    def _with_registers(self, name: str, unit: int, bioreactor: str, described: RegisterInstrument) -> RegisterMap:
        match described:
            case AlicatRegistersDescription():
                return AlicatRegisters(
                    self._flow_controller(name, bioreactor, described.full_scale_l_min, described.zero_l_min)
                )
            case HamiltonDoDescription():
                probe = self._optode(name, bioreactor, described.gain, described.zero_percent)
                return self._keep(name, HamiltonDo(probe, device=unit))
            case _:
                electrode = self._electrode(name, bioreactor, described.slope_percent, described.offset_mv)
                if isinstance(described, HamiltonPhDescription):
                    return self._keep(name, HamiltonPh(electrode, device=unit))
                return MettlerM80(electrode)

    def _electrode(self, name: str, bioreactor: str, slope_percent: float, offset_mv: float) -> PhElectrode:
        electrode = PhElectrode(
            lambda: self._vessel.feel(bioreactor, "pH/PV"),
            lambda: self._vessel.feel(bioreactor, "pH/Temperature"),
            slope_percent=slope_percent,
            offset_mv=offset_mv,
            clock=self._clock,
            seed=_seed(name),
        )
        self.probes[name] = electrode.immersion
        self._sensors[name] = electrode
        return electrode

    def _optode(self, name: str, bioreactor: str, gain: float, zero_percent: float) -> OxygenOptode:
        probe = OxygenOptode(
            lambda: self._vessel.feel(bioreactor, "DO/PV"),
            lambda: self._vessel.feel(bioreactor, "DO/Temperature"),
            gain=gain,
            zero_percent=zero_percent,
            clock=self._clock,
            seed=_seed(name),
        )
        self.probes[name] = probe.immersion
        self._sensors[name] = probe
        return probe

    def _flow_controller(self, name: str, bioreactor: str, full_scale: float, zero: float) -> FlowController:
        stream = GasStream(
            flow_l_min=lambda: self._vessel.feel(bioreactor, "AirFlow/PV"),
            set_point_l_min=lambda: self._vessel.feel(bioreactor, "AirFlow/SP"),
            write_set_point=lambda value: self._vessel.act(bioreactor, "AirFlow/SP", value),
            pressure_bar=lambda: self._vessel.feel(bioreactor, "Pressure/PV"),
        )
        return self._keep(name, FlowController(stream, full_scale_l_min=full_scale, zero_l_min=zero))

    def _pump(self, described: PumpDescription) -> Pump:
        return Pump(**described.model_dump(exclude={"bioreactor"}), clock=self._clock)

    def _pan(self, described: BalanceDescription) -> Immersion:
        """The pan of a balance: the vessel stands on it, until somebody puts a weight there instead."""

        def instead(place: str) -> dict[str, float] | None:
            weight_g = number(place, 0.0, 2.0 * described.capacity_g)
            return None if weight_g is None else {"weight_g": weight_g}

        return Immersion(
            {
                "weight_g": Quantity(
                    lambda: 1000.0 * self._vessel.feel(described.bioreactor, "Weight/PV"), _PAN_RESPONSE_S
                )
            },
            instead,
            allowed="or a weight in g such as 250",
            clock=self._clock,
        )

    def _keep(self, name: str, instrument: _Kept) -> _Kept:
        self._kept[name] = instrument
        return instrument

    def place(self, name: str, place: str) -> None:
        """Put a probe somewhere: into its vessel, a buffer, air.

        Raises:
            UnknownProbe: there is no such probe.
            PlaceRefused: there is no such place for it.
        """
        if name not in self.probes:
            raise UnknownProbe(name, list(self.probes))
        self.probes[name].move(place)

    def places(self) -> dict[str, str]:
        """Where each probe is, by the instrument's name."""
        return {name: probe.place for name, probe in self.probes.items()}

    def wear(self, name: str, changes: Mapping[str, float]) -> None:
        """Let a probe grow old, break it, or make it new.

        Raises:
            UnknownProbe: there is no such probe.
            WearRefused: it cannot be so old.
        """
        if name not in self._sensors:
            raise UnknownProbe(name, list(self._sensors))
        wear(self._sensors[name], changes)

    def ages(self) -> dict[str, dict[str, float]]:
        """How old each probe is, by the instrument's name."""
        return {name: age(sensor) for name, sensor in self._sensors.items()}

    def told(self) -> dict[str, Any]:
        """What somebody told them: all that they keep but what they count by themselves."""
        saved = self.to_json()
        kept = {
            name: {key: value for key, value in part.items() if key not in _COUNTED}
            for name, part in saved["kept"].items()
        }
        return saved | {"kept": kept}

    def to_json(self) -> dict[str, Any]:
        """What all instruments keep, where the probes are and how old, as JSON would hold it."""
        kept = {name: each.to_json() for name, each in self._kept.items()}
        return {"kept": kept, "places": self.places(), "ages": self.ages()}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """The inverse of `to_json`.

        Raises:
            StateError: there is something of an instrument that is not here, or a part is damaged. An instrument of
                which nothing was saved begins afresh.
        """
        kept, places, ages = (saved.get(part, {}) for part in ("kept", "places", "ages"))
        if not all(isinstance(part, dict) for part in (kept, places, ages)):
            raise StateError("its instruments are no JSON objects")
        if not (set(kept) <= set(self._kept) and set(places) <= set(self.probes) and set(ages) <= set(self._sensors)):
            raise StateError("its instruments are not those of this plant")
        for name, part in kept.items():
            if not isinstance(part, dict):
                raise StateError(f"instrument {name} is no JSON object")
            self._kept[name].restore(part)
        for name, place in places.items():
            self.probes[name].restore(place)
        for name, saved_age in ages.items():
            restore_age(self._sensors[name], saved_age)


def _name(wire: str, address: int | str, on_wire: Sized) -> str:
    """The name of an instrument: its wire's where it is alone, else with its address."""
    return wire if len(on_wire) == 1 else f"{wire}/{address}"


def _seed(name: str) -> int:
    """A seed that belongs to the name, so that another instrument in the plant changes nothing for this one."""
    return zlib.crc32(name.encode())
