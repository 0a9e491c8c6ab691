"""The keeper, with real processes."""

import os
import signal
import sys

import pytest
from lms_firmware_sim.stand.errors import ServiceFailedError
from lms_firmware_sim.stand.keeper import Keeper, Program


@pytest.fixture
def said():
    return []


@pytest.fixture
def keeper(said):
    kept = Keeper(said.append, lambda: None)
    yield kept
    kept.stop()


@pytest.fixture
def sleeper(tmp_path):
    """A program that writes its name into a file when it is told to end."""

    def make(name):
        source = (
            "import signal, sys, time\n"
            "def end(*_):\n    open(sys.argv[1], 'a').write(sys.argv[2] + '\\n'); sys.exit()\n"
            "signal.signal(signal.SIGTERM, end)\n"
            "open(sys.argv[1] + '.' + sys.argv[2], 'w').close()\n"
            "time.sleep(600)"
        )
        argv = [sys.executable, "-c", source, tmp_path / "ended", name]
        return Program(argv, env=os.environ, log_path=tmp_path / f"{name}.log", cwd=tmp_path)

    return make


def test_what_dies_is_started_again_and_told(keeper, sleeper, said, wait_for):
    keeper.start("agent-1", sleeper("agent-1"))
    first = keeper.pids()["agent-1"]
    os.kill(first, signal.SIGKILL)

    def runs_again():
        keeper.look()
        return keeper.pids().get("agent-1", first) != first

    wait_for(runs_again)
    assert said[0] == "agent-1 ended (killed by SIGKILL); starting it again in 0.5 s"
    assert said[1] == f"agent-1 runs again (process {keeper.pids()['agent-1']})"


def test_what_was_started_last_is_stopped_first(keeper, sleeper, tmp_path, wait_for):
    for name in ("one", "two", "three"):
        keeper.start(name, sleeper(name))
    wait_for(lambda: all((tmp_path / f"ended.{name}").exists() for name in ("one", "two", "three")))
    pids = keeper.pids()
    keeper.stop()
    assert (tmp_path / "ended").read_text().split() == ["three", "two", "one"]
    for pid in pids.values():
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


class Failing:
    """A service that starts once and never again."""

    def __init__(self, log_path):
        self.starts = 0
        self._log_path = log_path
        self.pid = None

    def start(self):
        self.starts += 1
        if self.starts > 1:
            raise ServiceFailedError("The database", "ended while starting", self._log_path)

    def poll(self):
        return 1

    def stop(self):
        pass


def test_patience_grows_while_a_service_does_not_start(keeper, said, tmp_path, monkeypatch):
    now_s = 1000.0
    monkeypatch.setattr("lms_firmware_sim.stand.keeper.time.monotonic", lambda: now_s)
    service = Failing(tmp_path / "log")
    keeper.start("postgresql", service)
    tried_at = []
    for tenths in range(12_000):
        now_s = 1000.0 + tenths / 10
        before = service.starts
        keeper.look()
        if service.starts > before:
            tried_at.append(now_s - 1000.0)
    pauses = [later - earlier for earlier, later in zip([0.0, *tried_at], tried_at, strict=False)]
    assert pauses[:7] == pytest.approx([0.5, 1, 2, 4, 8, 16, 30], abs=0.15)
    assert max(pauses) == pytest.approx(30, abs=0.15)
    assert "Trying again in 30 s" in said[-1]
