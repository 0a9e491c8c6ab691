"""How many seeds the simulation runs in a second, and how long a million takes: on all cores of this machine.

`make simulate SEEDS=1000000` and `make simulate QUICK=1 SEEDS=1000000` run the million.
"""

import os

import pytest
from simulation.running import run_many

MOST_S = 45.0

pytestmark = pytest.mark.bench


@pytest.mark.parametrize("quickly", [False, True], ids=["the-real-code", "the-state-machines-alone"])
def test_seeds_of_the_simulation_a_second(quickly):
    first = 1_000_000  # others than those of the tests
    done = run_many(first, 1_000_000, os.cpu_count() or 1, quickly=quickly, most_s=MOST_S)
    print(f"\n  {done}")
    print("  " + ", ".join(f"{name} {count:,}" for name, count in done.counts.items()))
    assert not done.failure, done.failure
    assert done.done > 0
