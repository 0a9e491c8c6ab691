"""Masters on real wires, and instruments whose every word says when and where it was read."""

import random
from collections.abc import Callable

import pytest
from lms_agent.buses.modbus import ModbusMaster
from lms_agent.buses.opening import make_bus
from lms_agent.clock import SystemClock
from lms_agent.settings.model import ModbusRtuBus, ModbusTcpBus, SerialBus
from lms_firmware_sim.wires import ModbusTcpWire, RtuWire
from lms_firmware_sim.wires.wire import Wire
from support.stamped import Stamped

TIMEOUT_S = 0.03


@pytest.fixture
def stamped() -> type[Stamped]:
    return Stamped


@pytest.fixture
async def master_on():
    """`master_on(wire, timeout_s=…)`: the agent's own master on a simulated wire; closed after the test."""
    masters = []

    def connect(wire: Wire, timeout_s: float = TIMEOUT_S, **more) -> ModbusMaster:
        if isinstance(wire, ModbusTcpWire):
            more.setdefault("zero_transactions", wire.zero_transactions)
            settings = ModbusTcpBus(
                id="b", kind="modbus-tcp", host=wire.host, port=wire.port, timeout_s=timeout_s, **more
            )
        elif isinstance(wire, RtuWire):
            settings = ModbusRtuBus(
                id="b", kind="modbus-rtu", port=wire.address, timeout_s=timeout_s, baud=115200, **more
            )
        else:
            settings = SerialBus(id="b", kind="serial", port=wire.address, timeout_s=timeout_s, **more)
        master = make_bus(settings, SystemClock(), random.Random(1))
        masters.append(master)
        return master

    yield connect
    for master in masters:
        await master.close()


@pytest.fixture
def wire_of() -> Callable[..., Wire]:
    """`wire_of("rtu" | "tcp" | "tcp-zero", *units)`: an unlaid wire with stamped units."""

    def make(kind: str, *units: Stamped, seed: int = 0) -> Wire:
        maps = {unit.unit: unit.registers for unit in units}
        if kind == "rtu":
            return RtuWire(maps, seed=seed)
        return ModbusTcpWire(maps, seed=seed, zero_transactions=kind == "tcp-zero")

    return make
