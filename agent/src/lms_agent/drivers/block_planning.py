"""Which registers are read together: the least time on the wire, and nothing that the instrument would refuse.

Each request costs time of its own (at 19200 baud about 20 ms, as long as 19 registers), so neighbours are read in one
block, and small gaps are read along where that is shorter. Used once, when `modbus_registers.py` is set up, and shown
by `lms-agent plan`.

That blocks need only hold points that follow one another (in the order of their first address) is no loss: wherever two
blocks are interleaved, points that lie in both can be moved into one of them, and neither grows. So the best plan is a
best cutting of that order, and is found by trying for each point where the block that ends with it may begin.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import NamedTuple

from lms_protocol.instruments.registers import RegisterValue, RegisterWord

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
        points: positions in the instrument's list of points, of which something lies in it.
    """

    function: int
    address: int
    count: int
    points: tuple[int, ...]

    @property
    def end(self) -> int:
        """The address after the last."""
        return self.address + self.count

    def holds(self, span: "Span | Block") -> bool:
        """Whether all of it lies in this block."""
        within = self.address <= span.address and span.address + span.count <= self.end
        return within and self.function == span.function


@dataclass(frozen=True, slots=True)
class Span:
    """Addresses that belong together, of one function.

    Attributes:
        function: Modbus function code that reads them, 1 to 4.
        address: the first, counted from 0.
        count: how many.
    """

    function: int
    address: int
    count: int


def span_of(value: RegisterValue | RegisterWord) -> Span:
    """Where it lies."""
    return Span(FUNCTIONS[value.register_], value.address, value.width)


def spans_of(point: RegisterPoint) -> list[Span]:
    """What has to be read for a point: its value, and the words that judge it, if it has any."""
    return [span_of(point), *(span_of(word) for word in (point.status, point.unit_code) if word is not None)]


def plan_blocks(instrument: ModbusInstrument, wire: WireTime) -> list[Block]:
    """The requests of one scan of `instrument`, which together take the least time on its line.

    What a point needs is in exactly one block each: its value, its status word, its unit code; these need not be in the
    same. No block is larger than the instrument allows (unless one value is), bridges more than `largest_gap` addresses
    in a row that nobody wants, or touches one of a point that is to be read `alone`; such a point has a block for
    itself. What lies in one of the instrument's own blocks is read with that whole block and with nothing else.
    """
    singles = [
        (Block(span.function, span.address, span.count, (index,)), point.alone and at == 0)
        for index, point in enumerate(instrument.points)
        for at, span in enumerate(spans_of(point))
    ]
    given = [Block(FUNCTIONS[block.register_], block.address, block.count, ()) for block in instrument.blocks]
    whole: dict[int, Block] = {}
    free: list[tuple[Block, bool]] = []
    for single, is_alone in singles:
        at = next((at for at, block in enumerate(given) if block.holds(single)), None)
        if at is None:
            free.append((single, is_alone))
        else:
            block = whole.get(at, given[at])
            whole[at] = replace(block, points=block.points + single.points)
    untouchable = given + [single for single, is_alone in free if is_alone]
    shared = [single for single, is_alone in free if not is_alone and not _touches(single, untouchable)]
    blocks = [*whole.values(), *(single for single, is_alone in free if is_alone or _touches(single, untouchable))]
    for function in sorted({single.function for single in shared}):
        largest = instrument.largest_bit_block if function in BIT_FUNCTIONS else instrument.largest_block
        mine = [single for single in shared if single.function == function]
        blocks += _best(mine, untouchable, largest, instrument.largest_gap, wire)
    named = [replace(block, points=tuple(dict.fromkeys(block.points))) for block in blocks]
    return sorted(named, key=attrgetter("function", "address", "points"))


def _touches(single: Block, others: Iterable[Block]) -> bool:
    """Whether it has an address of one of these; then no block with more than it may be read."""
    return any(
        other.function == single.function and single.address < other.end and other.address < single.end
        for other in others
    )


def _best(
    singles: Iterable[Block], untouchable: Sequence[Block], largest: int, largest_gap: int, wire: WireTime
) -> list[Block]:
    """The blocks of one function that take the least time; of those that take the same, the fewest."""
    ordered = sorted(singles, key=attrgetter("address", "end"))
    plans: list[_Plan | None] = [_Plan(0.0, 0, 0, None), *(None for _ in ordered)]  # the best for the first n singles
    for begun in range(len(ordered)):
        before = plans[begun]
        if before is None:
            continue
        for upto, block in enumerate(_growing(ordered[begun:], untouchable, largest, largest_gap), start=begun + 1):
            plan = _Plan(before.seconds + wire.of(block.function, block.count), before.blocks + 1, begun, block)
            known = plans[upto]
            if known is None or (plan.seconds, plan.blocks) < (known.seconds, known.blocks):
                plans[upto] = plan
    blocks: list[Block] = []
    at = len(ordered)
    while (plan_ := plans[at]) is not None and plan_.last is not None:
        blocks.append(plan_.last)
        at = plan_.begun
    return blocks


class _Plan(NamedTuple):
    seconds: float
    blocks: int
    begun: int  # how many singles the plans before it are for
    last: Block | None


def _growing(ordered: Sequence[Block], untouchable: Sequence[Block], largest: int, largest_gap: int) -> Iterator[Block]:
    """The blocks that begin with the first single, and hold one more each time, as long as they are allowed."""
    block = ordered[0]
    widest = block.count
    yield block
    for single in ordered[1:]:
        if single.address - block.end > largest_gap:
            return
        end = max(block.end, single.end)
        block = Block(block.function, block.address, end - block.address, block.points + single.points)
        widest = max(widest, single.count)
        if block.count > max(largest, widest) or _touches(block, untouchable):
            return
        yield block
