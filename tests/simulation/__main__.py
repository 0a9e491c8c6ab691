"""Run seeds: `python -m simulation --seeds 1000`; one of them, with its trace: `python -m simulation --seed 42`.

Ends with 1 and the report of the first failing seed, if one fails.
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter

from simulation.plan import draw_plan
from simulation.shrinking import report
from simulation.world import run

CHUNK = 20


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many seeds to run (default 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default 0)")
    parser.add_argument("--seed", type=int, help="run this one alone, and print its trace")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    options = parser.parse_args()
    if options.seed is not None:
        return _one(options.seed)
    return _many(options.first, options.seeds, options.workers)


def _one(seed: int) -> int:
    result = run(draw_plan(seed), trace=True)
    print("\n".join(map(str, result.plan.faults)))
    print("\n".join(result.trace))
    print(", ".join(f"{name} {count}" for name, count in result.counts.items()))
    print(f"FAILED: {result.failure}" if result.failure else "The promise was kept.")
    return 1 if result.failure else 0


def _many(first: int, seeds: int, workers: int) -> int:
    chunks = [(start, min(start + CHUNK, first + seeds)) for start in range(first, first + seeds, CHUNK)]
    began_s = time.monotonic()
    done, counts = 0, Counter[str]()
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for failed, ran, counted in pool.imap_unordered(run_chunk, chunks):
            done += ran
            counts.update(counted)
            if failed is not None:
                pool.terminate()
                print(f"\n{failed}")
                return 1
            if sys.stdout.isatty():
                print(f"\r{_pace(done, seeds, began_s)}", end="", flush=True)
    print(f"\r{_pace(done, seeds, began_s)}; none broke the promise")
    print(", ".join(f"{name} {count:,}" for name, count in counts.items()))
    return 0


def _pace(done: int, seeds: int, began_s: float) -> str:
    elapsed_s = time.monotonic() - began_s
    a_second = done / elapsed_s
    million_h = 1_000_000 / a_second / 3600
    return f"{done:,} of {seeds:,} seeds in {elapsed_s:.0f} s, {a_second:.1f} a second (a million: {million_h:.1f} h)"


def run_chunk(chunk: tuple[int, int]) -> tuple[str | None, int, Counter[str]]:
    """Run seeds [first, end): the report of the first that fails, how many ran, and what they did."""
    first, end = chunk
    counts = Counter[str]()
    for seed in range(first, end):
        result = run(draw_plan(seed))
        counts.update(result.counts)
        if result.failure:
            return report(result), seed - first + 1, counts
    return None, end - first, counts


if __name__ == "__main__":
    sys.exit(main())
