"""Blocks cover every point, and none asks for what the instrument would refuse."""

from hypothesis import given
from hypothesis import strategies as st
from lms_agent.buses.modbus_frames import FUNCTIONS
from lms_agent.drivers.block_planning import plan_blocks
from lms_agent.settings.model import ModbusInstrument
from lms_agent.settings.points import RegisterPoint


@st.composite
def points(draw):
    register = draw(st.sampled_from(["holding", "input", "coil"]))
    kind = "bool" if register == "coil" else draw(st.sampled_from(["uint16", "float32", "float64"]))
    address = draw(st.integers(0, 300) | st.integers(65000, 65532))
    return RegisterPoint(
        tag=f"T/{draw(st.integers(0, 10**9))}", register=register, kind=kind, address=address, alone=draw(st.booleans())
    )


def instrument(points, **limits) -> ModbusInstrument:
    return ModbusInstrument(id="i", bus="b", bioreactor="R1", point=tuple(points), **limits)


@given(
    st.lists(points(), min_size=1, max_size=40),
    st.integers(1, 125),
    st.integers(1, 2000),
    st.integers(0, 124),
)
def test_plan_keeps_every_promise(described, largest_block, largest_bit_block, largest_gap):
    planned = plan_blocks(
        instrument(described, largest_block=largest_block, largest_bit_block=largest_bit_block, largest_gap=largest_gap)
    )
    covered = sorted(index for block in planned for index in block.points)
    assert covered == list(range(len(described)))
    for block in planned:
        mine = [described[index] for index in block.points]
        assert all(FUNCTIONS[point.register_] == block.function for point in mine)
        assert all(block.address <= point.address and point.address + point.width <= block.end for point in mine)
        limit = largest_bit_block if block.function == 1 else largest_block
        assert block.count <= max(limit, *(point.width for point in mine))
        assert len(mine) == 1 or not any(point.alone for point in mine)
        wanted = {at for point in mine for at in range(point.address, point.address + point.width)}
        assert wanted >= {block.address, block.end - 1}
        unwanted = sorted(set(range(block.address, block.end)) - wanted)
        assert longest_run(unwanted) <= largest_gap


def longest_run(numbers) -> int:
    longest = run = 0
    last = None
    for number in numbers:
        run = run + 1 if last == number - 1 else 1
        longest, last = max(longest, run), number
    return longest


def test_demo_controller_is_one_request():
    described = [RegisterPoint(tag=f"T/{at}", address=at, kind="float32") for at in range(0, 36, 2)]
    (block,) = plan_blocks(instrument(described))
    assert (block.function, block.address, block.count) == (3, 0, 36)


def test_order_in_the_file_does_not_change_the_requests():
    described = [RegisterPoint(tag=f"T/{at}", address=at) for at in (30, 3, 17, 4)]
    spans = [(block.address, block.count) for block in plan_blocks(instrument(described))]
    assert spans == [(3, 2), (17, 1), (30, 1)]
    assert [(b.address, b.count) for b in plan_blocks(instrument(described, largest_gap=12))] == [(3, 28)]
