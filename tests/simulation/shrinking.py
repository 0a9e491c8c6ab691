"""From a seed that fails to a report that can be read: what broke, how to run it again, the fewest faults that do it.

Faults are taken out one by one for as long as the run still fails; what is left is usually the story. A run is repeated
event by event, so the trace of the shortest one is the trace of the failure.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from simulation.plan import Plan
from simulation.world import Result, run

LAST_EVENTS = 40
MOST_RUNS = 150

Run = Callable[[Plan], Result]


def shorten(plan: Plan, run_plan: Run = run) -> Plan:
    """Take out what is not needed to fail: faults, then scans, then agents' and workers' company."""
    left = MOST_RUNS
    for candidates in (_without_faults, _without_scans, _without_workers):
        shorter = True
        while shorter and left > 0:
            shorter = False
            for candidate in candidates(plan):
                left -= 1
                if run_plan(candidate).failure:
                    plan, shorter = candidate, True
                    break
                if left <= 0:
                    break
    return plan


def report(result: Result, *, run_plan: Run = run) -> str:
    """All that is to be said of a failed run."""
    plan = result.plan
    shortest = shorten(plan, run_plan)
    again = run_plan(shortest) if run_plan is not run else run(shortest, trace=True)
    lines = [
        f"Seed {plan.seed} broke the promise: {result.failure}",
        "",
        f"Run it again with: make simulate SEED={plan.seed}",
        "",
        f"Shortest plan that still fails ({len(shortest.faults)} of {len(plan.faults)} faults,"
        f" {len(shortest.scans)} of {len(plan.scans)} scans, agents {', '.join(shortest.agents)},"
        f" workers {', '.join(shortest.workers)}):",
        *(f"  {fault}" for fault in shortest.faults),
        f"It fails with: {again.failure}",
        "",
        f"The last {LAST_EVENTS} events of it:",
        *(f"  {event}" for event in again.trace[-LAST_EVENTS:]),
    ]
    return "\n".join(lines)


def _without_faults(plan: Plan) -> Iterator[Plan]:
    half = len(plan.faults) // 2
    if half > 1:
        yield replace(plan, faults=plan.faults[half:])
        yield replace(plan, faults=plan.faults[:half])
    for index in range(len(plan.faults)):
        yield plan.without(index)


def _without_scans(plan: Plan) -> Iterator[Plan]:
    half = len(plan.scans) // 2
    if half:
        yield replace(plan, scans=plan.scans[half:])
        yield replace(plan, scans=plan.scans[:half])
    if half <= 6:
        for index in range(len(plan.scans)):
            yield replace(plan, scans=plan.scans[:index] + plan.scans[index + 1 :])


def _without_workers(plan: Plan) -> Iterator[Plan]:
    unused = [name for name in plan.workers if not any(fault.target == name for fault in plan.faults)]
    if unused and len(plan.workers) > 1:
        yield replace(plan, workers=tuple(name for name in plan.workers if name != unused[-1]))
    for agent in plan.agents:
        if len(plan.agents) > 1 and not any(fault.target == agent for fault in plan.faults):
            yield replace(
                plan,
                agents={name: devices for name, devices in plan.agents.items() if name != agent},
                scans=tuple(scan for scan in plan.scans if scan.agent != agent),
            )
