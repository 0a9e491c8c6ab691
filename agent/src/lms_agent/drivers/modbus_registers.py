"""Any instrument whose values lie in Modbus registers or bits: blocks in, readings out.

Between a `ModbusMaster`, which gives the sound reply to each block, and sampling. What can be worked out beforehand
(requests, their check sums, how each value is unpacked) is, so that a scan of 50 tags costs well under a millisecond.
"""

from collections.abc import Sequence
from typing import NamedTuple

from lms_protocol.instruments.calibration import Step
from lms_protocol.reading import Reading, Value

from lms_agent.buses.modbus import ModbusMaster
from lms_agent.buses.modbus_frames import BIT_FUNCTIONS, FUNCTIONS, ReadRequest, WriteRequest
from lms_agent.buses.wire_time import WireTime
from lms_agent.drivers.block_planning import plan_blocks
from lms_agent.drivers.driver import Failure, Go, Outcome, Written, always, quality_of
from lms_agent.drivers.register_coding import Reader, ValueRangeError, bit_reader, encode, pack, reader_of
from lms_agent.errors import InstrumentError, NotWritable, PortError, ReplyOutOfStep, ReplyTimeout
from lms_agent.settings.dialects.modbus import ModbusInstrument, RegisterPoint


class _Field(NamedTuple):
    tag: int
    read: Reader
    at: int  # byte, or bit, of the reply's data
    minimum: float | None
    maximum: float | None


class _PlannedBlock(NamedTuple):
    request: ReadRequest
    fields: tuple[_Field, ...]
    tags: tuple[int, ...]


class ModbusRegisters:
    """Reads the points of one instrument, and writes those that can be written.

    Args:
        instrument: unit, points and limits.
        master: of the line that the instrument hangs on.
        numbers: tag numbers, one per point, in the order of `instrument.points`.
    """

    def __init__(self, instrument: ModbusInstrument, master: ModbusMaster, numbers: Sequence[int]) -> None:
        self._master = master
        self._instrument = instrument
        self._blocks = tuple(_planned(instrument, numbers, master.wire_time))

    async def read(self) -> Outcome:
        """Read all blocks. A silent unit is not asked for the rest; a refused block does not hide the others."""
        readings: list[Reading] = []
        failures: list[Failure] = []
        for position, block in enumerate(self._blocks):
            try:
                data, arrived_ms = await self._master.read(block.request)
            except (PortError, ReplyTimeout, ReplyOutOfStep) as error:
                rest = tuple(tag for later in self._blocks[position:] for tag in later.tags)
                failures.append(Failure(rest, error))
                break
            except InstrumentError as error:
                failures.append(Failure(block.tags, error))
                continue
            for tag, read, at, minimum, maximum in block.fields:
                value = read(data, at)
                readings.append(Reading(tag, arrived_ms, value, quality_of(value, minimum, maximum)))
        return Outcome(readings, failures)

    async def write(self, index: int, value: Value, go: Go = always) -> Written:
        """Write one point and read it back in the same turn; see `Driver.write`."""
        point = self._instrument.points[index]
        request, sent = self._write_request(point, value)
        function = FUNCTIONS[point.register_]
        read_back = ReadRequest(self._instrument.unit, function, point.address, point.width)
        confirmation = await self._master.write(request, read_back=read_back, go=go)
        held: Value = None
        if confirmation.read_back is not None:
            read = bit_reader if function in BIT_FUNCTIONS else reader_of(point)
            held = read(confirmation.read_back.data, 0)
        return Written(
            confirmation.confirmed, sent, held, "" if confirmation.doubt is None else str(confirmation.doubt)
        )

    async def tell(self, step: Step, reference: float, go: Go = always) -> Written:
        """Write the registers of one step; see `Driver.tell`."""
        write, port = step.write, self._master.port
        if write is None:
            raise NotWritable(port, "the calibration", f"{step.command!r} is no register to write")
        numbers = [reference if number == "reference" else number for number in write.values]
        try:
            data = b"".join(pack(number, write) for number in numbers)
            request = WriteRequest.registers(self._instrument.unit, write.address, data)
        except (ValueRangeError, ValueError) as error:
            raise NotWritable(port, "the calibration", str(error)) from error
        confirmation = await self._master.write(request, go=go)
        return Written(
            confirmation.confirmed, reference, doubt="" if confirmation.doubt is None else str(confirmation.doubt)
        )

    def _write_request(self, point: RegisterPoint, value: Value) -> tuple[WriteRequest, Value]:
        """The request, and the value as the registers hold it."""
        unit, address = self._instrument.unit, point.address
        single = self._instrument.single_writes and point.width == 1
        if point.access != "write":
            raise NotWritable(self._master.port, point.tag, 'its settings do not say access = "write"')
        if point.register_ == "coil" and isinstance(value, bool):
            return WriteRequest.coils(unit, address, [value], single=single), value
        if point.register_ == "holding" and isinstance(value, int | float) and not isinstance(value, bool):
            try:
                data = encode(value, point)
                return WriteRequest.registers(unit, address, data, single=single), reader_of(point)(data, 0)
            except ValueRangeError as error:
                raise NotWritable(self._master.port, point.tag, str(error)) from error
        raise NotWritable(self._master.port, point.tag, f"{value!r} is nothing for a {point.register_} of {point.kind}")


def _planned(instrument: ModbusInstrument, numbers: Sequence[int], wire: WireTime) -> list[_PlannedBlock]:
    planned = []
    for block in plan_blocks(instrument, wire):
        fields = []
        for index in block.points:
            point = instrument.points[index]
            offset = point.address - block.address
            if block.function in BIT_FUNCTIONS:
                fields.append(_Field(numbers[index], bit_reader, offset, None, None))
            else:
                fields.append(_Field(numbers[index], reader_of(point), 2 * offset, point.minimum, point.maximum))
        request = ReadRequest(instrument.unit, block.function, block.address, block.count)
        planned.append(_PlannedBlock(request, tuple(fields), tuple(field.tag for field in fields)))
    return planned
