"""The whole chain under SIGKILL: every logged reading is in the database once and bit-equal, whatever was killed.

The demo runs as a user starts it (database, broker, simulator on real wires, two agents, ingest, web); its processes
are killed at random moments, and its keeper starts them again. The seed is printed; LMS_TEST_SEED repeats one.
"""

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from support.demo import RunningDemo
from support.reconciling import acked, head, reconcile

ROOT = Path(__file__).resolve().parents[2]
CATCH_UP_WITHIN_S = 90.0
VICTIMS = ("agent-1", "agent-2", "broker", "ingest", "postgresql", "simulator")
ROUNDS = 3


@pytest.fixture
def demo(stand_folder: Path) -> Iterator[RunningDemo]:
    running = RunningDemo(stand_folder / "system" / ".demo")
    yield running
    running.end()


def wait_until_caught_up(demo: RunningDemo) -> float:
    """Wait until all that is logged by now is acknowledged; the seconds it took."""
    began_s = time.monotonic()
    wanted = {path: head(path) for path in demo.logs}
    while any(acked(path) < number for path, number in wanted.items()):
        state = {path.name: (acked(path), head(path)) for path in demo.logs}
        assert time.monotonic() - began_s < CATCH_UP_WITHIN_S, f"not caught up (acknowledged, logged): {state}"
        time.sleep(0.2)
    return time.monotonic() - began_s


@pytest.mark.system
@pytest.mark.timeout(420)
def test_every_logged_reading_is_stored_once_and_bit_equal_whatever_is_killed(demo: RunningDemo) -> None:
    seed = int(os.environ.get("LMS_TEST_SEED", random.randrange(1 << 32)))
    print(f"LMS_TEST_SEED={seed}")
    chance = random.Random(seed)
    killed = list(VICTIMS) * ROUNDS
    chance.shuffle(killed)
    before = sum(head(path) for path in demo.logs)
    for victim in killed:
        time.sleep(chance.uniform(0.1, 2.5))
        demo.kill(victim)
    took_s = wait_until_caught_up(demo)
    verdict = reconcile(demo.told["database_url"], demo.logs)
    print(f"{len(killed)} kills; caught up {took_s:.1f} s after the last; {verdict.compared} readings compared")
    assert (verdict.lost, verdict.foreign, verdict.doubled) == ({}, {}, {}), verdict
    assert sum(head(path) for path in demo.logs) > before + 10, "the agents went on reading"
    assert verdict.stored >= verdict.compared > 1_000
    with psycopg.connect(demo.told["database_url"]) as connection:
        reasons = {row[0] for row in connection.execute("select reason from gaps")}
    assert any("not running" in reason for reason in reasons), f"no gap tells of the agents' absence: {reasons}"
