"""Many seeds, over all cores; used by the command line and by the benchmark."""

import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from simulation import quick
from simulation.plan import draw_plan
from simulation.shrinking import report
from simulation.world import run

CHUNK = 20
QUICK_CHUNK = 500


@dataclass
class Progress:
    """How far it is.

    Attributes:
        failure: the report of the first seed that failed; "" if none did.
        counts: what was done in all seeds.
    """

    wanted: int
    done: int = 0
    seconds: float = 0.0
    failure: str = ""
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def seeds_a_second(self) -> float:
        """The pace."""
        return self.done / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        """In a line."""
        pace = self.seeds_a_second
        million_min = 1_000_000 / pace / 60 if pace else float("inf")
        return (
            f"{self.done:,} of {self.wanted:,} seeds in {self.seconds:.0f} s, {pace:.0f} a second"
            f" (a million: {million_min:,.0f} min)"
        )


class _Chunk(NamedTuple):
    first: int
    end: int
    quickly: bool


def run_many(
    first: int,
    seeds: int,
    workers: int,
    *,
    quickly: bool = False,
    most_s: float = float("inf"),
    tell: Callable[[Progress], None] = lambda progress: None,
) -> Progress:
    """Run seeds until all are done, one fails, or `most_s` seconds are over."""
    size = QUICK_CHUNK if quickly else CHUNK
    chunks = [_Chunk(start, min(start + size, first + seeds), quickly) for start in range(first, first + seeds, size)]
    progress = Progress(seeds)
    began_s = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for failure, counts in pool.imap_unordered(_run_chunk, chunks):
            progress.counts.update(counts)
            progress.done = progress.counts["seeds"]
            progress.seconds = time.monotonic() - began_s
            progress.failure = failure
            tell(progress)
            if failure or progress.seconds > most_s:
                break
        pool.terminate()
    return progress


def _run_chunk(chunk: _Chunk) -> tuple[str, Counter[str]]:
    counts = Counter[str]()
    for seed in range(chunk.first, chunk.end):
        counts["seeds"] += 1
        for failure in _run_seed(seed, counts, quickly=chunk.quickly):
            return failure, counts
    return "", counts


def _run_seed(seed: int, counts: Counter[str], *, quickly: bool) -> Iterator[str]:
    """Run a seed; the report, if it fails."""
    if quickly:
        failure, world = quick.run(seed)
        counts["batches"] += len(world.batches)
        if failure:
            yield quick.report(seed)
        return
    result = run(draw_plan(seed))
    counts.update(result.counts)
    if result.failure:
        yield report(result)
