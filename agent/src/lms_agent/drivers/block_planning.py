"""Which registers are read together: few requests, but none that the instrument would refuse.

Each request costs a round trip (on 19200 baud at least 10 ms), so neighbours are read in one block, and small gaps are
read along. Used once, when `modbus_registers.py` is set up, and shown by `lms-agent check`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lms_agent.buses.modbus_frames import BIT_FUNCTIONS, FUNCTIONS
from lms_agent.settings.model import ModbusInstrument
from lms_agent.settings.points import RegisterPoint


@dataclass(frozen=True, slots=True)
class Block:
    """One request and the points it answers.

    Attributes:
        function: Modbus function code, 1 to 4.
        address: first address, counted from 0.
        count: registers or bits.
        points: positions in the instrument's list of points.
    """

    function: int
    address: int
    count: int
    points: tuple[int, ...]

    @property
    def end(self) -> int:
        """The address after the last."""
        return self.address + self.count


def plan_blocks(instrument: ModbusInstrument) -> list[Block]:
    """The requests of one scan of `instrument`.

    Every point is in exactly one block; no block is larger than the instrument allows (unless one point is) or bridges
    more than `largest_gap` unwanted addresses; points marked `alone` have a block for themselves.
    """
    blocks = [_block_of(index, point) for index, point in enumerate(instrument.points) if point.alone]
    shared = [(index, point) for index, point in enumerate(instrument.points) if not point.alone]
    for function in sorted({FUNCTIONS[point.register_] for _, point in shared}):
        largest = instrument.largest_bit_block if function in BIT_FUNCTIONS else instrument.largest_block
        singles = [_block_of(index, point) for index, point in shared if FUNCTIONS[point.register_] == function]
        blocks += _coalesced(singles, largest, instrument.largest_gap)
    return sorted(blocks, key=lambda block: (block.function, block.address))


def _block_of(index: int, point: RegisterPoint) -> Block:
    return Block(FUNCTIONS[point.register_], point.address, point.width, (index,))


def _coalesced(singles: Sequence[Block], largest: int, largest_gap: int) -> list[Block]:
    """Join blocks of one function, from the lowest address on."""
    blocks: list[Block] = []
    for single in sorted(singles, key=lambda block: (block.address, block.count)):
        last = blocks[-1] if blocks else None
        if last is not None and single.address - last.end <= largest_gap:
            end = max(last.end, single.end)
            if end - last.address <= largest:
                blocks[-1] = Block(last.function, last.address, end - last.address, last.points + single.points)
                continue
        blocks.append(single)
    return blocks
