"""Runs the agent again and again, each time killed with SIGKILL at a random moment: while it opens the log, reads,
writes, connects, sends or checkpoints.

Every life is a process of its own, forked with everything imported, so that a thousand of them fit into minutes.
Each record that is in the log after a kill must be there after the next one, bit by bit. Prints a JSON line at the end.
Usage: killed_agents.py CONFIG KILLS SEED LONGEST_S
"""

import asyncio
import json
import os
import random
import signal
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import sqlite_utils  # noqa: F401 - imported by the first life only, were it not here
from lms_agent.app import run_agent
from lms_agent.settings import load_settings


def live(config: Path) -> None:
    """One life of the agent; ended from outside."""
    asyncio.run(run_agent(load_settings(config), asyncio.Event()))


class Kept:
    """The newest records of a log, as they were after a kill.

    Attributes:
        kept, lost, wrong: readings of those that were there again after the next kill, that were not, and that had
            changed. All may be acknowledged, and none is old enough to be removed.
    """

    def __init__(self, log: Path) -> None:
        self._uri = f"file:{quote(str(log))}?mode=ro"
        self._records: dict[int, tuple[int, bytes]] = {}
        self.kept = self.lost = self.wrong = 0

    def compare(self) -> None:
        """After a kill."""
        with closing(sqlite3.connect(self._uri, uri=True)) as connection:
            after = max(0, min(self._records, default=1) - 1)
            rows = connection.execute("SELECT number, readings, record FROM batches WHERE number > ?", (after,))
            found = {number: (readings, record) for number, readings, record in rows}
        for number, (readings, record) in self._records.items():
            if number not in found:
                self.lost += readings
            elif found[number] != (readings, record):
                self.wrong += readings
            else:
                self.kept += readings
        self._records = dict(sorted(found.items())[-100:])


def main(config: Path, kills: int, seed: int, longest_s: float) -> None:
    chance = random.Random(seed)
    log = Kept(load_settings(config).agent.log)
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
        log.compare()
    print(json.dumps({"killed": killed, "kept": log.kept, "lost": log.lost, "wrong": log.wrong}))


main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
