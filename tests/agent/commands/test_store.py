"""What must be known over restarts is on the disk, or nobody may set anything from afar."""

import math
import os
import sqlite3
import stat
import threading

import pytest
from lms_agent.commands.alone import lock_alone
from lms_agent.commands.commanding import NotNow
from lms_agent.commands.store import CommandStore, StoreUnavailable, locks_of, store_path
from lms_agent.log.lock import is_written
from lms_agent.log.sqlite_log import SqliteLog
from lms_protocol.command_book import Record
from lms_protocol.commands import Lock, SetPoint, Source, State

COMMAND = SetPoint("c-1", "R1", "pH/SP", 7.1, "ada", "µ ramp", Source.REMOTE, 5, 30_005)


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log.sqlite3"


def reopened(log):
    store = CommandStore.open(log, ["R1", "R2"], 9)
    store.close()
    return store


@pytest.mark.parametrize("value", [7.1, 7, True, "N2", None, math.inf])
def test_record_is_read_as_it_was_written(log, value):
    record = Record(
        SetPoint("c", "R1", "t", value, "a", "b", Source.BENCH, 1, 2), State.DONE, 7, "why", value, 6, "bob"
    )
    store = CommandStore.open(log)
    store.save(record)
    store.close()
    assert reopened(log).records == [record]
    assert stat.S_IMODE(store_path(log).stat().st_mode) == 0o640


def test_events_wait_in_order_until_they_are_told(log):
    store = CommandStore.open(log)
    store.save(Record(COMMAND, State.BEGUN, 6), [("R1", "one"), ("R2", "two")])
    store.save(events=[("R1", "three")])
    assert [event[1:] for event in store.untold()] == [("R1", "one"), ("R2", "two"), ("R1", "three")]
    store.told([store.untold()[0].number])
    store.forget(["c-1"])
    store.close()
    store = CommandStore.open(log)
    assert [event.text for event in store.untold()] == ["two", "three"]
    assert store.records == []
    store.close()


def test_locks_are_seen_by_who_may_only_look(log):
    assert locks_of(log) == {}
    store = CommandStore.open(log)
    store.save(locks={"R1": Lock("bob", "cleaning", 5), "R2": Lock("ada", "move", 6)})
    store.save(locks={"R2": None})
    store.close()
    assert locks_of(log) == {"R1": Lock("bob", "cleaning", 5)}


def test_locks_that_this_account_may_not_see_are_told_to_be_hidden_with_what_to_do(log, monkeypatch):
    reopened(log)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(StoreUnavailable, match=r"may not read it; .*sudo"):
        locks_of(log)


@pytest.mark.parametrize("damage", [b"no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4080])
def test_damaged_file_is_set_aside_and_all_is_locked(log, damage):
    store_path(log).write_bytes(damage)
    store = CommandStore.open(log, ["R1", "R2"], 9)
    assert store.damaged is not None
    assert store.damaged.read_bytes() == damage
    assert set(store.locks()) == {"R1", "R2"}
    store.close()
    assert set(locks_of(log)) == {"R1", "R2"}


def test_record_that_nobody_can_read_is_damage(log):
    CommandStore.open(log).close()
    connection = sqlite3.connect(store_path(log))
    connection.execute("INSERT INTO commands VALUES ('c-1', '{}')")
    connection.commit()
    connection.close()
    assert reopened(log).damaged is not None
    assert set(locks_of(log)) == {"R1", "R2"}


def test_file_of_a_later_release_is_left_alone(log):
    CommandStore.open(log).close()
    connection = sqlite3.connect(store_path(log))
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreUnavailable, match="later release"):
        CommandStore.open(log)


def test_place_that_cannot_be_written_is_told_and_memory_locks_all(log, tmp_path):
    store_path(log).mkdir()
    with pytest.raises(StoreUnavailable) as error:
        CommandStore.open(log)
    store = CommandStore.in_memory(log, ["R1"], error.value, 9)
    assert not store.lasts
    assert store.locks() == {"R1": Lock("lms-agent", str(error.value), 9)}
    store.close()


def test_link_in_its_place_is_not_followed(log, tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"")
    store_path(log).symlink_to(victim)
    with pytest.raises(StoreUnavailable):
        CommandStore.open(log)
    assert victim.read_bytes() == b""


def test_store_may_be_closed_while_others_are_at_it(log):
    store = CommandStore.open(log)
    store.save(events=[("R1", "x" * 1000)] * 200)
    refused = []

    def read_on():
        try:
            while True:
                store.untold()
        except StoreUnavailable as error:
            refused.append(error)

    readers = [threading.Thread(target=read_on) for _ in range(4)]
    for reader in readers:
        reader.start()
    store.close()
    for reader in readers:
        reader.join(30)
    assert len(refused) == 4


def test_lock_is_not_written_behind_the_back_of_an_agent_that_begins(clerk, monkeypatch):
    """It reads the locks once, when it begins."""
    path, lock, written = clerk.settings.agent.log, Lock("bob", "hands", 1), []
    said = {"by": "bob", "why": "hands", "account": "bob", "now_ms": 1}
    save = CommandStore.save
    monkeypatch.setattr(CommandStore, "save", lambda *a, **b: (written.append(is_written(path)), save(*a, **b)))
    with SqliteLog.open(path), pytest.raises(NotNow, match="an agent runs"):
        lock_alone(clerk.settings, "R1", lock, **said)
    lock_alone(clerk.settings, "R1", lock, **said)
    assert written == [True]
    assert locks_of(path) == {"R1": lock}
