"""Instruments that keep their calibration themselves are told it as their profile says, once."""

from contextlib import asynccontextmanager

import pytest
from lms_agent.bench import AFTER, BEFORE, BenchClosed, NotObeyed, NotTaken, NotTold, UnknownTag, opened
from lms_agent.clock import SystemClock
from lms_agent.errors import InstrumentRefused, WrongInstrument
from lms_firmware_sim.instruments.ezo_ph import EzoPh
from lms_firmware_sim.instruments.hamilton_do import HamiltonDo
from lms_firmware_sim.instruments.hamilton_ph import HamiltonPh
from lms_firmware_sim.instruments.oxygen_optode import OxygenOptode
from lms_firmware_sim.instruments.ph_electrode import PhElectrode
from lms_firmware_sim.wires import Fault, RtuWire, TextWire
from support.one_reactor import settings_of

LINE = """
[[bus]]
id = "line"
kind = "{kind}"
port = "{port}"
[[instrument]]
id = "probe"
bus = "line"
bioreactor = "R1"
profile = "{profile}"
{more}
"""


class Buffer:
    """What the electrode stands in."""

    ph = 7.0


class Hasty(SystemClock):
    """Waits for nothing that a step has to be waited for."""

    async def sleep(self, seconds):
        await super().sleep(0)


@pytest.fixture
def bench_on(tmp_path):
    @asynccontextmanager
    async def start(kind, wire, profile, more=""):
        text = LINE.format(kind=kind, port=wire.address, profile=profile, more=more)
        settings = settings_of(tmp_path, text)
        async with opened(settings, settings.instruments, Hasty()) as bench:
            yield bench

    return start


def electrode(buffer):
    now = iter(range(0, 10**9, 10_000))  # long enough for every drift to end
    return PhElectrode(lambda: buffer.ph, lambda: 25.0, slope_percent=92.0, offset_mv=12.0, clock=lambda: next(now))


async def test_hamilton_is_calibrated_with_the_rights_that_this_wants(bench_on):
    buffer = Buffer()
    sensor = HamiltonPh(electrode(buffer))
    async with RtuWire({1: sensor}) as wire, bench_on("modbus-rtu", wire, "hamilton-arc-ph") as bench:
        with pytest.raises(InstrumentRefused):
            await bench.tell("R1", "pH/PV", "CP2", 7.0)  # as User nobody may
        await bench.tell("R1", "pH/PV", BEFORE)
        await bench.tell("R1", "pH/PV", "CP2", 7.0)
        buffer.ph = 4.01
        await bench.tell("R1", "pH/PV", "CP1", 4.01)
        await bench.tell("R1", "pH/PV", AFTER)
        assert await bench.slope_percent("R1", "pH/PV") is None, "a sensor does not say it"
        assert sensor.counts == {"CP1": 1, "CP2": 1}
        assert sensor.calibration.acid_percent == pytest.approx(92.0, abs=0.5)


async def test_what_the_sensor_does_not_take_is_told_in_its_words(bench_on):
    buffer = Buffer()
    sensor = HamiltonPh(electrode(buffer))
    async with RtuWire({1: sensor}) as wire, bench_on("modbus-rtu", wire, "hamilton-arc-ph") as bench:
        await bench.tell("R1", "pH/PV", BEFORE)
        await bench.tell("R1", "pH/PV", "CP2", 7.0)
        with pytest.raises(NotTaken, match="the instrument did not take 'CP1': CP1: "):
            await bench.tell("R1", "pH/PV", "CP1", 10.01)  # but it stands in pH 7
        buffer.ph = 10.01
        await bench.tell("R1", "pH/PV", "CP1", 10.01)


async def test_circuit_is_told_the_value_that_the_bottle_says(bench_on):
    buffer = Buffer()
    circuit = EzoPh(electrode(buffer), reading_s=0.0, setting_s=0.0, streaming_s=0.0)
    async with TextWire([circuit]) as wire, bench_on("serial", wire, "atlas-ezo-ph") as bench:
        await bench.tell("R1", "pH/PV", "mid", 7.01)
        buffer.ph = 4.0
        await bench.tell("R1", "pH/PV", "low")
        assert [point.ph for point in circuit.points.values()] == [7.01, 4.0]
        assert await bench.slope_percent("R1", "pH/PV") == pytest.approx(92.0, abs=0.5)


@pytest.mark.parametrize(
    ("tag", "part", "value", "words"),
    [
        ("pH/PV", "middle", None, "no reference 'middle'; it has mid, low, high"),
        ("pH/PV", "mid", 4.0, "is 6 to 8, not 4"),
    ],
)
async def test_what_the_procedure_does_not_know_is_not_sent(bench_on, tag, part, value, words):
    circuit = EzoPh(electrode(Buffer()), reading_s=0.0, setting_s=0.0, streaming_s=0.0)
    async with TextWire([circuit]) as wire, bench_on("serial", wire, "atlas-ezo-ph") as bench:
        with pytest.raises(NotTold, match=words):
            await bench.tell("R1", tag, part, value)
        with pytest.raises(UnknownTag):
            await bench.tell("R2", tag, part, value)
        assert circuit.points == {}


class Deaf(EzoPh):
    """A circuit that hears a calibration and is never heard again."""

    def __init__(self, fall_silent, *arguments, **settings):
        super().__init__(*arguments, **settings)
        self.heard = []
        self.fall_silent = fall_silent

    def calibrate(self, arguments):
        self.heard.append(arguments)
        self.fall_silent()
        return super().calibrate(arguments)


async def test_silence_is_doubt_and_nothing_is_told_twice(bench_on):
    def fall_silent():
        wire.fault = Fault.silence()

    circuit = Deaf(fall_silent, electrode(Buffer()), reading_s=0.0, setting_s=0.0, streaming_s=0.0)
    async with TextWire([circuit]) as wire, bench_on("serial", wire, "atlas-ezo-ph") as bench:
        with pytest.raises(NotObeyed, match="not known whether the instrument took 'mid'"):
            await bench.tell("R1", "pH/PV", "mid")
        assert circuit.heard == [["mid", "7.00"]]
        await bench.close()
        with pytest.raises(BenchClosed):
            await bench.tell("R1", "pH/PV", "mid")


async def test_sensor_took_a_reference_though_it_also_tells_of_a_product_calibration(bench_on):
    """The word of a pH sensor is one for all its points; bits of the sample say nothing of a buffer."""
    sensor = HamiltonPh(electrode(Buffer()))
    async with RtuWire({1: sensor}) as wire, bench_on("modbus-rtu", wire, "hamilton-arc-ph") as bench:
        await bench.tell("R1", "pH/PV", BEFORE)
        sensor.calibration_status = 0x3000000
        await bench.tell("R1", "pH/PV", "CP2", 7.0)
        assert sensor.counts["CP2"] == 1


async def test_word_that_nobody_understands_is_doubt(bench_on):
    sensor = HamiltonPh(electrode(Buffer()))
    async with RtuWire({1: sensor}) as wire, bench_on("modbus-rtu", wire, "hamilton-arc-ph") as bench:
        await bench.tell("R1", "pH/PV", BEFORE)
        sensor.calibration_status = 0x20000000
        with pytest.raises(NotObeyed, match="status bits 0x20000000, whose meaning is not known"):
            await bench.tell("R1", "pH/PV", "CP2", 7.0)
        assert sensor.counts["CP2"] == 1


async def test_line_that_falls_silent_before_the_sensor_says_whether_it_took_it_is_doubt(bench_on, monkeypatch):
    sensor = HamiltonPh(electrode(Buffer()))
    async with RtuWire({1: sensor}) as wire, bench_on("modbus-rtu", wire, "hamilton-arc-ph") as bench:
        await bench.tell("R1", "pH/PV", BEFORE)

        async def fall_silent(_self, _seconds):
            wire.fault = Fault.silence()

        monkeypatch.setattr(Hasty, "sleep", fall_silent)
        with pytest.raises(NotObeyed, match="not known whether the instrument took 'CP2'"):
            await bench.tell("R1", "pH/PV", "CP2", 7.0)
        assert sensor.counts["CP2"] == 1


async def test_another_model_that_was_plugged_in_meanwhile_is_told_nothing(bench_on):
    ph = HamiltonPh(electrode(Buffer()))
    async with RtuWire({1: ph}) as wire, bench_on("modbus-rtu", wire, "hamilton-arc-ph") as bench:
        assert await bench.value("R1", "pH/PV") is not None
        wire.units[1] = HamiltonDo(OxygenOptode(lambda: 40.0, lambda: 37.0, clock=lambda: 0.0))
        with pytest.raises(WrongInstrument):
            await bench.tell("R1", "pH/PV", BEFORE)
        assert not [request for request in wire.requests if request.function in (6, 16)]
