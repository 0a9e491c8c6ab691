"""Runs the agent again and again, each time killed with SIGKILL at a random moment: while it opens the log, reads,
writes, connects, sends or checkpoints.

Every life is a process of its own, forked with everything imported, so that a thousand of them fit into minutes.
Prints a JSON line at the end. Usage: killed_agents.py CONFIG KILLS SEED LONGEST_S
"""

import asyncio
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import sqlite_utils  # noqa: F401 - imported by the first life only, were it not here
from lms_agent.app import run_agent
from lms_agent.settings import load_settings


def live(config: Path) -> None:
    """One life of the agent; ended from outside."""
    asyncio.run(run_agent(load_settings(config), asyncio.Event()))


def main(config: Path, kills: int, seed: int, longest_s: float) -> None:
    chance = random.Random(seed)
    killed = 0
    while killed < kills:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                live(config)
            finally:
                os._exit(status)
        time.sleep(chance.uniform(0.0, longest_s))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
            sys.exit(f"life {killed + 1} ended by itself: {os.waitstatus_to_exitcode(status)}")
        killed += 1
    print(json.dumps({"killed": killed}))


main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
