"""Blocks cover every point, none asks for what the instrument would refuse, and no plan takes less time on the wire."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lms_agent.buses.modbus_frames import FUNCTIONS
from lms_agent.buses.wire_time import TCP, WireTime, rtu
from lms_agent.drivers.block_planning import plan_blocks
from lms_agent.settings.dialects.modbus import ModbusInstrument, RegisterPoint

RTU = rtu(10 / 19200)


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
    st.sampled_from([RTU, TCP]),
)
def test_plan_keeps_every_promise(described, largest_block, largest_bit_block, largest_gap, wire):
    planned = plan_blocks(
        instrument(
            described, largest_block=largest_block, largest_bit_block=largest_bit_block, largest_gap=largest_gap
        ),
        wire,
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
        assert len(mine) == 1 or not any(touches(block, point) for point in described if point.alone)


def touches(block, point) -> bool:
    return (
        FUNCTIONS[point.register_] == block.function
        and block.address < point.address + point.width
        and point.address < block.end
    )


def partitions(items: list[int]) -> Iterator[list[list[int]]]:
    """Every way to put things into groups."""
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for groups in partitions(rest):
        yield [[first], *groups]
        for at in range(len(groups)):
            yield [*groups[:at], [first, *groups[at]], *groups[at + 1 :]]


def is_allowed(group, described, limits) -> bool:
    mine = [described[index] for index in group]
    if len(mine) == 1:
        return True
    if len({point.register_ for point in mine}) > 1 or any(point.alone for point in mine):
        return False
    first, end = min(point.address for point in mine), max(point.address + point.width for point in mine)
    if end - first > max(limits["largest_block"], *(point.width for point in mine)):
        return False
    wanted = {at for point in mine for at in range(point.address, point.address + point.width)}
    if longest_run(sorted(set(range(first, end)) - wanted)) > limits["largest_gap"]:
        return False
    others = [point for point in described if point.alone and point.register_ == mine[0].register_]
    return not any(first < other.address + other.width and other.address < end for other in others)


def seconds_of(group, described, wire) -> float:
    mine = [described[index] for index in group]
    first, end = min(point.address for point in mine), max(point.address + point.width for point in mine)
    return wire.of(FUNCTIONS[mine[0].register_], end - first)


def least_seconds(described, limits, wire) -> float:
    """By trying every way to group the points; which group goes together is not asked to be one stretch."""
    return min(
        sum(seconds_of(group, described, wire) for group in groups)
        for groups in partitions(list(range(len(described))))
        if all(is_allowed(group, described, limits) for group in groups)
    )


@st.composite
def crowded_points(draw):
    """Points close together: nested, overlapping, the same register twice, some to be read alone."""
    return RegisterPoint(
        tag="T/PV",
        register=draw(st.sampled_from(["holding", "holding", "input"])),
        kind=draw(st.sampled_from(["uint16", "float32", "float64"])),
        address=draw(st.integers(0, 30)),
        alone=draw(st.integers(0, 5)) == 0,
    )


@settings(deadline=None, max_examples=300)
@given(
    st.lists(crowded_points(), min_size=1, max_size=7),
    st.fixed_dictionaries({"largest_block": st.integers(1, 30), "largest_gap": st.integers(0, 12)}),
    st.sampled_from([RTU, TCP, WireTime(0.004, 0.001), WireTime(0.0, 0.001), WireTime(1.0, 0.0)]),
)
def test_no_plan_at_all_takes_less_time(described, limits, wire):
    planned = plan_blocks(instrument(described, **limits), wire)
    ours = sum(wire.of(block.function, block.count) for block in planned)
    assert ours == pytest.approx(least_seconds(described, limits, wire))


def test_what_overlaps_a_point_to_be_read_alone_keeps_no_others_apart():
    described = [
        RegisterPoint(tag="T/0", address=0),
        RegisterPoint(tag="T/1", address=1),
        RegisterPoint(tag="T/2", address=2, alone=True),
        RegisterPoint(tag="T/3", address=0, kind="float64"),
    ]
    planned = plan_blocks(instrument(described, largest_block=2, largest_gap=0), RTU)
    assert [(block.address, block.count, block.points) for block in planned] == [
        (0, 2, (0, 1)),
        (0, 4, (3,)),
        (2, 1, (2,)),
    ]


def test_greedy_joining_from_the_lowest_address_on_would_cost_three_registers_more():
    """At most five: 0 to 4 and 5 to 8 are nine registers; 0 alone and 4 to 8 are six."""
    described = [
        RegisterPoint(tag=f"T/{at}", address=at, kind=kind)
        for at, kind in ((0, "uint16"), (4, "uint16"), (5, "float64"))
    ]
    spans = [(b.address, b.count) for b in plan_blocks(instrument(described, largest_block=5), RTU)]
    assert spans == [(0, 1), (4, 5)]


def longest_run(numbers) -> int:
    longest = run = 0
    last = None
    for number in numbers:
        run = run + 1 if last == number - 1 else 1
        longest, last = max(longest, run), number
    return longest


def test_demo_controller_is_one_request():
    described = [RegisterPoint(tag=f"T/{at}", address=at, kind="float32") for at in range(0, 36, 2)]
    (block,) = plan_blocks(instrument(described), TCP)
    assert (block.function, block.address, block.count) == (3, 0, 36)


def test_order_in_the_file_does_not_change_the_requests():
    described = [RegisterPoint(tag=f"T/{at}", address=at) for at in (30, 3, 17, 4)]
    spans = [(block.address, block.count) for block in plan_blocks(instrument(described), TCP)]
    assert spans == [(3, 2), (17, 1), (30, 1)]
    assert [(b.address, b.count) for b in plan_blocks(instrument(described, largest_gap=12), TCP)] == [(3, 28)]


def test_gap_is_read_along_only_where_that_takes_less_time_than_another_request():
    far = [RegisterPoint(tag=f"T/{at}", address=at) for at in (0, 60)]
    assert len(plan_blocks(instrument(far, largest_gap=100), rtu(10 / 2400))) == 2
    assert len(plan_blocks(instrument(far, largest_gap=100), rtu(10 / 115200))) == 1
    assert len(plan_blocks(instrument(far, largest_gap=100), TCP)) == 1


def test_registers_that_must_be_read_alone_are_not_read_along_either():
    described = [RegisterPoint(tag=f"T/{at}", address=at, alone=at == 2) for at in range(5)]
    spans = [(block.address, block.count) for block in plan_blocks(instrument(described), TCP)]
    assert spans == [(0, 2), (2, 1), (3, 2)]
