"""An instrument with Modbus registers; read by `lms_agent.drivers.modbus_registers`.

Where a value lies and what the words beside it say is described in `lms_protocol.instruments.registers`, for profiles
say it, too.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

from lms_protocol.checked_toml.findings import Wrong
from lms_protocol.instruments.facts import RegisterIdentity
from lms_protocol.instruments.registers import RegisterBlock, RegisterValue, RegisterWord, StatusWord, UnitCode
from pydantic import Field

from lms_agent.settings.dialects.instrument import Instrument
from lms_agent.settings.points import InstrumentPoint


class RegisterPoint(RegisterValue, InstrumentPoint):
    """A point in coils, discrete inputs or registers.

    `status` and `unit_code`, where the instrument has them, are read in the same scan and judge the value.
    """

    status: StatusWord | None = None
    unit_code: UnitCode | None = None

    def _contradictions(self) -> Iterator[Wrong]:
        yield from super()._contradictions()
        if self.access == "write":
            yield from self.unwritable()
        if self.in_bits and (self.status is not None or self.unit_code is not None):
            key = "status" if self.status is not None else "unit_code"
            yield key, "a table", f"none: it judges values in registers, not {self.register_}s"


class ModbusInstrument(Instrument):
    """`[[instrument]]` on a Modbus bus: a unit and its registers.

    Points are read in blocks of at most `largest_block` registers (`largest_bit_block` coils); up to `largest_gap`
    registers that nobody asked for are read along, if that saves a request. What lies in one of `blocks` is read
    with that whole block, and with nothing else. `single_writes`: a point of one register or coil is written by
    function 6 or 5, which some instruments know alone; else by function 16 or 15.
    """

    driver: Literal["modbus"] = "modbus"
    identity: RegisterIdentity | None = None
    unit: int = Field(1, ge=0, le=255)
    largest_block: int = Field(125, ge=1, le=125)
    largest_bit_block: int = Field(2000, ge=1, le=2000)
    largest_gap: int = Field(8, ge=0, le=124)
    single_writes: bool = True
    blocks: Annotated[tuple[RegisterBlock, ...], Field(strict=False, alias="block")] = ()
    points: Annotated[tuple[RegisterPoint, ...], Field(strict=False, alias="point", min_length=1)]

    def _contradictions(self) -> Iterator[Wrong]:
        yield from super()._contradictions()
        for at, point in enumerate(self.points):
            for key, value in (("", point), ("status.", point.status), ("unit_code.", point.unit_code)):
                block = next((block for block in self.blocks if value and _is_cut(value, block)), None)
                if value is not None and block is not None:
                    last = block.address + block.count - 1
                    allowed = f"all of it inside or outside the block {block.address} to {last}, which is read whole"
                    found = f"{value.address} to {value.address + value.width - 1}"
                    yield f"point.{at}.{key}address", found, allowed


def _is_cut(value: RegisterValue | RegisterWord, block: RegisterBlock) -> bool:
    """Whether a part of a value lies in a block, and a part outside."""
    end, block_end = value.address + value.width, block.address + block.count
    apart = end <= block.address or block_end <= value.address or value.register_ != block.register_
    return not apart and not (block.address <= value.address and end <= block_end)
