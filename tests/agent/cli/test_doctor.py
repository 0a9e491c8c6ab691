"""`lms-agent doctor`: what is wrong, and what to do about it."""

import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
from lms_agent.buses.adapters import holders
from lms_agent.buses.present import PresentPort
from lms_agent.doctor import machine, ports, service
from lms_agent.doctor.finding import State
from lms_agent.installing.systemd import unit_of
from lms_agent.log.limits.retention import Limits

RUNNING = """\
LoadState=loaded
ActiveState=active
SubState=running
UnitFileState=enabled
Result=success
NRestarts=0
MainPID=812
StatusText=50 readings; 0 batches to acknowledge; sending
FragmentPath=/etc/systemd/system/lms-agent.service
ActiveEnterTimestamp=Wed 2026-11-25 08:00:00 UTC
MemoryCurrent=[not set]
"""


def by_subject(answer) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for finding in answer.json["findings"]:
        found.setdefault(finding["subject"], []).append(finding)
    return found


@pytest.fixture
def connected(plant, broker):
    """The plant's configuration with the real broker."""
    account = broker.add_agent("demo-org", f"bench-{secrets.token_hex(4)}")
    text = plant.config.read_text().replace("127.0.0.1:1883", f"{broker.host}:{broker.port}")
    plant.config.write_text(text.replace('account = "agent-1"', f'account = "{account.name}"'))
    (plant.config.parent / "secret").write_text(account.password)
    return plant


async def test_a_bench_that_is_well_is_told_so(connected, lms_agent):
    answer = await lms_agent("doctor", connected.config, "--json")
    found = by_subject(answer)
    assert answer.code == 0, answer.out
    assert answer.json["well"] is True
    assert [
        f["state"] for name in ("configuration", "bus controller", "bus line", "bus scale") for f in found[name]
    ] == ["good"] * 4
    assert [f["state"] for f in found["broker"]] == ["good"]
    assert [f["state"] for f in found["broker account"]] == ["good"]


async def test_what_is_wrong_has_its_remedy_and_code_1(connected, lms_agent):
    text = connected.config.read_text()
    text = text.replace(connected.rtu.address, "/dev/serial/by-id/gone").replace(
        f"port = {connected.tcp.port}", "port = 1"
    )
    connected.config.write_text(text)
    (connected.config.parent / "secret").write_text("another word")
    answer = await lms_agent("doctor", connected.config, "--json")
    wrong = {f["subject"]: f for f in answer.json["findings"] if f["state"] == "bad"}
    assert answer.code == 1
    assert "there is no /dev/serial/by-id/gone" in wrong["bus line"]["found"]
    assert "127.0.0.1:1" in wrong["bus controller"]["found"]
    assert "password_file" in wrong["broker account"]["remedy"]
    assert all(finding["remedy"] for finding in wrong.values())


async def test_screen_names_each_thing_and_fits_80_cells(connected, lms_agent, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    answer = await lms_agent("doctor", connected.config)
    lines = answer.out.splitlines()
    assert lines[0].startswith("configuration     ok")
    assert lines[-1].startswith("Nothing is wrong")
    too_long = [line for line in lines if len(line) > 80 and " " in line[24:].strip()]
    assert too_long == []


async def test_broken_configuration_does_not_end_the_examination(connected, lms_agent):
    connected.config.write_text(connected.config.read_text().replace('kind = "modbus-rtu"', 'kind = "modbus-rt"'))
    answer = await lms_agent("doctor", connected.config, "--json")
    found = by_subject(answer)
    assert answer.code == 1
    assert "line " in found["configuration"][0]["found"]
    assert "clock" in found
    assert "serial ports" in found


async def test_port_in_another_programs_hands_is_named(plant, lms_agent):
    descriptor = os.open(plant.rtu.address, os.O_RDWR | os.O_NOCTTY)
    try:
        answer = await lms_agent("doctor", plant.config, "--json")
    finally:
        os.close(descriptor)
    (held,) = by_subject(answer)["bus line"]
    assert held["state"] == "bad"
    assert f"(process {os.getpid()})" in held["found"]
    (free,) = by_subject(answer)["bus scale"]
    assert free["state"] == "good", "the simulator, which keeps its own end open, is nobody to complain of"


def test_holder_of_a_file_is_found_by_process(tmp_path):
    path = tmp_path / "a port"
    path.touch()
    command = [sys.executable, "-c", f"f = open({str(path)!r}); print('open', flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert [holder.pid for holder in holders(str(path))] == [process.pid]
        process.communicate(b"\n")
    assert holders(str(path)) == []


@pytest.mark.parametrize(
    ("now_ms", "follows", "state"),
    [
        (1_795_000_000_000, True, State.GOOD),
        (1_795_000_000_000, False, State.NOTE),
        (1_000_000, True, State.BAD),
    ],
)
def test_clock_is_judged_by_its_time_and_by_who_sets_it(now_ms, follows, state):
    assert machine.clock(now_ms, follows).state is state


def test_log_that_cannot_grow_to_its_limit_is_noted_with_a_limit_that_fits(tmp_path):
    findings = list(machine.disk(tmp_path / "log", Limits(max_bytes=10**18)))
    assert findings[0].state is State.NOTE
    assert "log_max_bytes = " in findings[0].remedy
    assert next(machine.disk(tmp_path / "none" / "log", Limits())).state is State.BAD


@pytest.mark.parametrize(
    ("change", "pid", "state", "words"),
    [
        ({}, 812, State.GOOD, "runs"),
        ({"UnitFileState": "disabled"}, 812, State.NOTE, "does not start at boot"),
        ({}, 900, State.NOTE, "by hand"),
        ({"ActiveState": "failed", "Result": "watchdog", "MainPID": "0"}, None, State.BAD, "watchdog"),
        ({"ActiveState": "inactive", "MainPID": "0"}, None, State.BAD, "does not run"),
        ({"LoadState": "not-found", "MainPID": "0"}, None, State.NOTE, "does not know"),
    ],
)
def test_service_is_judged_by_what_systemd_says(change, pid, state, words):
    told = dict(line.split("=", 1) for line in RUNNING.splitlines()) | change
    unit = unit_of("\n".join(f"{name}={value}" for name, value in told.items()))
    finding = service.judged(unit, pid, None)
    assert (finding.state, words in finding.found) == (state, True), finding


def test_port_by_number_is_advised_to_be_named_by_id(monkeypatch):
    known = [PresentPort("/dev/serial/by-id/usb-FTDI_1", "/dev/ttyUSB0", "FTDI")]
    monkeypatch.setattr(ports, "present_ports", lambda: known)
    assert ports._steady_name(Path("/dev/ttyUSB0")) == "/dev/serial/by-id/usb-FTDI_1"
    assert ports._steady_name(Path("/dev/serial/by-id/usb-FTDI_1")) is None
