"""Figures of a benchmark: each beside the limit or peer measured in the same run, printed as one line.

Machines are shared and noisy, so nothing here is asserted; the ratio is what to read.
"""

from collections.abc import Callable
from statistics import median
from typing import NamedTuple


class Pair(NamedTuple):
    """Medians of ours and of the peer, and the median of the ratios ours / peer, run by run."""

    ours: float
    peer: float
    ratio: float


def alternate(ours: Callable[[], float], peer: Callable[[], float], *, rounds: int = 5) -> Pair:
    """Run both in turn, peer first, `rounds` times after one warm-up each, so that a slow spell hits both."""
    peer(), ours()
    results = [(peer(), ours()) for _ in range(rounds)]
    return Pair(
        ours=median(own for _, own in results),
        peer=median(other for other, _ in results),
        ratio=median(own / other for other, own in results),
    )


def show(figure: str, value: str, *, beside: str, ratio: float | None = None) -> None:
    """Print one figure with the limit or peer of the same run."""
    tail = "" if ratio is None else f"   ratio {ratio:.2f}"
    print(f"\n  {figure:<58} {value:>16}   beside {beside}{tail}")
