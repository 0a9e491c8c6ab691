"""Twenty thousand ill replies on lines of text, which have no check sum: no foreign value is read by any driver.

The agent's own drivers in this process, many lines at a time, on simulated instruments whose value changes with every
scan. Rows 1 to 11 and 17, as far as a line of text can have them.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from lms_agent.buses.opening import make_bus
from lms_agent.clock import SystemClock
from lms_agent.drivers.choosing import make_driver
from lms_agent.settings.dialects.alicat import AlicatInstrument, AlicatPoint
from lms_agent.settings.dialects.ezo import EzoInstrument, EzoPoint
from lms_agent.settings.dialects.mt_sics import CommandPoint, MtSicsInstrument
from lms_agent.settings.dialects.watson_marlow import PumpPoint, WatsonMarlowInstrument
from lms_agent.settings.model import InstrumentSettings, SerialBus
from lms_firmware_sim.instruments.alicat_ascii import AlicatAscii
from lms_firmware_sim.instruments.ezo_ph import EzoPh
from lms_firmware_sim.instruments.flow_controller import FlowController, GasStream
from lms_firmware_sim.instruments.ph_electrode import PhElectrode
from lms_firmware_sim.instruments.watson_marlow import Pump
from lms_firmware_sim.wires import BalanceWire, Fault, FaultKind, TextWire
from support.ill_replies import IllReplies
from support.patience import awaiting
from support.proving import FaultRow

TIMEOUT_S = 0.03
LINES_AT_A_TIME = 32


def row_of(number: int, name: str, fault: Fault, *, quick: bool = False) -> Any:
    marks = [pytest.mark.fault(row=number), *([pytest.mark.quick] if quick else [])]
    return pytest.param(fault, marks=marks, id=name)


FAULTS = [
    row_of(1, "silence", Fault.silence(share=0.5)),
    row_of(2, "late", Fault.late(0.06)),
    row_of(2, "late at times", Fault.late(0.06, share=0.5)),
    row_of(2, "very late at times", Fault.late(0.25, share=0.3), quick=True),
    row_of(2, "later than many timeouts", Fault.late(0.6, share=0.2)),
    row_of(3, "shifted", Fault.shifted(), quick=True),
    row_of(4, "flipped bits", Fault.bad_crc(share=0.5)),
    row_of(5, "truncated", Fault.truncated(share=0.5)),
    row_of(6, "garbage before", Fault.garbage_before(share=0.5)),
    row_of(6, "garbage after", Fault.garbage_after(share=0.5)),
    row_of(7, "wrong unit", Fault.of(FaultKind.WRONG_UNIT, share=0.5)),
    row_of(8, "another command's reply", Fault.of(FaultKind.WRONG_FUNCTION, share=0.5)),
    row_of(9, "too few fields", Fault.of(FaultKind.WRONG_COUNT, share=0.5)),
    row_of(10, "busy", Fault.busy(share=0.5)),
    row_of(11, "echo", Fault.of(FaultKind.ECHO, share=0.5)),
    row_of(17, "one byte at a time", Fault.of(FaultKind.SLOW_BYTES, delay_s=0.02, share=0.3)),
]
ILL_REPLIES = 21_000 // len(FAULTS)
SEEDS = 8


@dataclass
class Truth:
    """What is measured, another value at each scan.

    Attributes:
        step: between two values; readings must be nearer than a third of it.
        count: values before they come again.
    """

    step: float
    count: int
    least: float = 0.0
    scan: int = 0

    @property
    def value(self) -> float:
        return self.least + self.step * (self.scan % self.count)


@dataclass
class Bench:
    """An instrument on its wire, and how the agent is told of it."""

    truth: Truth
    wire: Any
    settings: InstrumentSettings


@dataclass
class Tally:
    ill: int = 0
    scans: int = 0
    values: int = 0
    wrong: list[str] = field(default_factory=list)


def common(**more: Any) -> dict[str, Any]:
    return {"id": "i", "bus": "line", "bioreactor": "R1", **more}


def balance(seed: int) -> Bench:
    truth = Truth(0.01, 90_000)
    point = CommandPoint(tag="Weight/PV", unit="g")
    return Bench(
        truth,
        BalanceWire(lambda: truth.value, seed=seed),
        MtSicsInstrument(driver="mt-sics", **common(point=(point,))),
    )


def ezo(seed: int) -> Bench:
    truth = Truth(0.02, 500, least=2.0)
    circuit = EzoPh(
        PhElectrode(lambda: truth.value, lambda: 25.0, clock=lambda: 0.0),
        reading_s=0.0,
        setting_s=0.0,
        streaming_s=0.0,
    )
    point = EzoPoint(tag="pH/PV", field="pH")
    return Bench(truth, TextWire([circuit], seed=seed), EzoInstrument(driver="ezo", **common(point=(point,))))


def alicat(seed: int) -> Bench:
    truth = Truth(0.03, 150)
    stream = GasStream(lambda: truth.value, lambda: truth.value, lambda _: None, lambda: 1.2, temperature_c=23.0)
    instrument = AlicatAscii(FlowController(stream, full_scale_l_min=5.0))
    point = AlicatPoint(tag="Air/PV", field="mass_flow")
    return Bench(truth, TextWire([instrument], seed=seed), AlicatInstrument(driver="alicat", **common(point=(point,))))


def pump(seed: int) -> Bench:
    truth = Truth(0.3, 700)

    class Turning(Pump):
        """A pump whose speed is another one at each look."""

        def hear(self, command: str) -> Any:
            self.speed_rpm = truth.value
            return super().hear(command)

    point = PumpPoint(tag="Base/PV", field="speed")
    return Bench(
        truth,
        TextWire([Turning(number=1, clock=lambda: 0.0)], seed=seed),
        WatsonMarlowInstrument(driver="watson-marlow", **common(point=(point,))),
    )


BENCHES: tuple[Callable[[int], Bench], ...] = (balance, ezo, alicat, pump)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("fault", FAULTS)
async def test_nothing_foreign_is_read(fault: Fault, row: FaultRow, full: bool, chance: random.Random) -> None:
    lines = [(make, chance.randrange(1 << 32)) for make in BENCHES for _ in range(SEEDS if full else 1)]
    wanted = -(-ILL_REPLIES // len(lines)) if full else 12
    tally = Tally()
    free = asyncio.Semaphore(LINES_AT_A_TIME)

    async def one(make: Callable[[int], Bench], seed: int) -> None:
        async with free:
            await scan(make(seed), fault, wanted, tally)

    await asyncio.gather(*(one(make, seed) for make, seed in lines))
    row.injected, row.compared, row.wrong = tally.ill, tally.values, len(tally.wrong)
    row.notes.append(f"{tally.scans} scans gave {tally.values} values")
    assert not tally.wrong, tally.wrong[:10]


async def scan(bench: Bench, fault: Fault, wanted: int, tally: Tally) -> None:
    """Read one instrument until so many of its replies were ill."""
    replies = IllReplies(bench.wire)
    async with bench.wire as wire:
        settings = SerialBus(id="line", kind="serial", port=wire.address, timeout_s=TIMEOUT_S)
        line = make_bus(settings, SystemClock(), random.Random(1))
        driver = make_driver(bench.settings, line, [1])
        await until_read(driver)  # and set up, where the dialect wants that
        wire.fault = fault
        while replies.count < wanted:
            bench.truth.scan += 1
            tally.scans += 1
            for reading in (await driver.read()).readings:
                if reading.value is None:
                    continue
                tally.values += 1
                if abs(reading.value - bench.truth.value) > bench.truth.step / 3:
                    tally.wrong.append(f"{bench.settings.driver}: {reading.value}, not {bench.truth.value}")
        await line.close()
    tally.ill += replies.count


async def until_read(driver: Any) -> None:
    """Wait until a sound line gives a value; the first answers may come too late on a busy computer."""
    async with awaiting("a value of the sound line"):
        while not (await driver.read()).readings:
            pass
