"""The M80 transmitter: four floats, high word first, read by a client of another make."""

import pytest
from lms_firmware_sim.instruments.mettler_m80 import MettlerM80
from lms_firmware_sim.instruments.ph_electrode import PhElectrode, nernst_mv_per_ph
from lms_firmware_sim.wires import RtuWire
from pymodbus.client import AsyncModbusSerialClient


async def test_floats_lie_at_100_and_cannot_be_written():
    electrode = PhElectrode(lambda: 6.0, lambda: 37.0, slope_percent=96.0, offset_mv=-8.0, clock=lambda: 0.0)
    async with RtuWire({1: MettlerM80(electrode)}, baud=38_400) as wire:
        client = AsyncModbusSerialClient(wire.address, baudrate=38_400, timeout=5)
        assert await client.connect()
        words = (await client.read_holding_registers(100, count=8, device_id=1)).registers
        ph, temperature, volt, orp = client.convert_from_registers(words, client.DATATYPE.FLOAT32)
        assert temperature == 37.0
        assert ph == pytest.approx(6.0 + 0.04 + 8.0 / nernst_mv_per_ph(37.0), abs=0.01)
        assert volt == pytest.approx((-8.0 + 0.96 * nernst_mv_per_ph(37.0)) / 1000.0, abs=0.0005)
        assert orp == pytest.approx(269.0)
        assert (await client.write_register(100, 0, device_id=1)).exception_code == 2
        assert (await client.read_input_registers(100, count=2, device_id=1)).exception_code == 2
        client.close()
