"""Hamilton Arc sensors on an RTU line, read and calibrated by a client of another make, as their manual says."""

import pytest
from lms_firmware_sim.errors import StateError
from lms_firmware_sim.instruments.hamilton_do import HamiltonDo
from lms_firmware_sim.instruments.hamilton_ph import HamiltonPh
from lms_firmware_sim.instruments.oxygen_optode import OxygenOptode, saturation_mg_l
from lms_firmware_sim.instruments.ph_electrode import PhElectrode, nernst_mv_per_ph
from lms_firmware_sim.wires import RtuWire
from pymodbus.client import AsyncModbusSerialClient
from support.set_clocks import SetSeconds

USER, ADMINISTRATOR, SPECIALIST = (0x03, 0), (0x0C, 18_111_978), (0x30, 16_021_966)
LONG_S = 600.0


@pytest.fixture
def clock():
    return SetSeconds(1000.0)


@pytest.fixture
def ph(clock):
    """A sensor with an electrode of 92 % and 12 mV in a vessel of pH 6.5 and 37 °C."""
    return HamiltonPh(PhElectrode(lambda: 6.5, lambda: 37.0, slope_percent=92.0, offset_mv=12.0, clock=clock))


@pytest.fixture
def oxygen(clock):
    """A sensor that shows a tenth too little, in a vessel with 40 % and 37 °C."""
    return HamiltonDo(OxygenOptode(lambda: 40.0, lambda: 37.0, gain=0.9, zero_percent=0.8, clock=clock), device=2)


class Master:
    """pymodbus, with registers as the manual counts them."""

    def __init__(self, client) -> None:
        self.client = client

    async def words(self, register, count, unit=1):
        reply = await self.client.read_holding_registers(register - 1, count=count, device_id=unit)
        return reply.exception_code if reply.isError() else reply.registers

    async def values(self, register, kinds, unit=1):
        words = await self.words(register, 2 * len(kinds), unit)
        types = {"f": self.client.DATATYPE.FLOAT32, "u": self.client.DATATYPE.UINT32}
        return [
            self.client.convert_from_registers(words[2 * at : 2 * at + 2], types[kind], word_order="little")
            for at, kind in enumerate(kinds)
        ]

    async def write(self, register, *values, unit=1):
        """The exception code; 0 when it was taken."""
        words = []
        for value in values:
            kind = self.client.DATATYPE.FLOAT32 if isinstance(value, float) else self.client.DATATYPE.UINT32
            words += self.client.convert_to_registers(value, kind, word_order="little")
        return (await self.client.write_registers(register - 1, words, device_id=unit)).exception_code


@pytest.fixture
async def master(ph, oxygen):
    async with RtuWire({1: ph, 2: oxygen}) as wire:
        client = AsyncModbusSerialClient(wire.address, baudrate=19200, timeout=5)
        assert await client.connect()
        yield Master(client)
        client.close()


def put(sensor, clock, place):
    """Move the probe and wait until it has followed."""
    (sensor.electrode if isinstance(sensor, HamiltonPh) else sensor.probe).immersion.move(place)
    clock.now += LONG_S


async def test_channels_are_blocks_of_ten_and_nothing_less(master):
    unit, value, status, low, high = await master.values(2090, "ufuff")
    wrong = 7.0 + (-12.0 + 0.92 * nernst_mv_per_ph(37.0) * -0.5) / nernst_mv_per_ph(37.0)
    assert (unit, status, low, high) == (0x1000, 0, 0.0, 14.0)
    assert value == pytest.approx(wrong, abs=0.01)
    unit, value, status, low, high = await master.values(2410, "ufuff")
    assert (unit, value, status, low, high) == (0x4, 37.0, 0, -20.0, 130.0)
    for register, count in ((2092, 2), (2090, 2), (2090, 11), (2089, 10), (1, 1)):
        assert await master.words(register, count) == 2, (register, count)
    same = await master.client.read_input_registers(2090 - 1, count=10, device_id=1)
    assert not same.isError()


async def test_sensor_too_hot_to_measure_repeats_its_last_value_and_says_so():
    """Manual, p. 57: the measurement is stopped outside its range of temperature, and the last value frozen."""
    place = {"ph": 6.0, "c": 37.0}
    now = iter(range(0, 10**9, int(LONG_S)))
    sensor = HamiltonPh(PhElectrode(lambda: place["ph"], lambda: place["c"], clock=lambda: next(now)))
    async with RtuWire({1: sensor}) as wire:
        client = AsyncModbusSerialClient(wire.address, baudrate=19200, timeout=5)
        assert await client.connect()
        sensor_on = Master(client)
        _, before, status, _, _ = await sensor_on.values(2090, "ufuff")
        assert (status, before) == (0, pytest.approx(6.0, abs=0.01))
        place.update(ph=8.0, c=135.0)
        _, value, status, _, _ = await sensor_on.values(2090, "ufuff")
        assert (value, status & 0x1) == (before, 0x1)
        _, value, status, _, _ = await sensor_on.values(2410, "ufuff")
        assert (value, status & 0x1) == (pytest.approx(135.0, abs=0.1), 0x1)
        place["c"] = 37.0
        _, value, status, _, _ = await sensor_on.values(2090, "ufuff")
        assert (value, status & 0x1) == (pytest.approx(8.0, abs=0.01), 0)
        client.close()


async def test_sensor_says_who_it_is(master):
    words = await master.words(1032, 8)
    assert b"".join(word.to_bytes(2, "little") for word in words).rstrip(b"\0") == b"EPHUM031"
    words = await master.words(1032, 8, unit=2)
    assert b"".join(word.to_bytes(2, "little") for word in words).rstrip(b"\0") == b"ODOUM102"
    assert await master.values(4096, "u", unit=2) == [2]


async def test_operator_level_needs_its_password(master, ph):
    assert await master.values(4288, "uu") == [0x03, 0]
    for wrong in ((0x0B, 18_111_978), (0x30, 1), (0x0C, 16_021_966)):
        assert await master.write(4288, *wrong) == 3
    assert await master.write(4288, *SPECIALIST) == 0
    assert await master.values(4288, "uu") == [0x30, 0], "the password is not told"
    assert ph.writes == 0


async def test_user_may_not_calibrate_nor_change_a_unit(master, ph):
    assert await master.write(5162, 4.01) == 2
    assert await master.write(2090, 0x200000) == 2
    assert await master.write(4288, *ADMINISTRATOR) == 0
    assert await master.write(2090, 0x200000) == 0
    unit, value, *_ = await master.values(2090, "ufuff")
    assert unit == 0x200000
    assert value == pytest.approx(ph.electrode.potential_mv, abs=0.01)
    assert await master.write(2090, 0x20) == 3, "no percent of oxygen here"
    assert await master.write(4102, 4) == 2, "only the specialist"


async def test_worn_electrode_is_right_after_two_buffers(master, ph, clock):
    await master.write(4288, *ADMINISTRATOR)
    put(ph, clock, "4.01")
    assert await master.write(5162, 0.0) == 0, "finds the buffer by itself"
    assert await master.values(5158, "uuf") == [0, 0x1000, pytest.approx(4.01)]
    put(ph, clock, "7.00")
    assert await master.write(5194, 7.0) == 0
    assert await master.values(5190, "uuf") == [0, 0x1000, 7.0]
    offset, slope, kelvin = await master.values(5448, "fff")
    assert (offset, kelvin) == (pytest.approx(12.0, abs=0.5), pytest.approx(298.15))
    assert slope == pytest.approx(-0.92 * 59.16, abs=0.3)
    assert (await master.values(4872, "f"))[0] == pytest.approx(68.0, abs=2.0)
    assert await master.values(5164, "ufuf") == [0x4, pytest.approx(25.0), 1, 0.0]
    put(ph, clock, "vessel")
    _, value, status, *_ = await master.values(2090, "ufuff")
    assert (value, status) == (pytest.approx(6.5, abs=0.01), 0)


@pytest.mark.parametrize(
    ("place", "asked", "bits"),
    [
        ("7.00", 0.0, 0x01),
        ("5.50", 0.0, 0x02),
        ("4.01", 9.21, 0x02),
        ("4.01", 4.4, 0x02),
    ],
    ids=["too near to CP2", "no standard", "another buffer", "no such buffer"],
)
async def test_bad_point_is_told_and_changes_nothing(master, ph, clock, place, asked, bits):
    await master.write(4288, *ADMINISTRATOR)
    before = ph.calibration
    put(ph, clock, place)
    assert await master.write(5162, asked) == 0
    assert (await master.values(5158, "uuf"))[0] & 0xFF == bits
    assert ph.calibration == before
    _, _, status, *_ = await master.values(2090, "ufuff")
    assert status == 0x04 | 0x08, "calibration status and a warning"
    put(ph, clock, "4.01")
    await master.write(5162, 4.01)
    assert (await master.values(2090, "ufuff"))[2] == 0


async def test_probe_that_still_moves_is_not_calibrated(master, ph, clock):
    await master.write(4288, *ADMINISTRATOR)
    put(ph, clock, "7.00")
    ph.electrode.immersion.move("4.01")
    clock.now += 10.0
    await master.write(5194, 7.0)
    status = (await master.values(5190, "uuf"))[0]
    assert status & 0x8000
    assert ph.counts == {"CP1": 0, "CP2": 0}


async def test_dead_electrode_is_not_calibrated(master, ph, clock):
    await master.write(4288, *ADMINISTRATOR)
    ph.electrode.slope_percent = 70.0
    put(ph, clock, "4.01")
    await master.write(5162, 4.01)
    assert (await master.values(5158, "uuf"))[0] == 0x20


async def test_wrong_unit_while_calibrating(master, ph, clock):
    await master.write(4288, *SPECIALIST)
    await master.write(2090, 0x200000)
    put(ph, clock, "4.01")
    await master.write(5162, 4.01)
    assert (await master.values(5158, "uuf"))[0] == 0x80000000


async def test_sample_from_the_vessel_corrects_it(master, ph):
    await master.write(4288, *SPECIALIST)
    assert await master.write(5322, 6.5) == 3, "nothing was measured before"
    assert await master.write(5340, 1) == 0
    assert (await master.values(5318, "uuf"))[0] == 0x08000000
    assert await master.write(5322, 6.5) == 0
    assert (await master.values(5318, "uuf"))[0] == 0x14000000
    assert (await master.values(2090, "ufuff"))[1] == pytest.approx(6.5, abs=0.01)
    assert await master.write(5340, 2) == 0
    assert (await master.values(2090, "ufuff"))[1] < 6.4


async def test_oxygen_in_percent_and_in_mg_per_litre(master, oxygen, clock):
    unit, value, status, *_ = await master.values(2090, "ufuff", unit=2)
    assert (unit, status) == (0x20, 0)
    assert value == pytest.approx(0.8 + 36.0, abs=0.3)
    await master.write(4288, *ADMINISTRATOR, unit=2)
    put(oxygen, clock, "air")
    assert await master.write(5162, 100.0, unit=2) == 0
    put(oxygen, clock, "zero")
    assert await master.write(5194, 0.0, unit=2) == 0
    assert await master.write(5162, 100.0, unit=2) == 0
    assert (await master.values(5158, "uuf", unit=2))[0] == 0x02, "there is no air here"
    put(oxygen, clock, "vessel")
    assert (await master.values(2090, "ufuff", unit=2))[1] == pytest.approx(40.0, abs=0.4)
    assert await master.write(2090, 0x80, unit=2) == 0
    unit, value, *_ = await master.values(2090, "ufuff", unit=2)
    assert (unit, value) == (0x80, pytest.approx(0.4 * saturation_mg_l(37.0), abs=0.05))


async def test_power_failure_ends_the_operator_level_but_keeps_the_calibration(ph, clock):
    put(ph, clock, "7.00")
    ph.write("holding", 4288 - 1, [0x0C, 0, 18_111_978 & 0xFFFF, 18_111_978 >> 16])
    ph.write("holding", 5194 - 1, [0, 0x40E0])
    assert ph.counts["CP2"] == 1
    again = HamiltonPh(ph.electrode)
    again.restore(ph.to_json())
    assert (again.level, again.calibration, again.writes) == (0x03, ph.calibration, 1)
    for broken in ({"unit": 5}, {"points": {}}, {"counts": None}):
        with pytest.raises(StateError):
            again.restore(ph.to_json() | broken)


async def test_broken_glass_is_an_error_of_the_sensor(master, ph):
    ph.electrode.broken = 1.0
    _, value, status, *_ = await master.values(2090, "ufuff")
    assert value == pytest.approx(7.0, abs=0.02), "both sides have one potential, whatever the pH"
    assert status == 0x10
    assert await master.values(4800, "uuuu") == [0x40, 0x2, 0, 0]
    assert await master.values(4872, "f") == [0.0]
    ph.electrode.broken = 0.0
    assert (await master.values(2090, "ufuff"))[2] == 0


async def test_probe_without_its_cap_is_an_error_of_the_sensor(master, oxygen):
    oxygen.probe.broken = 1.0
    _, value, status, *_ = await master.values(2090, "ufuff", unit=2)
    assert (value, status) == (0.0, 0x10)
    assert await master.values(4800, "uuuu", unit=2) == [0, 0x2, 0, 0]
