"""Any instrument whose values lie in Modbus registers or bits: blocks in, readings out.

Between a `ModbusMaster`, which gives the sound reply to each block, and sampling. What can be worked out beforehand
(requests, their check sums, how each value is unpacked) is, so that a scan of 50 tags costs well under a millisecond.
"""

from collections.abc import Sequence
from typing import NamedTuple

from lms_protocol.reading import Reading

from lms_agent.buses.modbus import ModbusMaster
from lms_agent.buses.modbus_frames import BIT_FUNCTIONS, ReadRequest
from lms_agent.buses.wire_time import WireTime
from lms_agent.drivers.block_planning import plan_blocks
from lms_agent.drivers.driver import Failure, Outcome, quality_of
from lms_agent.drivers.register_coding import Reader, bit_reader, reader_of
from lms_agent.errors import InstrumentError, PortError, ReplyOutOfStep, ReplyTimeout
from lms_agent.settings.model import ModbusInstrument


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
    """Reads the points of one instrument.

    Args:
        instrument: unit, points and limits.
        master: of the line that the instrument hangs on.
        numbers: tag numbers, one per point, in the order of `instrument.points`.
    """

    def __init__(self, instrument: ModbusInstrument, master: ModbusMaster, numbers: Sequence[int]) -> None:
        self._master = master
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
