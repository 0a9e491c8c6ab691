"""Some thousand runs of agents, broker, ingest workers and database in which everything goes wrong that can."""

from collections import Counter

import pytest

from simulation import quick
from simulation.plan import draw_plan
from simulation.shrinking import report
from simulation.world import run

SEEDS = 600
CHUNK = 40
QUICK_SEEDS = 2000


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_what_was_logged_is_committed_once_unaltered_and_acknowledged(first):
    counts = Counter()
    for seed in range(first, first + CHUNK):
        result = run(draw_plan(seed))
        assert not result.failure, report(result)
        counts.update(result.counts)
    assert counts["batches"] > 10 * CHUNK  # a simulation in which nothing happens would find nothing
    assert counts["acknowledgements"] > 10 * CHUNK
    assert counts["boots"] > CHUNK


def test_a_seed_means_one_run_event_by_event():
    for seed in range(5):
        once, again = run(draw_plan(seed), trace=True), run(draw_plan(seed), trace=True)
        assert once.trace == again.trace
        assert once.counts == again.counts


def test_the_state_machines_alone_keep_the_promise():
    batches = 0
    for seed in range(QUICK_SEEDS):
        failure, world = quick.run(seed)
        assert not failure, quick.report(seed)
        batches += len(world.batches)
    assert batches > 3 * QUICK_SEEDS
