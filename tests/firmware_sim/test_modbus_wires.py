"""The Modbus wires seen by clients of another make (pymodbus), whole and ill."""

import asyncio

import pytest
from lms_firmware_sim.wires import Fault, ModbusTcpWire, RegisterMap, Request, RtuWire
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ModbusIOException


def full_map() -> RegisterMap:
    registers = RegisterMap(
        holding={0: 1, 1: 2, 2: 3, 3: 4},
        input={0: 11, 1: 12},
        coil=dict.fromkeys(range(12), False),
        discrete={0: True, 1: False, 2: True},
    )
    registers.put(10, 7.25, "float32", word_order="big")
    registers.put(12, 7.25, "float32", word_order="little")
    return registers


@pytest.fixture(params=["tcp", "rtu"])
async def line(request):
    """A wire with units 1 and 5, and a client on it."""
    units = {1: full_map(), 5: RegisterMap(holding={0: 55})}
    wire = ModbusTcpWire(units) if request.param == "tcp" else RtuWire(units)
    async with wire:
        if request.param == "tcp":
            host, port = wire.address.split(":")
            client = AsyncModbusTcpClient(host, port=int(port), timeout=0.3, retries=0)
        else:
            client = AsyncModbusSerialClient(wire.address, baudrate=19200, timeout=0.3, retries=0)
        assert await client.connect()
        try:
            yield wire, client
        finally:
            client.close()


async def test_every_table_can_be_read(line):
    wire, client = line
    assert (await client.read_holding_registers(0, count=4, device_id=1)).registers == [1, 2, 3, 4]
    assert (await client.read_input_registers(0, count=2, device_id=1)).registers == [11, 12]
    assert (await client.read_discrete_inputs(0, count=3, device_id=1)).bits[:3] == [True, False, True]
    assert (await client.read_holding_registers(0, count=1, device_id=5)).registers == [55]
    assert list(wire.requests)[-1] == Request(unit=5, function=3, address=0, count=1)


async def test_float_lies_in_the_word_order_asked_for(line):
    _, client = line
    kind = client.DATATYPE.FLOAT32
    big = (await client.read_holding_registers(10, count=2, device_id=1)).registers
    little = (await client.read_holding_registers(12, count=2, device_id=1)).registers
    assert client.convert_from_registers(big, kind, word_order="big") == 7.25
    assert client.convert_from_registers(little, kind, word_order="little") == 7.25


async def test_writes_are_taken_over(line):
    wire, client = line
    assert not (await client.write_register(1, 0xABCD, device_id=1)).isError()
    assert not (await client.write_registers(2, [7, 8], device_id=1)).isError()
    assert not (await client.write_coil(3, True, device_id=1)).isError()
    assert not (await client.write_coils(4, [True, False, True] * 2, device_id=1)).isError()
    assert [wire.units[1].holding[address] for address in range(4)] == [1, 0xABCD, 7, 8]
    assert (await client.read_coils(3, count=7, device_id=1)).bits[:7] == [True, True, False, True, True, False, True]


async def test_exceptions_have_their_codes(line):
    _, client = line
    assert (await client.read_holding_registers(3, count=2, device_id=1)).exception_code == 2
    assert (await client.write_register(99, 1, device_id=1)).exception_code == 2
    assert (await client.report_device_id(device_id=1)).exception_code == 1


async def test_unknown_unit_stays_silent(line):
    _, client = line
    with pytest.raises(ModbusIOException):
        await client.read_holding_registers(0, count=1, device_id=9)


async def test_busy_answers_exception_6(line):
    wire, client = line
    wire.fault = Fault.busy()
    assert (await client.read_holding_registers(0, count=1, device_id=1)).exception_code == 6


async def test_fault_of_one_unit_leaves_the_others_well(line):
    wire, client = line
    wire.fault = Fault.silence(unit=5)
    with pytest.raises(ModbusIOException):
        await client.read_holding_registers(0, count=1, device_id=5)
    assert (await client.read_holding_registers(0, count=1, device_id=1)).registers == [1]


async def test_stuck_unit_repeats_its_first_reply(line):
    wire, client = line
    wire.fault = Fault.of("stuck")
    assert (await client.read_holding_registers(0, count=1, device_id=1)).registers == [1]
    wire.units[1].put(0, 9)
    assert (await client.read_holding_registers(0, count=1, device_id=1)).registers == [1]
    wire.fault = None
    assert (await client.read_holding_registers(0, count=1, device_id=1)).registers == [9]


async def test_fault_passes_after_the_number_of_replies_asked_for(line):
    wire, client = line
    wire.fault = Fault.busy(times=2)
    codes = [(await client.read_holding_registers(0, count=1, device_id=1)).isError() for _ in range(3)]
    assert codes == [True, True, False]
    assert wire.fault is None


async def test_requests_at_once_from_several_clients_are_all_answered():
    async with ModbusTcpWire({1: full_map()}) as wire:
        host, port = wire.address.split(":")

        async def read() -> list[int]:
            client = AsyncModbusTcpClient(host, port=int(port), timeout=5)
            await client.connect()
            values = [(await client.read_holding_registers(0, count=2, device_id=1)).registers for _ in range(20)]
            client.close()
            return [value for pair in values for value in pair]

        assert await asyncio.gather(*(read() for _ in range(5))) == [[1, 2] * 20] * 5
