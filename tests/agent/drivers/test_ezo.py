"""EZO circuits: set up before they are believed, and never believed without."""

from dataclasses import replace

import pytest
from lms_agent.drivers import ezo
from lms_agent.errors import InstrumentRefused, NotWritable, ReplyRefused, ReplyTimeout, WrongInstrument
from lms_agent.settings.dialects.ezo import EzoInstrument, EzoPoint
from lms_firmware_sim.instruments.ezo import EzoError
from lms_firmware_sim.instruments.ezo_do import EzoDo
from lms_firmware_sim.instruments.ezo_ph import EzoPh
from lms_firmware_sim.instruments.oxygen_optode import OxygenOptode
from lms_firmware_sim.instruments.ph_electrode import PhElectrode
from lms_firmware_sim.wires import Fault, TextWire
from lms_firmware_sim.wires.text_wire import Reply
from lms_protocol.reading import Quality
from support.patience import until

QUICK = {"reading_s": 0.0, "setting_s": 0.0, "streaming_s": 0.0}
PH = EzoPoint(tag="pH/PV", field="pH", minimum=0.0, maximum=14.0)
PERCENT, MG = EzoPoint(tag="DO/PV", field="DO.%"), EzoPoint(tag="DO/Mg", field="DO.mg")
TEMPERATURE = EzoPoint(tag="pH/Temp", field="temperature", access="write")


class Vessel:
    """A vessel whose pH the test sets."""

    ph, oxygen = 6.5, 40.0


def ph_circuit(vessel, **settings):
    return EzoPh(PhElectrode(lambda: vessel.ph, lambda: 25.0, clock=lambda: 0.0), **{**QUICK, **settings})


def oxygen_circuit(vessel, **settings):
    return EzoDo(OxygenOptode(lambda: vessel.oxygen, lambda: 25.0, clock=lambda: 0.0), **{**QUICK, **settings})


async def test_streaming_circuit_is_silenced_and_read(speaking):
    async with TextWire([ph_circuit(Vessel(), streaming_s=0.02)]) as wire:
        driver = speaking(EzoInstrument, wire, PH)
        (first,) = (await driver.read()).readings
        (second,) = (await driver.read()).readings
    assert (first.tag, first.value, first.quality) == (100, pytest.approx(6.5, abs=0.002), Quality.GOOD)
    assert second.value == pytest.approx(6.5, abs=0.002)
    assert wire.instruments[0].streaming_s == 0.0


@pytest.mark.parametrize("lost", ["6.50", "6500"])
async def test_reading_that_lost_a_digit_or_its_point_is_refused(speaking, lost):
    class Lossy(EzoPh):
        loses = False

        def reading(self):
            return lost if self.loses else "6.500"

    circuit = Lossy(PhElectrode(lambda: 6.5, lambda: 25.0, clock=lambda: 0.0), **QUICK)
    async with TextWire([circuit]) as wire:
        driver = speaking(EzoInstrument, wire, PH)
        assert [reading.value for reading in (await driver.read()).readings] == [6.5]
        circuit.loses = True
        ((_, error),) = (await driver.read()).failures
        assert "fewer decimals than before: a digit or the point was lost" in str(error)
        circuit.loses = False
        assert [reading.value for reading in (await driver.read()).readings] == [6.5]


async def test_temperature_is_told_with_every_reading(speaking):
    async with TextWire([ph_circuit(Vessel())]) as wire:
        driver = speaking(EzoInstrument, wire, PH, temperature_c=37.0)
        assert len((await driver.read()).readings) == 1
        assert wire.instruments[0].temperature_c == 37.0


async def test_older_firmware_with_capitals_and_without_the_switch_for_codes_is_read(speaking):
    class Older(EzoPh):
        def hear(self, command):
            if command == "*OK,1":
                return Reply.of("*ER")
            reply = super().hear(command)
            first = reply.lines[0]
            return Reply.of(first.upper().replace("PH", "pH") if first.startswith("?") else first, *reply.lines[1:])

    circuit = Older(PhElectrode(lambda: 6.5, lambda: 25.0, clock=lambda: 0.0), **QUICK)
    async with TextWire([circuit]) as wire:
        driver = speaking(EzoInstrument, wire, PH, TEMPERATURE)
        assert [reading.value for reading in (await driver.read()).readings] == [pytest.approx(6.5, abs=0.002), 25.0]


async def test_both_outputs_are_switched_on_and_told_apart(speaking):
    async with TextWire([oxygen_circuit(Vessel())]) as wire:
        driver = speaking(EzoInstrument, wire, PERCENT, MG)
        percent, mg = (reading.value for reading in (await driver.read()).readings)
    assert percent == pytest.approx(40.0, abs=0.2)
    assert mg == pytest.approx(3.3, abs=0.1)
    assert wire.instruments[0].shows == {"mg": True, "%": True}


async def test_output_that_somebody_switches_off_is_noticed(speaking):
    async with TextWire([oxygen_circuit(Vessel())]) as wire:
        driver = speaking(EzoInstrument, wire, PERCENT, MG)
        await driver.read()
        wire.instruments[0].shows["mg"] = False
        ((tags, error),) = (await driver.read()).failures
        assert tags == (100, 101)
        assert isinstance(error, ReplyRefused)
        assert len((await driver.read()).readings) == 2


async def test_circuit_of_another_kind_is_refused(speaking):
    async with TextWire([oxygen_circuit(Vessel())]) as wire:
        ((_, error),) = (await speaking(EzoInstrument, wire, PH).read()).failures
    assert isinstance(error, WrongInstrument)
    assert "says it is an EZO circuit for DO, which is no EZO circuit for pH" in str(error)


async def test_restart_and_silence_are_survived(speaking):
    """After a restart the circuit streams again and compensates for 25 °C; the next scans notice and set it up."""
    async with TextWire([ph_circuit(Vessel())]) as wire:
        driver = speaking(EzoInstrument, wire, PH, temperature_c=37.0, timeout_s=0.1)
        await driver.read()
        wire.fault = Fault.silence()
        ((_, error),) = (await driver.read()).failures
        assert isinstance(error, ReplyTimeout)
        wire.fault = None
        wire.instruments[0].streaming_s = 0.01
        wire.instruments[0]._power_up("*RS", "*RE")
        for _ in range(5):
            outcome = await driver.read()
            if outcome.readings:
                break
        assert [reading.value for reading in outcome.readings] == [pytest.approx(6.5, abs=0.03)]
        assert (wire.instruments[0].streaming_s, wire.instruments[0].temperature_c) == (0.0, 37.0)


async def test_restart_between_two_scans_costs_no_reading_and_is_noticed(speaking, line_on):
    """`*RS *RE` that nobody asked for: another circuit may have been plugged in, with other outputs."""
    async with TextWire([oxygen_circuit(Vessel())]) as wire:
        line = line_on(wire)
        driver = speaking(EzoInstrument, line, PERCENT)
        await driver.read()
        circuit = wire.instruments[0]
        circuit.shows = {"mg": True, "%": False}
        circuit._power_up("*RS", "*RE")
        await until(lambda: len(line._stream.received) == 8)
        (reading,) = (await driver.read()).readings
    assert reading.value == pytest.approx(40.0, abs=0.2)


async def test_circuit_on_a_port_that_was_opened_again_is_asked_what_it_is(speaking, line_on):
    async with TextWire([oxygen_circuit(Vessel())]) as wire:
        line = line_on(wire)
        driver = speaking(EzoInstrument, line, PERCENT)
        await driver.read()
        line._stream.close()
        wire.instruments[0].shows = {"mg": True, "%": False}
        (reading,) = (await driver.read()).readings
    assert reading.value == pytest.approx(40.0, abs=0.2)


async def test_refusal_is_told(speaking):
    class Old(EzoPh):
        """Firmware that does not know `RT`."""

        def _carry_out(self, name, arguments):
            if name == "rt":
                raise EzoError
            return super()._carry_out(name, arguments)

    circuit = Old(PhElectrode(lambda: 6.5, lambda: 25.0, clock=lambda: 0.0), **QUICK)
    async with TextWire([circuit]) as wire:
        ((_, error),) = (await speaking(EzoInstrument, wire, PH, temperature_c=37.0).read()).failures
    assert isinstance(error, InstrumentRefused)
    assert "answers error *ER" in str(error)


async def test_temperature_is_written_and_read_back(speaking):
    async with TextWire([ph_circuit(Vessel())]) as wire:
        driver = speaking(EzoInstrument, wire, PH, TEMPERATURE)
        written = await driver.write(1, 37.257)
        assert written == (True, 37.26, 37.26, "")
        assert [reading.value for reading in (await driver.read()).readings] == [pytest.approx(6.48, abs=0.05), 37.26]
        with pytest.raises(NotWritable):
            await driver.write(0, 7.0)
        with pytest.raises(NotWritable, match="is not within"):
            await driver.write(1, 5000.0)


async def test_write_without_confirmation_is_in_doubt_and_read_back(speaking):
    async with TextWire([ph_circuit(Vessel())]) as wire:
        driver = speaking(EzoInstrument, wire, PH, TEMPERATURE, timeout_s=0.1)
        await driver.read()
        wire.fault = Fault.silence(times=1)
        written = await driver.write(1, 30.0)
    assert (written.confirmed, written.sent, written.read_back) == (False, 30.0, 30.0)
    assert "no reply on" in written.doubt


async def test_void_write_is_not_sent(speaking):
    def void():
        raise LookupError

    async with TextWire([ph_circuit(Vessel())]) as wire:
        driver = speaking(EzoInstrument, wire, PH, TEMPERATURE)
        with pytest.raises(LookupError):
            await driver.write(1, 30.0, void)
        assert wire.instruments[0].temperature_c == 25.0


@pytest.fixture
def quick_circuit(monkeypatch):
    """Nobody waits for the time that a circuit needs: this one needs none."""
    monkeypatch.setattr(ezo, "READING_S", {"pH": 0.0})
    monkeypatch.setattr(ezo, "_PROBES", tuple(replace(command, takes_s=0.0) for command in ezo._PROBES))
    for name in ("_CODES", "_SILENT", "_IDENTITY"):
        monkeypatch.setattr(ezo, name, replace(getattr(ezo, name), takes_s=0.0))


@pytest.mark.usefixtures("quick_circuit")
async def test_no_fault_becomes_a_value(speaking, fault_kind):
    vessel = Vessel()
    async with TextWire([ph_circuit(vessel)], seed=7) as wire:
        driver = speaking(EzoInstrument, wire, PH, timeout_s=0.04)
        for number in range(15):
            wire.fault = None if number < 2 else Fault.of(fault_kind, delay_s=0.1, share=0.5)
            vessel.ph = 4.0 + number / 10
            for reading in (await driver.read()).readings:
                assert reading.value == pytest.approx(vessel.ph, abs=0.002)
