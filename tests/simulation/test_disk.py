"""The simulated disk does what it is for: it forgets and tears what was not synced, and nothing else."""

import sqlite3
from random import Random

import pytest

from simulation.disk import FULL, Disk, connecting


@pytest.fixture
def disk(tmp_path):
    made = Disk(tmp_path)
    connecting.set(made)
    yield made
    made.forget()
    connecting.set(None)


def opened(disk, synchronous):
    connection = sqlite3.connect(disk.folder / "log.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    return connection


def numbers(disk):
    return [row[0] for row in opened(disk, "FULL").execute("SELECT n FROM t ORDER BY n")]


def test_what_is_committed_and_synced_survives_every_power_cut(disk):
    opened(disk, "FULL").execute("CREATE TABLE t (n)")
    for seed in range(60):
        connection = opened(disk, "FULL")
        connection.execute("INSERT INTO t VALUES (?)", (seed,))
        connection.execute("BEGIN")
        connection.execute("INSERT INTO t VALUES (-1)")
        disk.revive(power_was_cut=True, rng=Random(seed))
        assert numbers(disk) == list(range(seed + 1))
    assert opened(disk, "FULL").execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_what_is_not_synced_is_lost_in_some_power_cuts_and_only_from_the_end(disk):
    opened(disk, "FULL").execute("CREATE TABLE t (n)")
    lost = 0
    for seed in range(60):
        before = numbers(disk)
        connection = opened(disk, "NORMAL")  # in WAL mode: commits are not synced
        for n in range(5):
            connection.execute("INSERT INTO t VALUES (?)", (10 * seed + n,))
        disk.revive(power_was_cut=True, rng=Random(seed))
        after = numbers(disk)
        written = before + [10 * seed + n for n in range(5)]
        assert after == written[: len(after)]
        lost += after != written
    assert 10 < lost < 60


def test_a_killed_process_loses_nothing_that_it_wrote(disk):
    opened(disk, "FULL").execute("CREATE TABLE t (n)")
    for seed in range(10):
        opened(disk, "NORMAL").execute("INSERT INTO t VALUES (?)", (seed,))
        disk.revive(power_was_cut=False, rng=Random(seed))
        assert numbers(disk) == list(range(seed + 1))


def test_a_full_disk_refuses_and_a_dead_one_changes_nothing_more(disk):
    connection = opened(disk, "FULL")
    connection.execute("CREATE TABLE t (n)")
    disk.refuses = FULL
    with pytest.raises(sqlite3.OperationalError, match="full"):
        connection.execute("INSERT INTO t VALUES (1)")
    disk.refuses = 0
    connection.execute("INSERT INTO t VALUES (2)")
    disk.dead = True
    with pytest.raises(sqlite3.OperationalError):
        connection.execute("INSERT INTO t VALUES (3)")
    disk.revive(power_was_cut=False, rng=Random(0))
    assert numbers(disk) == [2]
