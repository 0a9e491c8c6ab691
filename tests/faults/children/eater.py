"""Takes memory until the kernel kills a process for it, and not this one. Usage: eater.py PID"""

import sys
import time
from pathlib import Path

STEP = 1 << 20

victim = Path("/proc") / sys.argv[1] / "stat"
victim.with_name("oom_score_adj").write_text("1000")
eaten = []


def lives() -> bool:
    """Whether the process is there, and is more than the rest of one that nobody has taken note of."""
    try:
        return victim.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


while lives():
    try:
        eaten.append(b"x" * STEP)
    except MemoryError:
        time.sleep(0.01)
