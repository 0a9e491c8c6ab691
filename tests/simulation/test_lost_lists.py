"""Damage takes the list of logs that were set aside, after old images came back: they are found and sent again."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count, islice
from random import Random

from simulation.plan import Fault, Plan, draw_plan
from simulation.shrinking import report
from simulation.world import run

PLANS = 20


def plans() -> Iterator[Plan]:
    """Plans in which old images come back, and then once or twice the list of what was set aside is damaged."""
    for seed in count():
        plan, chance = draw_plan(seed), Random(f"{seed}:lists")
        images = [fault for fault in plan.faults if fault.kind == "bring_back"]
        if not images:
            continue
        spoilt = [
            Fault(round(image.at_s + image.for_s, 3), "spoil_lists", image.target, round(chance.uniform(0, 15), 3))
            for image in images
        ]
        yield replace(plan, faults=tuple(sorted((*plan.faults, *spoilt))))


def test_lists_that_are_lost_lose_and_double_nothing():
    found = 0
    for plan in islice(plans(), PLANS):
        result = run(plan, trace=True)
        assert not result.failure, report(result)
        found += any("is on no list" in str(event) for event in result.trace)
    assert found > PLANS / 5
