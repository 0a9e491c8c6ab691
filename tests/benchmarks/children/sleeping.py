"""Wakes up on a grid, and does nothing: what the computer and its other load do to the punctuality of anybody.

Usage: sleeping.py PERIOD_S COUNT; says by how many ms it was late, one line each.
"""

import sys
import time


def main(period_s: float, count: int) -> None:
    start_s = time.monotonic()
    late = []
    for number in range(1, count + 1):
        time.sleep(max(0.0, start_s + number * period_s - time.monotonic()))
        late.append(1000 * (time.monotonic() - start_s - number * period_s))
    print("\n".join(f"{ms:.3f}" for ms in late))


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
