"""What a technician's account can do, which may read neither the broker's password nor, without its group, the log."""

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path

import pytest
from lms_agent.log.sqlite_log import SqliteLog
from lms_firmware_sim.wires import ModbusTcpWire, RegisterMap

NOBODY = 65534
PROGRAM = Path(sys.executable).with_name("lms-agent")


@pytest.fixture
async def configured():
    """A configuration that everybody may read, with a log and a password that only their owner may."""
    if os.geteuid():
        pytest.skip("needs root, to become another account")
    registers = RegisterMap()
    registers.put(0, 7.01, "float32")
    with tempfile.TemporaryDirectory(prefix="lms-test-") as name:  # pytest's own folders are root's alone
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "secret").touch(0o600)
        (folder / "secret").write_text("correct horse")
        (folder / "data").mkdir(0o750)
        async with ModbusTcpWire({1: registers}) as wire:
            config = folder / "agent.toml"
            config.write_text(
                '[agent]\nid = "a"\ngroup = "g"\nlog = "data/log.sqlite3"\n'
                '[broker]\nurl = "mqtt://127.0.0.1:1"\naccount = "a"\npassword_file = "secret"\n'
                '[[bioreactor]]\nid = "R1"\n'
                f'[[bus]]\nid = "b"\nkind = "modbus-tcp"\nhost = "127.0.0.1"\nport = {wire.port}\n'
                '[[instrument]]\nid = "i"\nbus = "b"\nbioreactor = "R1"\n'
                'point = [{ tag = "pH/PV", address = 0, kind = "float32", decimals = 2 }]\n'
            )
            config.chmod(0o644)
            SqliteLog.open(folder / "data" / "log.sqlite3").close()
            yield config


async def as_nobody(*arguments: object, number: int = NOBODY) -> tuple[int, str, str]:
    """Run the command as an account without any group; skips where that account may not even run it."""

    def become() -> None:
        os.setgroups([])
        os.setgid(number)
        os.setuid(number)

    try:
        process = await asyncio.create_subprocess_exec(
            *map(str, (PROGRAM, *arguments)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            preexec_fn=become,
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "HOME": "/", "PYTHONDONTWRITEBYTECODE": "1"},
        )
    except PermissionError:
        pytest.skip(f"another account may not run {PROGRAM}")
    out, err = await process.communicate()
    if "ModuleNotFoundError" in err.decode() or "Permission denied" in err.decode().split("\n")[0]:
        pytest.skip(f"another account may not run {PROGRAM}")
    return process.returncode or 0, out.decode(), err.decode()


@pytest.mark.parametrize("command", ["check", "plan"])
async def test_configuration_can_be_looked_at_without_the_password(command, configured):
    code, out, err = await as_nobody(command, configured)
    assert code == 0, err
    assert "pH/PV" in out


@pytest.mark.parametrize("command", ["history", "sync", "watch", "log", "lock"])
async def test_log_of_another_account_is_told_to_be_hidden_with_what_to_do(command, configured):
    code, out, err = await as_nobody(command, "--config", configured)
    assert code == 1, out
    assert "may not read it" in err
    assert "sudo" in err
    assert "Traceback" not in err


async def test_doctor_says_what_it_could_not_see(configured):
    code, out, err = await as_nobody("doctor", configured, "--json")
    assert code == 0, err
    (hidden,) = (finding for finding in json.loads(out)["findings"] if finding["state"] == "unknown")
    assert "nothing more can be told" in hidden["found"]
    assert "sudo" in hidden["remedy"]


async def test_agent_itself_needs_the_password(configured):
    code, _, err = await as_nobody("run", "--config", configured)
    assert code == 2
    assert "password_file" in err


@pytest.mark.parametrize(
    "arguments", ["set pH/PV 7 --why x", "lock R1 --why x", "sync", "calibrations", "history", "log commands"]
)
async def test_configuration_that_may_not_be_read_is_told_to_programs_too(arguments, configured):
    configured.chmod(0o600)
    code, out, err = await as_nobody(*arguments.split(), "--config", configured, "--json")
    assert (code, err) == (2, "")
    assert {"error", "problems"} & set(json.loads(out))


async def test_account_without_a_name_is_told_by_its_number(configured):
    code, _, err = await as_nobody("history", "--config", configured, number=54_321)
    assert (code, "user 54321 may not read it" in " ".join(err.split())) == (1, True), err
