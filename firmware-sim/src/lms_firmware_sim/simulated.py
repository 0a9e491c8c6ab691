"""A plant on its wires, in process: bioreactors that follow the clock, and the wires that show them.

    async with SimulatedPlant(load_plant(file)) as plant:
        plant.wires["str-1"].address      # 127.0.0.1:41234
        plant.wires["str-2"].fault = Fault.silence(unit=2)

Neighbours: the command `lms-sim serve`, and the tests of everything that reads instruments.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lms_firmware_sim.bioreactors import make_bioreactor
from lms_firmware_sim.bound import BoundUnit
from lms_firmware_sim.errors import StateError
from lms_firmware_sim.fitting import FittedInstruments
from lms_firmware_sim.plants.description import Plant
from lms_firmware_sim.plants.text_wires import TextWireDescription
from lms_firmware_sim.plants.wires import BalanceDescription, ModbusRtuDescription, Unit, WireDescription
from lms_firmware_sim.wires import BalanceWire, ModbusTcpWire, RegisterMap, RtuWire, TextWire, Wire

STATE_VERSION = 2
_RESTLESS_G_PER_MIN = 1.0
"""What moves faster on a balance is no stable weight."""


class SimulatedPlant:
    """A plant, from its description, on real wires.

    Args:
        plant: what stands there.
        started_at: when it was first started (aware); ages in the description count back from here. None: now.
        wires_dir: folder for the links to pseudo-terminals (`<wires_dir>/<wire id>`); None: only links that the
            description names itself.
        clock: seconds since 1970 UTC.

    Raises:
        RecordingError: a recorded run cannot be used.

    Attributes:
        bioreactors: by id.
        wires: by id.
        instruments: those that are more than plain registers, with what they keep.
    """

    def __init__(
        self,
        plant: Plant,
        *,
        started_at: datetime | None = None,
        wires_dir: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.plant = plant
        self.started_at = started_at or datetime.fromtimestamp(clock(), UTC)
        self._clock = clock
        self._wires_dir = wires_dir
        self._stack = AsyncExitStack()
        self.bioreactors = {described.id: make_bioreactor(described, self.started_at) for described in plant.bioreactor}
        self.instruments = FittedInstruments(plant, self, clock)
        self.wires: dict[str, Wire] = {}

    def feel(self, bioreactor: str, tag: str) -> float:
        """What an instrument feels: the present value of a bioreactor's tag, in the tag's unit."""
        simulated = self.bioreactors[bioreactor]
        simulated.advance_to(self._clock())
        return simulated.reading(tag)

    def act(self, bioreactor: str, tag: str, value: float) -> None:
        """What an instrument does: write a set point of a bioreactor.

        Raises:
            SetPointRefused: it is beyond its limits.
        """
        simulated = self.bioreactors[bioreactor]
        simulated.advance_to(self._clock())
        simulated.write(tag, value)

    def advance(self) -> None:
        """Bring every bioreactor up to now."""
        now = self._clock()
        for bioreactor in self.bioreactors.values():
            bioreactor.advance_to(now)

    async def start(self) -> None:
        """Bring the bioreactors up to now and lay the wires.

        Raises:
            WireStartError: a wire cannot be laid; those already laid are taken away.
        """
        self.advance()
        self.wires = {described.id: self._wire(described) for described in self.plant.wire}
        async with AsyncExitStack() as stack:
            for wire in self.wires.values():
                await stack.enter_async_context(wire)
            self._stack = stack.pop_all()

    async def stop(self) -> None:
        """Take the wires away."""
        await self._stack.aclose()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def addresses(self) -> dict[str, str]:
        """Where each wire is: wire id → `host:port` or terminal."""
        return {name: wire.address for name, wire in self.wires.items()}

    def _wire(self, described: WireDescription) -> Wire:
        if isinstance(described, BalanceDescription):
            return self._balance(described)
        if isinstance(described, TextWireDescription):
            return TextWire(
                self.instruments.on_text_wires[described.id],
                link=self._link(described.id, described.link),
                baud=described.baud,
                pace=described.pace,
                echo=described.echo,
                name=described.id,
            )
        units = {unit.unit: self._unit(described.id, unit) for unit in described.unit}
        if isinstance(described, ModbusRtuDescription):
            return RtuWire(
                units,
                link=self._link(described.id, described.link),
                baud=described.baud,
                pace=described.pace,
                name=described.id,
            )
        return ModbusTcpWire(units, host=described.host, port=described.port, name=described.id)

    def _unit(self, wire: str, unit: Unit) -> RegisterMap:
        if unit.instrument is not None:
            return self.instruments.registers[wire, unit.unit]
        simulated = self.bioreactors[unit.bioreactor]
        return BoundUnit(unit, simulated, lambda: simulated.advance_to(self._clock())).registers

    def _balance(self, described: BalanceDescription) -> BalanceWire:
        pan = self.instruments.probes[described.id]
        return BalanceWire(
            lambda: pan.value("weight_g"),
            is_stable=lambda: pan.drift_per_min("weight_g") < _RESTLESS_G_PER_MIN,
            unit_shown=described.unit_shown,
            capacity_g=described.capacity_g,
            decimals=described.decimals,
            serial_number=described.serial_number,
            link=self._link(described.id, described.link),
            baud=described.baud,
            pace=described.pace,
            name=described.id,
        )

    def _link(self, wire: str, link: str | None) -> Path | None:
        if link is not None:
            return Path(link)
        return None if self._wires_dir is None else self._wires_dir / wire

    def told(self) -> dict[str, Any]:
        """What clients told it, and what must not be lost: set points as written, calibrations, settings."""
        written = {name: dict(bioreactor.controller.written) for name, bioreactor in self.bioreactors.items()}
        return {"set_points": written, "instruments": self.instruments.told()}

    def to_json(self) -> dict[str, Any]:
        """All that changes, as JSON would hold it."""
        return {
            "version": STATE_VERSION,
            "plant": self.plant.plant.name,
            "started_at": self.started_at.isoformat(),
            "bioreactors": {name: bioreactor.to_json() for name, bioreactor in self.bioreactors.items()},
            "instruments": self.instruments.to_json(),
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `to_json` gave, for the same plant and the same start.

        Raises:
            StateError: it belongs to another plant, description or start, or is damaged. Nothing is changed then.
        """
        if saved.get("version") != STATE_VERSION or saved.get("plant") != self.plant.plant.name:
            raise StateError("it belongs to another plant or version")
        bioreactors = saved.get("bioreactors")
        if not isinstance(bioreactors, dict) or set(bioreactors) != set(self.bioreactors):
            raise StateError("its bioreactors are not those of this plant")
        fresh = {described.id: make_bioreactor(described, self.started_at) for described in self.plant.bioreactor}
        for name, bioreactor in fresh.items():
            if not isinstance(bioreactors[name], dict):
                raise StateError(f"bioreactor {name} is no JSON object")
            bioreactor.restore(bioreactors[name])
        instruments = FittedInstruments(self.plant, self, self._clock)
        instruments.restore(saved.get("instruments", {}))
        self.bioreactors, self.instruments = fresh, instruments
