"""Whatever a line says, a driver gives a reading or an error of the instrument's, and never fails itself.

Any other exception would end the sampling of the line. Replies are made of what the instruments really say, damaged,
cut, swapped and mixed with noise, in virtual time.
"""

import contextlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lms_agent.buses.byte_stream import ByteStream
from lms_agent.buses.text_line import TextLine
from lms_agent.clock import SystemClock
from lms_agent.drivers.choosing import make_driver
from lms_agent.drivers.driver import Written
from lms_agent.errors import InstrumentError
from lms_agent.settings.dialects.alicat import AlicatInstrument, AlicatPoint
from lms_agent.settings.dialects.ezo import EzoInstrument, EzoPoint
from lms_agent.settings.dialects.mt_sics import CommandPoint, MtSicsInstrument
from lms_agent.settings.dialects.watson_marlow import PumpPoint, WatsonMarlowInstrument
from lms_firmware_sim.instruments.alicat_ascii import AlicatAscii
from lms_firmware_sim.instruments.ezo_do import EzoDo
from lms_firmware_sim.instruments.flow_controller import FlowController, GasStream
from lms_firmware_sim.instruments.oxygen_optode import OxygenOptode
from lms_firmware_sim.instruments.watson_marlow import Pump
from lms_firmware_sim.wires import BalanceWire
from simulation.loop import VirtualLoop

COMMON = {"id": "i", "bus": "b", "bioreactor": "R1", "period_s": 5.0}
EZO_SAID = [b"*OK\r", b"*ER\r", b"?i,DO,2.15\r*OK\r", b"?O,%,mg\r*OK\r", b"7.82,96.4\r*OK\r", b"?C,0\r*OK\r", b"*RE\r"]
EZO_SAID += [b"?T,37.0\r*OK\r", b"?i,pH,2.1\r*OK\r", b"no output\r*OK\r"]
ALICAT_SAID = [
    b"A D00 ID_ NAME TYPE WIDTH NOTES\rA D01 700 Unit ID                    string          1\r"
    b"A D02 005 Mass Flow                  s decimal     7/3 012 02 SLPM\r"
    b"A D03 037 Mass Flow Setpt            s decimal     7/3 012 02 SLPM\r\r",
    b"A D00 ID_ NAME TYPE WIDTH NOTES\rA D01 703 Gas                        string          6\r",
    b"A +001.500 +002.000\r",
    b"A +001.500 +002.000 MOV ADC\r",
    b"A +014.62 +025.50 +050.00 +048.10 +050.00    Air\r",
    b"?\r",
    b"A M00 Alicat Scientific\r",
]
PUMP_SAID = [b"520Du 15.84 520R 9.6MM 220.0 CW P/N 1 123 1 !\r", b"323Du 110 CCW 0 !\r", b"1\r", b"1234\r"]
BALANCE_SAID = [
    b"S S     100.00 g\r\n",
    b"S D     100.00 g\r\n",
    b"S +\r\n",
    b"S I\r\n",
    b"ES\r\n",
    b"TA A      12.50 g\r\n",
]
BALANCE_SAID += [b"TA I\r\n", b"TA L\r\n", b'I4 A "B1"\r\n', b"S S  --1.-0.0. g\r\n", b"S S            g\r\n"]

DIALECTS = {
    "ezo": (
        EzoInstrument(
            driver="ezo",
            point=[
                EzoPoint(tag="DO/PV", field="DO.%"),
                EzoPoint(tag="DO/Temp", field="temperature", access="write"),
            ],
            **COMMON,
        ),
        EZO_SAID,
        (1, 37.0),
    ),
    "alicat": (
        AlicatInstrument(
            driver="alicat",
            point=[
                AlicatPoint(tag="Gas/PV", field="mass_flow", unit="SLPM"),
                AlicatPoint(tag="Gas/SP", field="set_point", access="write"),
            ],
            **COMMON,
        ),
        ALICAT_SAID,
        (1, 2.0),
    ),
    "watson-marlow": (
        WatsonMarlowInstrument(
            driver="watson-marlow",
            point=[PumpPoint(tag="P/SP", field="speed", access="write"), PumpPoint(tag="P/T", field="tacho")],
            **COMMON,
        ),
        PUMP_SAID,
        (0, 50.0),
    ),
    "mt-sics": (
        MtSicsInstrument(
            driver="mt-sics",
            point=[
                CommandPoint(tag="W/PV", unit="g"),
                CommandPoint(tag="W/Tare", unit="g", command="TA", access="write"),
            ],
            **COMMON,
        ),
        BALANCE_SAID,
        (1, 12.5),
    ),
}


def instruments():
    """Simulated ones, sound, by the driver that speaks with them."""
    oxygen = EzoDo(
        OxygenOptode(lambda: 40.0, lambda: 25.0, clock=lambda: 0.0), reading_s=0.0, setting_s=0.0, streaming_s=0.0
    )
    stream = GasStream(lambda: 1.5, lambda: 1.5, lambda value: None, lambda: 1.2)
    balance = BalanceWire(100.0)
    return {
        "ezo": oxygen,
        "alicat": AlicatAscii(FlowController(stream, full_scale_l_min=5.0)),
        "watson-marlow": Pump(number=1, clock=lambda: 0.0),
        "mt-sics": balance.balance,
    }


class Babble(ByteStream):
    """Answers each command soundly, or with the next of what it was given, some time later."""

    def __init__(self, loop, instrument, replies):
        super().__init__("babble", SystemClock())
        self.loop, self.instrument, self.replies = loop, instrument, list(replies)

    async def open(self):
        self._opened()

    def _release(self):
        pass

    def write(self, data):
        ill = self.replies.pop(0) if self.replies else None
        late_s, said = ill or (0.01, b"")
        reply = self.instrument.hear(data.decode().strip())
        if ill is None and reply is not None:
            said = b"".join(line.encode() + self.instrument.end for line in reply.lines)
        if said:
            self.loop.call_later(late_s, self._feed, said)


def replies(said):
    """Often what is asked for (None); else what is said at other times, whole, damaged, cut, doubled; or noise."""
    whole = st.sampled_from(said)
    damaged = st.tuples(whole, st.integers(0, 200), st.integers(0, 255)).map(
        lambda found: (
            found[0][: found[1] % len(found[0])] + bytes([found[2]]) + found[0][found[1] % len(found[0]) + 1 :]
        )
    )
    cut = st.tuples(whole, st.integers(0, 200)).map(lambda found: found[0][found[1] % len(found[0]) :])
    doubled = st.tuples(whole, whole).map(lambda found: found[0] + found[1])
    one = st.one_of(whole, whole, damaged, cut, doubled, st.binary(max_size=300))
    ill = st.tuples(st.sampled_from([0.01, 0.01, 1.4]), one)
    return st.lists(st.one_of(st.none(), st.none(), st.none(), ill), max_size=40)


@pytest.mark.parametrize("name", DIALECTS)
@settings(deadline=None, max_examples=250)
@given(data=st.data())
def test_driver_gives_readings_or_errors_of_the_instrument(name, data):
    settings_, said, (index, value) = DIALECTS[name]
    course = data.draw(replies(said))
    loop = VirtualLoop(random.Random(1))
    stream = Babble(loop, instruments()[name], course)
    line = TextLine(stream, timeout_s=1.0, silence_s=1.0, chance=random.Random(1))
    driver = make_driver(settings_, line, [100, 101])

    async def use():
        for _ in range(3):
            outcome = await driver.read()
            told = [reading.tag for reading in outcome.readings]
            told += [tag for failure in outcome.failures for tag in failure.tags]
            assert sorted(told) == [100, 101], "each tag is told of once"
            assert all(isinstance(failure.error, InstrumentError) for failure in outcome.failures)
            assert all(str(failure.error) for failure in outcome.failures)
            with contextlib.suppress(InstrumentError):
                assert isinstance(await driver.write(index, value), Written)

    try:
        loop.run_until_complete(use())
    finally:
        loop.close()
