"""The instruments of a plant, fitted to its bioreactors: built from the description, by the name of their wire.

Instruments that share a wire have its name and their own address: `line/1`. What they keep without power (calibration,
settings, where a probe was put) is part of the plant's saved state. Neighbours: `simulated` lays the wires on which
they speak.
"""

import zlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

from lms_firmware_sim.errors import StateError, UnknownProbe
from lms_firmware_sim.instruments.ezo_do import EzoDo
from lms_firmware_sim.instruments.ezo_ph import EzoPh
from lms_firmware_sim.instruments.immersion import Immersion
from lms_firmware_sim.instruments.oxygen_optode import OxygenOptode
from lms_firmware_sim.instruments.ph_electrode import PhElectrode
from lms_firmware_sim.plants.description import Plant
from lms_firmware_sim.plants.text_wires import EzoDoDescription, EzoPhDescription, TextWireDescription
from lms_firmware_sim.wires.text_wire import TextInstrument

Clock: TypeAlias = Callable[[], float]
Feel: TypeAlias = Callable[[str, str], float]
"""Gives the present value of a bioreactor's tag: (bioreactor, tag) → value in the tag's unit."""


class Kept(Protocol):
    """An instrument that keeps something without power."""

    def to_json(self) -> dict[str, Any]:
        """What it keeps, as JSON would hold it."""

    def restore(self, saved: dict[str, Any]) -> None:
        """The inverse; raises StateError."""


class FittedInstruments:
    """All instruments of a plant that are more than plain registers and a balance.

    Args:
        plant: its description.
        feel: gives the present value of a bioreactor's tag.
        clock: seconds since 1970 UTC.

    Attributes:
        on_text_wires: the instruments of each text wire, by the wire's id.
        probes: where each probe is, by the instrument's name.
    """

    def __init__(self, plant: Plant, feel: Feel, clock: Clock) -> None:
        self._feel = feel
        self._clock = clock
        self._kept: dict[str, Kept] = {}
        self.probes: dict[str, Immersion] = {}
        self.on_text_wires = {
            wire.id: [self._text_instrument(wire)] for wire in plant.wire if isinstance(wire, TextWireDescription)
        }

    def _text_instrument(self, described: EzoPhDescription | EzoDoDescription) -> TextInstrument:
        circuit = self._ezo_ph(described) if isinstance(described, EzoPhDescription) else self._ezo_do(described)
        self._kept[described.id] = circuit
        self.probes[described.id] = circuit.immersion
        return circuit

    def _ezo_ph(self, described: EzoPhDescription) -> EzoPh:
        electrode = PhElectrode(
            lambda: self._feel(described.bioreactor, "pH/PV"),
            lambda: self._feel(described.bioreactor, "pH/Temperature"),
            slope_percent=described.slope_percent,
            offset_mv=described.offset_mv,
            clock=self._clock,
            seed=_seed(described.id),
        )
        return EzoPh(electrode, streaming_s=described.streaming_s)

    def _ezo_do(self, described: EzoDoDescription) -> EzoDo:
        probe = OxygenOptode(
            lambda: self._feel(described.bioreactor, "DO/PV"),
            lambda: self._feel(described.bioreactor, "DO/Temperature"),
            gain=described.gain,
            zero_percent=described.zero_percent,
            clock=self._clock,
            seed=_seed(described.id),
        )
        return EzoDo(probe, streaming_s=described.streaming_s)

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

    def to_json(self) -> dict[str, Any]:
        """What all instruments keep, as JSON would hold it."""
        return {name: instrument.to_json() for name, instrument in self._kept.items()}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """The inverse of `to_json`.

        Raises:
            StateError: an instrument is missing, or its part is damaged.
        """
        if set(saved) != set(self._kept):
            raise StateError("its instruments are not those of this plant")
        for name, instrument in self._kept.items():
            if not isinstance(saved[name], dict):
                raise StateError(f"instrument {name} is no JSON object")
            instrument.restore(saved[name])


def _seed(name: str) -> int:
    """A seed that belongs to the name, so that another instrument in the plant changes nothing for this one."""
    return zlib.crc32(name.encode())
