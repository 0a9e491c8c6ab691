"""Whose turn it is: one at a time, urgent first, and a waiter that gives up holds nobody up."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st
from lms_agent.buses.turns import MOST_URGENT, Turns


async def waiting(turns, order, name, *, urgent=False):
    async with turns.take(urgent=urgent):
        order.append(name)
        await asyncio.sleep(0)


async def in_a_row(*callers) -> list[str]:
    """The order in which callers, (name, urgent) in the order of asking, get their turns on a line that is taken."""
    turns, order = Turns(), []
    async with turns.take():
        tasks = [asyncio.create_task(waiting(turns, order, name, urgent=urgent)) for name, urgent in callers]
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    return order


async def test_urgent_goes_before_those_that_wait_and_after_the_one_that_is_at_it():
    assert await in_a_row(("a", False), ("b", False), ("c", True), ("d", True)) == ["c", "d", "a", "b"]


async def test_flood_of_urgent_ones_leaves_every_poll_its_turn():
    order = await in_a_row(*((f"u{n}", True) for n in range(20)), ("poll", False))
    assert order.index("poll") == MOST_URGENT


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 5)), max_size=30))
async def test_nobody_overlaps_and_everybody_who_waits_gets_a_turn(callers):
    turns = Turns()
    inside = 0
    served = []

    async def caller(number, urgent, steps):
        nonlocal inside
        async with turns.take(urgent=urgent):
            inside += 1
            assert inside == 1
            try:
                for _ in range(steps):
                    await asyncio.sleep(0)
            finally:
                inside -= 1
            served.append(number)

    tasks = [asyncio.create_task(caller(number, urgent, steps)) for number, (urgent, _, steps) in enumerate(callers)]
    for number, (_, gives_up, steps) in enumerate(callers):
        if gives_up:
            for _ in range(steps):
                await asyncio.sleep(0)
            tasks[number].cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    stayed = [number for number, outcome in enumerate(outcomes) if outcome is None]
    assert sorted(served) == stayed
    assert {number for number, (_, gives_up, _) in enumerate(callers) if not gives_up} <= set(stayed)
    async with turns.take():
        pass
