"""Alicats: read by the table of their frame, told apart by their letters, set and read back."""

import pytest
from lms_agent.drivers import alicat
from lms_agent.drivers.alicat_frames import NoLayout, fits, frame_pattern, layout_of, quality_by
from lms_agent.errors import InstrumentRefused, NotWritable, ReplyRefused
from lms_agent.settings.dialects.alicat import AlicatInstrument, AlicatPoint
from lms_firmware_sim.errors import SetPointRefused
from lms_firmware_sim.instruments.alicat_ascii import AlicatAscii
from lms_firmware_sim.instruments.flow_controller import FlowController, GasStream
from lms_firmware_sim.wires import Fault, TextWire
from lms_protocol.reading import Quality

FLOW = AlicatPoint(tag="Air/PV", field="mass_flow", unit="SLPM")
SET = AlicatPoint(tag="Air/SP", field="set_point", access="write")
GAS = AlicatPoint(tag="Air/Gas", field="gas")
PRESSURE = AlicatPoint(tag="Air/P", field="pressure", unit="psi")

TABLE = b"""\
A D00 ID_ NAME______________________ TYPE_______ WIDTH NOTES___________________
A D01 700 Unit ID                    string          1
A D02 002 Abs Press                  s decimal     7/2 010 02 PSIA
A D03 003 Flow Temp                  s decimal     7/2 002 02 `C
A D04 004 Volu Flow                  s decimal     7/2 012 02 CCM
A D05 005 Mass Flow                  s decimal     7/2 012 02 SCCM
A D06 037 Mass Flow Setpt            s decimal     7/2 012 02 SCCM
A D07 703 Gas                        string          6
A D08 701 *Error                     string          3 ADC
A D09 702 *Status                    string          3 OPL
"""
"""As firmware 6 to 10 describe a controller (the status rows cut short)."""

OLD_TABLE = b"""\
B  D00 NAME_______ TYPE_____ MinVal_  MaxVal_  UNITS__
B  D01 Unit ID     char         A         Z         na
B  D02 Pressure    signed    +000.00  +100.00     PSIA
B  D03 Temperature signed    -010.00  +050.00        C
B  D04 Volumetric  signed    +00.000  +05.000      LPM
B  D05 Mass        signed    +00.000  +05.000     SLPM
B  D06 SetPoint    signed    +00.000  +05.000     SLPM
B  D07 Gas         string        Air       D2       na
B  D08 Error       string         na      ADC       na
B  D09 Status      string         na      MOV       na
"""
"""As firmware 5 does."""


class Gas:
    """Gas that flows as it is told, at once."""

    def __init__(self):
        self.flow, self.most = 1.5, 4.0

    def write(self, value):
        if value > self.most:
            raise SetPointRefused("Air/SP", value, 0.0, self.most)
        self.flow = value

    def controller(self):
        stream = GasStream(lambda: self.flow, lambda: self.flow, self.write, lambda: 1.2, temperature_c=23.0)
        return FlowController(stream, full_scale_l_min=5.0)


def test_table_of_a_real_controller_is_understood():
    columns = layout_of(TABLE.split(b"\n"))
    assert [(column.field, column.unit, column.decimals) for column in columns] == [
        ("pressure", "PSIA", 2),
        ("temperature", "`C", 2),
        ("volumetric_flow", "CCM", 2),
        ("mass_flow", "SCCM", 2),
        ("set_point", "SCCM", 2),
        ("gas", "", 0),
    ]
    match = frame_pattern("A", columns).fullmatch(b"A +014.62 +025.50 +050.00 +048.10 -000.20    Air MOV LCK")
    assert match is not None
    assert (match["c3"], match["c4"], match["c5"], match["words"].split()) == (
        b"+048.10",
        b"-000.20",
        b"Air",
        [b"MOV", b"LCK"],
    )


def test_table_of_old_firmware_is_understood():
    columns = layout_of(OLD_TABLE.split(b"\n"))
    assert [(column.field, column.unit, column.decimals) for column in columns] == [
        ("pressure", "PSIA", 2),
        ("temperature", "C", 2),
        ("volumetric_flow", "LPM", 3),
        ("mass_flow", "SLPM", 3),
        ("set_point", "SLPM", 3),
        ("gas", "", 0),
    ]
    match = frame_pattern("B", columns).fullmatch(b"B +014.52 +021.50 +00.001 +00.002 01.163      N2")
    assert match is not None
    assert (match["c4"], match["c5"]) == (b"01.163", b"N2")


async def test_number_that_lost_a_digit_is_refused(speaking):
    class Lossy(AlicatAscii):
        loses = False

        def frame(self):
            return super().frame().replace("+001.500", "+01.500", self.loses)

    async with TextWire([Lossy(Gas().controller())]) as wire:
        driver = speaking(AlicatInstrument, wire, FLOW)
        await driver.read()
        wire.instruments[0].loses = True
        ((_, error),) = (await driver.read()).failures
        assert "or a digit was lost" in str(error)


@pytest.mark.parametrize("lost", range(1, 9))
def test_table_with_a_lost_row_is_refused(lost):
    rows = TABLE.split(b"\n")
    with pytest.raises(NoLayout, match=f"row {lost} of its frame"):
        layout_of(rows[:lost] + rows[lost + 1 :])


def test_status_words_concern_what_they_are_about():
    assert quality_by(["MOV"], "mass_flow") is Quality.UNCERTAIN
    assert quality_by(["MOV", "LCK"], "pressure") is Quality.GOOD
    assert quality_by(["XYZ"], "pressure") is Quality.UNCERTAIN, "a word that nobody knows"
    assert quality_by(["MOV", "ADC"], "pressure") is Quality.BAD


@pytest.mark.parametrize(
    ("label", "unit", "good"),
    [
        ("SLPM", "SLPM", True),
        ("SLPM", "slpm", True),
        ("SLPM", "L/min", True),
        ("SLPM", "mL/min", False),
        ("SCCM", "mL/min", True),
        ("`C", "°C", True),
        ("`F", "°C", False),
        ("SLPM", "", True),
    ],
)
def test_units_must_fit(label, unit, good):
    assert fits(label, unit) is good


async def test_several_share_a_line(speaking, line_on):
    one, other = Gas(), Gas()
    other.flow = 0.25
    async with TextWire([AlicatAscii(one.controller()), AlicatAscii(other.controller(), unit="B")]) as wire:
        line = line_on(wire)
        a = speaking(AlicatInstrument, line, FLOW, SET, GAS, PRESSURE)
        b = speaking(AlicatInstrument, line, FLOW, unit="B")
        outcome = await a.read()
        assert outcome.failures == []
        assert [reading.value for reading in outcome.readings] == [1.5, 1.5, "Air", 17.405]
        assert [reading.value for reading in (await b.read()).readings] == [0.25]


async def test_unit_of_another_size_is_refused(speaking):
    async with TextWire([AlicatAscii(Gas().controller())]) as wire:
        wrong = AlicatPoint(tag="Air/PV", field="mass_flow", unit="mL/min")
        outcome = await speaking(AlicatInstrument, wire, wrong, SET).read()
    assert [reading.tag for reading in outcome.readings] == [101]
    ((tags, error),) = outcome.failures
    assert tags == (100,)
    assert "it gives mass_flow in SLPM, but Air/PV is configured in 'mL/min'" in str(error)


async def test_units_changed_at_the_display_are_noticed_by_the_decimals(speaking):
    class Switched(AlicatAscii):
        """From SLPM to SCCM: a thousand times the number, and one decimal."""

        switched = False

        def _describe_frame(self):
            rows = super()._describe_frame()
            return [row.replace("7/3 012 02 SLPM", "7/1 012 02 SCCM") for row in rows] if self.switched else rows

        def frame(self):
            return (
                super()
                .frame()
                .replace(" +001.500 +001.500", " +01500.0 +01500.0" if self.switched else " +001.500 +001.500")
            )

    async with TextWire([Switched(Gas().controller())]) as wire:
        driver = speaking(AlicatInstrument, wire, FLOW)
        assert [reading.value for reading in (await driver.read()).readings] == [1.5]
        wire.instruments[0].switched = True
        ((_, error),) = (await driver.read()).failures
        assert "other digits than before" in str(error)
        ((_, error),) = (await driver.read()).failures
        assert "it gives mass_flow in SCCM, but Air/PV is configured in 'SLPM'" in str(error)
        wire.instruments[0].switched = False
        assert [reading.value for reading in (await driver.read()).readings] == [1.5]


async def test_table_is_asked_again_when_the_port_was_opened_again(speaking, line_on):
    async with TextWire([AlicatAscii(Gas().controller())]) as wire:
        line = line_on(wire)
        driver = speaking(AlicatInstrument, line, FLOW)
        await driver.read()
        line._stream.close()
        assert len((await driver.read()).readings) == 1
        said = [request.function for request in wire.requests]
    assert said == ["A??D*", "A", "A", "A??D*", "A"]


async def test_flow_beyond_what_can_be_measured_is_uncertain(speaking):
    gas = Gas()
    async with TextWire([AlicatAscii(gas.controller())]) as wire:
        driver = speaking(AlicatInstrument, wire, FLOW, PRESSURE)
        gas.flow = 9.0
        flow, pressure = (await driver.read()).readings
    assert (flow.value, flow.quality) == (9.0, Quality.UNCERTAIN)
    assert pressure.quality is Quality.GOOD


async def test_set_point_is_written_confirmed_and_read_back(speaking):
    gas = Gas()
    async with TextWire([AlicatAscii(gas.controller())]) as wire:
        driver = speaking(AlicatInstrument, wire, FLOW, SET)
        assert await driver.write(1, 2.34567) == (True, 2.346, 2.346, "")
        assert gas.flow == 2.346
        with pytest.raises(InstrumentRefused, match=r"error \?"):
            await driver.write(1, 4.5)
        with pytest.raises(NotWritable):
            await driver.write(0, 1.0)


async def test_set_point_that_is_not_taken_over_is_in_doubt(speaking):
    gas = Gas()
    gas.write = lambda value: None  # its source is its own display
    async with TextWire([AlicatAscii(gas.controller())]) as wire:
        written = await speaking(AlicatInstrument, wire, SET).write(0, 3.0)
    assert (written.confirmed, written.sent, written.read_back) == (False, 3.0, 1.5)
    assert written.doubt == "its set point is 1.5 afterwards"


async def test_unanswered_set_point_is_sent_once_and_read_back(speaking):
    gas = Gas()
    async with TextWire([AlicatAscii(gas.controller())]) as wire:
        driver = speaking(AlicatInstrument, wire, SET, timeout_s=0.2)
        await driver.read()
        wire.fault = Fault.silence(times=1)
        written = await driver.write(0, 3.0)
        sent = [request.function for request in wire.requests]
    assert (written.confirmed, written.read_back) == (False, 3.0)
    assert "no reply from unit A" in written.doubt
    assert sent.count("AS3.000") == 1


async def test_no_fault_becomes_a_value(speaking, line_on, fault_kind, monkeypatch):
    monkeypatch.setattr(alicat, "_QUIET_S", 0.03)
    one, other = Gas(), Gas()
    wire = TextWire([AlicatAscii(one.controller()), AlicatAscii(other.controller(), unit="B")], seed=5)
    async with wire:
        line = line_on(wire, timeout_s=0.04)
        drivers = [speaking(AlicatInstrument, line, FLOW, unit=unit) for unit in "AB"]
        for number in range(6):
            wire.fault = None if number < 1 else Fault.of(fault_kind, delay_s=0.1, share=0.5)
            one.flow, other.flow = 1.0 + number / 100, 2.0 + number / 100
            for gas, driver in zip((one, other), drivers, strict=True):
                for reading in (await driver.read()).readings:
                    assert reading.value == pytest.approx(gas.flow, abs=0.0006)


async def test_frame_without_the_wanted_field_is_refused(speaking):
    class Meter(AlicatAscii):
        def _describe_frame(self):
            return [*[line for line in super()._describe_frame() if "Setpt" not in line][:-1], "A D06 703 Gas string 7"]

        def frame(self):
            fields = super().frame().split()
            return " ".join(fields[:5] + fields[6:])

    async with TextWire([Meter(Gas().controller())]) as wire:
        driver = speaking(AlicatInstrument, wire, FLOW, SET)
        outcome = await driver.read()
        assert [reading.value for reading in outcome.readings] == [1.5]
        assert isinstance(outcome.failures[0].error, ReplyRefused)
        assert "its data frame has no set_point, but pressure" in str(outcome.failures[0].error)
        with pytest.raises(NotWritable, match="it only measures"):
            await driver.write(1, 1.0)
