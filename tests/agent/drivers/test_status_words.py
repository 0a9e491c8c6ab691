"""A value is worth what the words beside it say, and nothing in another unit than expected."""

import random

import pytest
from lms_agent.buses.opening import make_bus
from lms_agent.buses.wire_time import TCP
from lms_agent.clock import SystemClock
from lms_agent.drivers.block_planning import plan_blocks
from lms_agent.drivers.choosing import make_driver
from lms_agent.drivers.status_words import StatusJudge
from lms_agent.errors import InstrumentRefused, ReplyTimeout, ValueDisowned
from lms_agent.settings.dialects.modbus import ModbusInstrument, RegisterPoint
from lms_agent.settings.model import ModbusTcpBus
from lms_firmware_sim.wires import Fault, ModbusTcpWire, RegisterMap
from lms_protocol.instruments.registers import RegisterBlock, StatusCondition, StatusMeaning, StatusWord, UnitCode
from lms_protocol.reading import Quality

OK, WARNING, FAILED, STRANGE = 0, 1, 2, 8
STATUS = StatusWord(
    address=4,
    kind="uint32",
    word_order="little",
    condition=[
        StatusCondition(mask=1, quality="uncertain", words="calibrate it"),
        StatusCondition(mask=2, quality="bad", words="the sensor has failed"),
    ],
)
UNIT = UnitCode(
    address=0,
    kind="uint32",
    word_order="little",
    expected=0x1000,
    name=[{"code": 0x1000, "unit": "pH"}, {"code": 0x4, "unit": "°C"}],
)
PH = RegisterPoint(tag="pH/PV", address=2, kind="float32", word_order="little", status=STATUS, unit_code=UNIT)
PLAIN = RegisterPoint(tag="T/PV", address=20, kind="int16")


def laid_out(value=7.25, status=OK, unit=0x1000, **more) -> RegisterMap:
    registers = RegisterMap(**more)
    registers.put(0, unit, "uint32", word_order="little")
    registers.put(2, value, "float32", word_order="little")
    registers.put(4, status, "uint32", word_order="little")
    registers.put(20, 372, "int16")
    return registers


@pytest.fixture
async def reading():
    """`reading(registers, *points, fault=None, **instrument)`: what one pass over the instrument comes to."""
    buses = []

    async def read(registers, *points, fault=None, writing=None, **instrument):
        async with ModbusTcpWire({1: registers}) as wire:
            settings = ModbusTcpBus(id="b", kind="modbus-tcp", host=wire.host, port=wire.port, timeout_s=0.5)
            bus = make_bus(settings, SystemClock(), random.Random(1))
            buses.append(bus)
            model = ModbusInstrument(id="i", bus="b", bioreactor="R1", point=points, **instrument)
            driver = make_driver(model, bus, range(100, 100 + len(points)))
            wire.fault = fault
            outcome = await driver.read() if writing is None else await driver.write(0, writing)
            wire_requests.append([(each.address, each.count) for each in wire.requests])
            return outcome

    wire_requests: list[list[tuple[int, int]]] = []
    read.requests = wire_requests
    yield read
    for bus in buses:
        await bus.close()


async def test_sound_value_with_its_words_takes_one_request(reading):
    outcome = await reading(laid_out(), PH)
    ((tag, _, value, quality),) = outcome.readings
    assert (tag, value, quality) == (100, 7.25, Quality.GOOD)
    assert (outcome.failures, outcome.remarks) == ([], {})
    assert reading.requests == [[(0, 6)]]


@pytest.mark.parametrize(
    ("status", "words"),
    [(WARNING, "calibrate it"), (STRANGE, "status bits 0x8, whose meaning is not known")],
)
async def test_doubtful_value_is_kept_flagged_and_remarked_on(status, words, reading):
    outcome = await reading(laid_out(status=status), PH, PLAIN)
    by_tag = {each.tag: each for each in outcome.readings}
    assert (by_tag[100].value, by_tag[100].quality) == (7.25, Quality.UNCERTAIN)
    assert by_tag[101].quality is Quality.GOOD
    assert outcome.remarks == {100: words}


async def test_bad_value_is_disowned_in_words_and_does_not_hide_others(reading):
    outcome = await reading(laid_out(status=FAILED | WARNING), PH, PLAIN)
    assert [each.tag for each in outcome.readings] == [101]
    ((tags, error),) = outcome.failures
    assert tags == (100,)
    assert isinstance(error, ValueDisowned)
    assert "says of pH/PV: calibrate it; the sensor has failed" in str(error)


@pytest.mark.parametrize(("unit", "name"), [(0x4, "°C"), (0x20, "a unit of code 0x20")])
async def test_value_in_another_unit_is_refused(unit, name, reading):
    outcome = await reading(laid_out(unit=unit), PH)
    assert outcome.readings == []
    ((_, error),) = outcome.failures
    assert f"it is in {name}, not in pH; set the instrument back" in str(error)


async def test_out_of_range_and_doubtful_is_the_worse_of_both(reading):
    ranged = PH.model_copy(update={"maximum": 7.0})
    for status, quality in ((OK, Quality.UNCERTAIN), (WARNING, Quality.UNCERTAIN)):
        ((_, _, value, found),) = (await reading(laid_out(status=status), ranged)).readings
        assert (value, found) == (7.25, quality)


async def test_words_far_away_are_read_in_the_same_scan(reading):
    registers = laid_out()
    registers.put(300, WARNING, "uint16")
    far = PH.model_copy(update={"status": STATUS.model_copy(update={"address": 300, "kind": "uint16"})})
    outcome = await reading(registers, far)
    assert [each.quality for each in outcome.readings] == [Quality.UNCERTAIN]
    assert reading.requests == [[(0, 4), (300, 1)]]


async def test_value_whose_word_cannot_be_read_is_not_believed(reading):
    far = PH.model_copy(update={"status": STATUS.model_copy(update={"address": 400})})
    outcome = await reading(laid_out(), far, PLAIN)
    assert [each.tag for each in outcome.readings] == [101]
    ((tags, error),) = outcome.failures
    assert tags == (100,)
    assert isinstance(error, InstrumentRefused)


async def test_silence_concerns_each_tag_once(reading):
    far = PH.model_copy(update={"status": STATUS.model_copy(update={"address": 400})})
    outcome = await reading(laid_out(), PLAIN, far, fault=Fault.silence())
    ((tags, error),) = outcome.failures
    assert sorted(tags) == [100, 101]
    assert isinstance(error, ReplyTimeout)


async def test_nothing_is_written_in_another_unit(reading):
    settable = PH.model_copy(update={"access": "write"})
    registers = laid_out(unit=0x4)
    with pytest.raises(ValueDisowned, match="it is in °C, not in pH"):
        await reading(registers, settable, writing=6.0)
    assert registers.tables["holding"][3] == laid_out().tables["holding"][3]
    assert (await reading(laid_out(), settable, writing=6.0)).read_back == 6.0


def test_blocks_that_an_instrument_gives_only_whole_are_read_whole_and_alone():
    points = [
        PH.model_copy(update={"address": 12, "status": STATUS.model_copy(update={"address": 14}), "unit_code": None}),
        PLAIN.model_copy(update={"address": 9}),
        PLAIN.model_copy(update={"address": 20}),
    ]
    model = ModbusInstrument(
        id="i", bus="b", bioreactor="R1", point=points, block=[RegisterBlock(address=10, count=10)], largest_block=8
    )
    planned = plan_blocks(model, TCP)
    assert [(each.address, each.count, each.points) for each in planned] == [
        (9, 1, (1,)),
        (10, 10, (0,)),
        (20, 1, (2,)),
    ]


@pytest.mark.parametrize(
    ("word", "quality", "words"),
    [
        (0x00, Quality.GOOD, ""),
        (0x10, Quality.UNCERTAIN, "warming up"),
        (0x20, Quality.BAD, "broken"),
        (0x30, Quality.GOOD, ""),
        (0x100, Quality.GOOD, ""),
        (0x01, Quality.BAD, "status bits 0x1, whose meaning is not known"),
    ],
)
def test_fields_of_several_bits_masks_and_unknown_bits(word, quality, words):
    meaning = StatusMeaning(
        mask=0xFF,
        condition=[
            StatusCondition(mask=0x30, equals=0x10, quality="uncertain", words="warming up"),
            StatusCondition(mask=0x30, equals=0x20, quality="bad", words="broken"),
        ],
        otherwise="bad",
    )
    judge = StatusJudge(meaning)
    assert judge.judge(word) == judge.judge(word) == (quality, words)
