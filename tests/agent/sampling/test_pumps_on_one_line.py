"""Several pumps share a line of text: one that is dead, or late, costs the others less than a twentieth, and no value.

The real line, drivers and sampling, in virtual time; the pumps are the simulator's.
"""

import asyncio
import contextlib
import random

import pytest
from lms_agent.buses.backoff import Backoff
from lms_agent.buses.byte_stream import ByteStream
from lms_agent.buses.text_line import TextLine
from lms_agent.drivers.watson_marlow import WatsonMarlow
from lms_agent.sampling.outlet import Outlet
from lms_agent.sampling.sampling import sample_line
from lms_agent.sampling.watching import WatchedInstrument
from lms_agent.settings.dialects.watson_marlow import PumpPoint, WatsonMarlowInstrument
from lms_firmware_sim.instruments.watson_marlow import Pump
from simulation.loop import VirtualLoop

MINUTES = 20
ANSWER_S = 0.06  # 45 characters at 9600 baud, and the pump's own time


class LoopClock:
    def __init__(self, loop):
        self.loop = loop

    def wall_ms(self):
        return 1_800_000_000_000 + round(1000 * self.loop.time())

    def monotonic_s(self):
        return self.loop.time()

    async def sleep(self, seconds):
        await asyncio.sleep(max(seconds, 0.0))


class PumpLine(ByteStream):
    """Pumps behind a port; `late_s` says how late each answers, None: never."""

    def __init__(self, loop, pumps, late_s):
        super().__init__("pumps", LoopClock(loop))
        self.loop, self.pumps, self.late_s = loop, pumps, late_s

    async def open(self):
        self._opened()

    def _release(self):
        pass

    def write(self, data):
        for pump in self.pumps:
            reply = pump.hear(data.decode().rstrip("\r"))
            late_s = self.late_s.get(pump.unit, 0.0)
            if reply is not None and late_s is not None:
                self.loop.call_later(ANSWER_S + late_s, self._feed, reply.lines[0].encode() + b"\r")


def readings_by_pump(late_s):
    """Read five pumps once a second for a while: the speeds read of each. Each turns at its number times 10."""
    loop = VirtualLoop(random.Random(1))
    pumps = [Pump(number=number, clock=loop.time) for number in range(1, 6)]
    for pump in pumps:
        pump.speed_rpm = 10.0 * pump.unit
    line = TextLine(PumpLine(loop, pumps, late_s), timeout_s=1.0, silence_s=1.0, chance=random.Random(1))
    clock, gap_ids = LoopClock(loop), iter(range(1, 10**9)).__next__
    found = {pump.unit: [] for pump in pumps}
    watched = []
    for number in found:
        point = PumpPoint(tag="Pump/SP", field="speed")
        settings = WatsonMarlowInstrument(
            id=f"pump-{number}", bus="b", bioreactor=f"R{number}", driver="watson-marlow", unit=number, point=(point,)
        )
        driver = WatsonMarlow(settings, line, [number])
        backoff = Backoff(1.0, 10.0, random.Random(number))
        watched.append(
            WatchedInstrument(
                settings.id, f"R{number}", 1.0, [number], driver, clock=clock, backoff=backoff, next_gap_id=gap_ids
            )
        )

    async def keep(scan):
        for reading in scan.readings:
            if reading.value is not None:
                found[reading.tag].append(reading.value)

    async def run():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(sample_line(watched, Outlet(keep, gap_ids), clock), 60.0 * MINUTES)

    loop.run_until_complete(run())
    loop.close()
    return found


@pytest.mark.parametrize("late_s", [None, 1.3], ids=["dead", "late"])
def test_dead_or_late_pump_leaves_the_others_their_rate(late_s):
    found = readings_by_pump({3: late_s})
    for number, speeds in found.items():
        assert set(speeds) <= {10.0 * number}
        assert len(speeds) >= (0 if number == 3 else 0.95 * 60 * MINUTES), f"pump {number}"


def test_healthy_pumps_are_all_read_every_second():
    found = readings_by_pump({})
    assert {len(speeds) for speeds in found.values()} <= {60 * MINUTES, 60 * MINUTES - 1}
