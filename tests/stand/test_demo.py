"""The demo as a whole, as `make demo` runs it: what it tells, what it keeps, and that it leaves nothing running."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
from support.demo import RunningDemo

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]
ROOT = Path(__file__).resolve().parents[2]
PROCESSES = {"demo", "postgresql", "broker", "simulator", "ingest", "web", "agent-1", "agent-2"}


@pytest.fixture
def start():
    """`start(folder)`: a demo that is up."""
    started = []

    def run(folder):
        started.append(RunningDemo(folder))
        return started[-1]

    yield run
    for demo in started:
        demo.end()


@pytest.fixture
def folder(stand_folder):
    made = stand_folder / "check out" / ".demo"
    made.parent.mkdir()
    yield made
    subprocess.run([sys.executable, "-m", "lms_firmware_sim.stand", "reset", "--folder", made], check=True)
    assert not made.exists()
    made.parent.rmdir()


def readings(told):
    with psycopg.connect(told["database_url"]) as connection:
        return connection.execute("select count(*), min(taken_at) from readings").fetchone()


def test_demo_tells_where_it_is_goes_on_with_its_data_and_leaves_no_process(start, folder, wait_for):
    demo = start(folder)
    told = demo.told
    assert (folder / "demo.json").stat().st_mode & 0o777 == 0o600
    assert set(told) == {"url", "email", "password", "mqtt_url", "database_url", "pids"}
    assert set(told["pids"]) == PROCESSES
    assert told["pids"]["demo"] == demo.process.pid
    assert httpx.get(told["url"] + "/readyz").status_code == 200
    assert any(told["password"] in line for line in demo.said)
    wait_for(lambda: readings(told)[0] > 100)

    second = subprocess.run(
        [sys.executable, "-m", "lms_firmware_sim.stand", "demo", "--folder", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 1
    assert f"process {demo.process.pid}" in second.stderr

    count, first_taken_at = readings(told)
    assert demo.end(signal.SIGTERM) == 0
    assert not (folder / "demo.json").exists()

    again = start(folder)
    assert again.told["password"] == told["password"]
    count_again, first_again = readings(again.told)
    assert count_again >= count
    assert first_again <= first_taken_at
    assert not any("history" in line for line in again.said)

    agent = again.told["pids"]["agent-1"]
    os.kill(agent, signal.SIGKILL)
    wait_for(lambda: again.told["pids"].get("agent-1", agent) != agent)

    secrets = {path.read_text() for path in (folder / "secrets").iterdir()} | {told["password"]}
    for process in again.family():
        with contextlib.suppress(psutil.NoSuchProcess):
            assert not any(secret in " ".join(process.cmdline()) for secret in secrets)
    again.end(signal.SIGKILL)
