"""Which registers are read together: the least time on the wire, and nothing that the instrument would refuse.

Each request costs time of its own (at 19200 baud about 20 ms, as long as 19 registers), so neighbours are read in one
block, and small gaps are read along where that is shorter. Used once, when `modbus_registers.py` is set up, and shown
by `lms-agent plan`.

That blocks need only hold points that follow one another (in the order of their first address) is no loss: wherever two
blocks are interleaved, points that lie in both can be moved into one of them, and neither grows. So the best plan is a
best cutting of that order, and is found by trying for each point where the block that ends with it may begin.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

from lms_agent.buses.modbus_frames import BIT_FUNCTIONS, FUNCTIONS
from lms_agent.buses.wire_time import WireTime
from lms_agent.settings.dialects.modbus import ModbusInstrument, RegisterPoint


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


def plan_blocks(instrument: ModbusInstrument, wire: WireTime) -> list[Block]:
    """The requests of one scan of `instrument`, which together take the least time on its line.

    Every point is in exactly one block; no block is larger than the instrument allows (unless one point is), bridges
    more than `largest_gap` addresses in a row that none of its points wants, or touches one of a point that is to be
    read `alone`; such a point has a block for itself.
    """
    singles = [_block_of(index, point) for index, point in enumerate(instrument.points)]
    alone = [single for single, point in zip(singles, instrument.points, strict=True) if point.alone]
    blocks = list(alone)
    for function in sorted({single.function for single in singles}):
        largest = instrument.largest_bit_block if function in BIT_FUNCTIONS else instrument.largest_block
        shared = [
            single
            for single, point in zip(singles, instrument.points, strict=True)
            if single.function == function and not point.alone
        ]
        untouchable = [block for block in alone if block.function == function]
        blocks += _best(shared, untouchable, largest, instrument.largest_gap, wire)
    return sorted(blocks, key=attrgetter("function", "address", "points"))


def _block_of(index: int, point: RegisterPoint) -> Block:
    return Block(FUNCTIONS[point.register_], point.address, point.width, (index,))


def _best(
    singles: Iterable[Block], untouchable: Sequence[Block], largest: int, largest_gap: int, wire: WireTime
) -> list[Block]:
    """The blocks of one function that take the least time; of those that take the same, the fewest."""
    ordered = sorted(singles, key=attrgetter("address", "end"))
    plans: list[_Plan | None] = [_Plan(0.0, 0, None), *(None for _ in ordered)]  # the best for the first n points
    for begun in range(len(ordered)):
        before = plans[begun]
        if before is None:
            continue
        for upto, block in enumerate(_growing(ordered[begun:], untouchable, largest, largest_gap), start=begun + 1):
            plan = _Plan(before.seconds + wire.of(block.function, block.count), before.blocks + 1, block)
            known = plans[upto]
            if known is None or (plan.seconds, plan.blocks) < (known.seconds, known.blocks):
                plans[upto] = plan
    blocks: list[Block] = []
    at = len(ordered)
    while (plan_ := plans[at]) is not None and plan_.last is not None:
        blocks.append(plan_.last)
        at -= len(plan_.last.points)
    return blocks


class _Plan(NamedTuple):
    seconds: float
    blocks: int
    last: Block | None


def _growing(ordered: Sequence[Block], untouchable: Sequence[Block], largest: int, largest_gap: int) -> Iterator[Block]:
    """The blocks that begin with the first point, and hold one point more each time, as long as they are allowed."""
    block = ordered[0]
    widest = block.count
    yield block
    for single in ordered[1:]:
        if single.address - block.end > largest_gap:
            return
        end = max(block.end, single.end)
        block = Block(block.function, block.address, end - block.address, block.points + single.points)
        widest = max(widest, single.count)
        if block.count > max(largest, widest):
            return
        if any(block.address < other.end and other.address < block.end for other in untouchable):
            return
        yield block
