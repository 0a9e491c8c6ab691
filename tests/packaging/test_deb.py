"""The Debian package, installed, upgraded and removed with dpkg on a machine of its own, under its systemd."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
from lms_agent.health import read_status
from lms_agent.log.errors import LogError
from lms_agent.log.reader import LogReader
from lms_firmware_sim.wires.modbus_tcp import ModbusTcpWire
from lms_firmware_sim.wires.registers import RegisterMap
from lms_protocol.reading import Batch
from support.debian_machine import DebianMachine
from support.patience import until

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]  # a package is built and machines are booted
UNIT = "lms-agent.service"
PERIOD_S = 0.2
CONFIGURATION = """
[agent]
id = "agent-1"
group = "packaging"
log = "/var/lib/lms-agent/log.sqlite3"
[broker]
url = "mqtt://127.0.0.1:9"
account = "agent-1"
password_file = "agent-1.secret"
[[bioreactor]]
id = "R1"
[[bus]]
id = "line"
kind = "modbus-tcp"
host = "127.0.0.1"
port = {port}
timeout_s = 0.2
[[instrument]]
id = "unit"
bus = "line"
bioreactor = "R1"
unit = 1
period_s = {period_s}
[[instrument.point]]
tag = "pH/PV"
address = 0
kind = "float32"
"""


class Installed:
    """The agent on a machine; what it reads counts up, so that every reading is another one."""

    def __init__(self, machine: DebianMachine, registers: RegisterMap) -> None:
        self.machine = machine
        self._registers = registers

    async def on(self, *command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command on the machine."""
        return await asyncio.to_thread(self.machine.run, *command, check=check)

    async def install(self, package: Path) -> str:
        """Have dpkg install it."""
        return await asyncio.to_thread(self.machine.install, package)

    async def unit(self, asked: str) -> str:
        """A property of the service."""
        return await asyncio.to_thread(self.machine.unit, UNIT, asked)

    async def configure(self, port: int) -> None:
        """Write a configuration as a person would: the agent's group reads it, the agent alone reads the password."""
        folder = self.machine.root / "etc" / "lms-evo"
        for name, text in {
            "agent.toml": CONFIGURATION.format(port=port, period_s=PERIOD_S),
            "agent-1.secret": "s",
        }.items():
            (folder / name).touch(mode=0o600)
            (folder / name).write_text(text)
        await self.on("chown", "root:lms-agent", "/etc/lms-evo/agent.toml")
        await self.on("chmod", "0640", "/etc/lms-evo/agent.toml")
        await self.on("chown", "lms-agent:lms-agent", "/etc/lms-evo/agent-1.secret")

    def logged(self) -> list[Batch]:
        """Everything in the log."""
        try:
            reader = LogReader.open(self.machine.root / "var/lib/lms-agent/log.sqlite3")
        except LogError:
            return []
        with closing(reader):
            head, _ = reader.head()
            return reader.read(1, head)

    async def until_logged(self, count: int) -> list[Batch]:
        """Wait until so many batches have come; all there are."""
        wanted = len(self.logged()) + count
        await until(lambda: len(self.logged()) >= wanted, f"{count} more batches: {self.machine.words(UNIT)}")
        return self.logged()

    async def counting(self) -> None:
        """Have the instrument say another number all the time."""
        number = 0
        while True:
            self._registers.put(0, float(number := number + 1), "float32")
            await asyncio.sleep(PERIOD_S / 2)


@pytest.fixture
async def bare(machine: DebianMachine) -> AsyncIterator[tuple[Installed, int]]:
    """A machine without the package, and the port of an instrument."""
    registers = RegisterMap()
    installed = Installed(machine, registers)
    async with ModbusTcpWire({1: registers}) as wire:
        counting = asyncio.create_task(installed.counting())
        yield installed, wire.port
        counting.cancel()


@pytest.fixture
async def running(bare: tuple[Installed, int], packages: dict[str, Path]) -> Installed:
    """The older version, configured, running, with a few batches that no cloud has."""
    installed, port = bare
    await installed.install(packages["1.0"])
    await installed.configure(port)
    await installed.on("systemctl", "start", UNIT)
    await installed.until_logged(10)
    return installed


def assert_nothing_is_lost(before: list[Batch], after: list[Batch]) -> None:
    """What was logged is still there, bit by bit; numbers have no hole; where nothing was read, a gap says so."""
    assert after[: len(before)] == before
    assert [batch.number for batch in after] == list(range(1, len(after) + 1))
    times = [batch.readings[0].taken_at_ms for batch in after if batch.readings]
    gaps = [gap for batch in after for gap in batch.gaps]
    for earlier, later in pairwise(times):
        told = any(gap.began_at_ms <= earlier + 1 and (gap.ended_at_ms or later) >= later - 1 for gap in gaps)
        assert later - earlier < 2.5 * 1000 * PERIOD_S or told, (
            f"{later - earlier} ms without a reading or a gap: {gaps}"
        )


def test_package_brings_its_libraries_and_nothing_that_others_may_change(packages: dict[str, Path]) -> None:
    listed = subprocess.run(
        ["dpkg-deb", "--contents", packages["1.0"]], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    files = {line.split()[5].removeprefix("."): line for line in listed}
    assert all(line.split()[1] == "root/root" for line in listed)
    assert not [line for line in listed if line[0] != "l" and (line[5] == "w" or line[8] == "w")]
    assert "/usr/lib/systemd/system/lms-agent.service" in files
    top = {path.split("site-packages/")[1].split("/")[0] for path in files if "site-packages/" in path}
    assert {"lms_agent", "lms_protocol", "pydantic_core", "aiomqtt", "textual"} <= top
    assert not {"pip", "numpy", "lms_cloud", "bin"} & top
    assert not [path for path in files if "__pycache__" in path]


async def test_first_installation_waits_for_a_configuration(
    bare: tuple[Installed, int], packages: dict[str, Path]
) -> None:
    installed, port = bare
    assert "write /etc/lms-evo/agent.toml" in await installed.install(packages["1.0"])
    assert await installed.unit("ActiveState") == "inactive"
    assert await installed.unit("UnitFileState") == "enabled"
    assert "dialout" in (await installed.on("id", "-nG", "lms-agent")).stdout.split()
    state = (await installed.on("stat", "-c", "%U:%G %a", "/var/lib/lms-agent", "/etc/lms-evo")).stdout.split("\n")
    assert state[:2] == ["lms-agent:lms-agent 750", "root:lms-agent 750"]
    await installed.configure(port)
    await installed.on("systemctl", "start", UNIT)
    await installed.until_logged(3)
    await until(lambda: installed.machine.unit(UNIT, "StatusText"), "the service says how it does")
    assert "not sending" in await installed.unit("StatusText")
    status = read_status(installed.machine.root / "var/lib/lms-agent/log.sqlite3")
    assert status is not None
    assert status["clock"]["synchronised"] is not None, "the unit keeps the agent from asking the kernel"
    told = await installed.on("runuser", "-u", "lms-agent", "--", "lms-agent", "read")
    assert "pH/PV" in told.stdout


async def test_upgrade_and_roll_back_keep_the_backlog(running: Installed, packages: dict[str, Path]) -> None:
    for version in ("1.1", "1.0"):
        before, old = await running.until_logged(5), await running.unit("MainPID")
        said = await running.install(packages[version])
        assert version in (await running.on("dpkg-query", "--show", "lms-agent")).stdout
        assert await running.unit("ActiveState") == "active"
        assert await running.unit("MainPID") != old, said
        assert_nothing_is_lost(before, await running.until_logged(10))
        assert await running.unit("NRestarts") == "0"


async def test_upgrade_to_a_version_that_cannot_use_the_configuration_leaves_the_old_one_reading(
    running: Installed, packages: dict[str, Path]
) -> None:
    configuration = running.machine.root / "etc/lms-evo/agent.toml"
    configuration.write_text(configuration.read_text().replace("[agent]", "[agent]\nof_a_later_version = 1"))
    old = await running.unit("MainPID")
    assert "cannot use /etc/lms-evo/agent.toml" in await running.install(packages["1.1"])
    assert await running.unit("MainPID") == old
    before = running.logged()
    assert_nothing_is_lost(before, await running.until_logged(5))


async def test_removal_leaves_log_and_configuration(running: Installed) -> None:
    before = running.logged()
    await running.on("dpkg", "--remove", "lms-agent")
    assert await running.unit("LoadState") in {"not-found", "masked"}
    assert_nothing_is_lost(before, running.logged())
    assert "may hold readings" in (await running.on("dpkg", "--purge", "lms-agent")).stdout
    assert_nothing_is_lost(before, running.logged())
    assert (running.machine.root / "etc/lms-evo/agent.toml").exists()
    assert not list((running.machine.root / "opt").glob("lms-evo/*"))


async def test_systemd_starts_an_agent_that_hangs_anew(running: Installed) -> None:
    drop_in = running.machine.root / "etc/systemd/system/lms-agent.service.d/soon.conf"
    drop_in.parent.mkdir()
    drop_in.write_text("[Service]\nWatchdogSec=10\nRestartSec=0\n")
    await running.on("systemctl", "daemon-reload")
    await running.on("systemctl", "restart", UNIT)
    before = await running.until_logged(5)
    old = await running.unit("MainPID")
    await running.on("kill", "-STOP", old)
    await until(lambda: running.machine.unit(UNIT, "NRestarts") != "0", "systemd has started it again")
    assert_nothing_is_lost(before, await running.until_logged(5))
    assert await running.unit("MainPID") != old
