"""Run seeds: `python -m simulation --seeds 1000`; one of them, with its trace: `python -m simulation --seed 42`.

Ends with 1 and the report of the first failing seed, if one fails.
"""

import argparse
import os
import sys

from simulation import quick
from simulation.plan import draw_plan
from simulation.running import Progress, run_many
from simulation.world import run


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many seeds to run (default 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default 0)")
    parser.add_argument("--seed", type=int, help="run this one alone, and print its trace")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    parser.add_argument("--quick", action="store_true", help="the state machines alone, many times as fast")
    options = parser.parse_args()
    if options.seed is not None:
        return _quick_one(options.seed) if options.quick else _one(options.seed)
    done = run_many(options.first, options.seeds, options.workers, quickly=options.quick, tell=_tell)
    print(f"\n{done.failure}" if done.failure else f"\r{done}; none broke the promise")
    print(", ".join(f"{name} {count:,}" for name, count in done.counts.items()))
    return 1 if done.failure else 0


def _tell(progress: Progress) -> None:
    if sys.stdout.isatty():
        print(f"\r{progress}", end="", flush=True)


def _one(seed: int) -> int:
    result = run(draw_plan(seed), trace=True)
    print("\n".join(map(str, result.plan.faults)))
    print("\n".join(result.trace))
    print(", ".join(f"{name} {count}" for name, count in result.counts.items()))
    print(f"FAILED: {result.failure}" if result.failure else "The promise was kept.")
    return 1 if result.failure else 0


def _quick_one(seed: int) -> int:
    failure, world = quick.run(seed)
    print("\n".join(world.events))
    print(f"FAILED: {failure}" if failure else "The promise was kept.")
    return 1 if failure else 0


if __name__ == "__main__":
    sys.exit(main())
