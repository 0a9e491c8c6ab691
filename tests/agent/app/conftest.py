"""An agent's configuration against a simulated Modbus TCP wire, and the agent as a process."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from lms_agent.log.reader import LogReader
from lms_firmware_sim.wires import ModbusTcpWire, RegisterMap
from support.patience import awaiting

WITHIN_S = 30.0
TAGS = ("pH/PV", "DO/PV")


@pytest.fixture
async def wire() -> AsyncIterator[ModbusTcpWire]:
    """One unit with two 32-bit floats at 0 and 2."""
    registers = RegisterMap()
    registers.put(0, 7.25, "float32")
    registers.put(2, 41.5, "float32")
    async with ModbusTcpWire({1: registers}) as laid:
        yield laid


@pytest.fixture
def configure(tmp_path: Path) -> Callable[..., Path]:
    """`configure(wire_port, broker_port, account, word)` writes an agent.toml and returns its path."""

    def write(wire_port: int, broker_port: int, account: str = "agent-1", word: str = "none") -> Path:
        folder = tmp_path / "an agent"
        folder.mkdir(exist_ok=True)
        secret = folder / "secret.txt"
        secret.touch(mode=0o600)
        secret.write_text(word + "\n")
        points = "".join(
            f'[[instrument.point]]\ntag = "{tag}"\naddress = {index * 2}\nkind = "float32"\ndecimals = 2\nunit = "%"\n'
            "low = 0.0\nhigh = 100.0\n"
            for index, tag in enumerate(TAGS)
        )
        path = folder / "agent.toml"
        path.write_text(
            f"""
[agent]
id = "{account}"
group = "test-org"
log = "log.sqlite3"
[broker]
url = "mqtt://127.0.0.1:{broker_port}"
account = "{account}"
password_file = "secret.txt"
primary_host = "lms-cloud"
[[bioreactor]]
id = "R1"
[[bus]]
id = "line"
kind = "modbus-tcp"
host = "127.0.0.1"
port = {wire_port}
timeout_s = 0.1
[[instrument]]
id = "controller"
bus = "line"
bioreactor = "R1"
unit = 1
period_s = 0.1
{points}"""
        )
        return path

    return write


class AgentProcess:
    """`lms-agent` as its user starts it."""

    def __init__(self, process: asyncio.subprocess.Process, config: Path, errors: Path) -> None:
        self.process = process
        self.log = config.parent / "log.sqlite3"
        self._errors = errors

    @property
    def words(self) -> str:
        return self._errors.read_text()

    async def until_batches(self, count: int) -> int:
        """Wait until the log has `count` batches."""
        async with awaiting(f"{count} batches in the log"):
            while self.head() < count:
                assert self.process.returncode is None, self.words
                await asyncio.sleep(0.05)
        return self.head()

    async def until_says(self, text: str) -> None:
        async with awaiting(f"the agent says {text!r}"):
            while text not in self.words:
                assert self.process.returncode is None, self.words
                await asyncio.sleep(0.05)

    def head(self) -> int:
        try:
            with LogReader.open(self.log) as reader:
                return reader.head()[0]
        except Exception:
            return 0

    async def end(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.terminate()
        return await asyncio.wait_for(self.process.wait(), WITHIN_S)

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


class Systemd:
    """What an agent tells systemd, heard at its end of the line."""

    def __init__(self, folder: Path) -> None:
        self.address = str(folder / "notify")
        self.line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.line.bind(self.address)
        self._said = bytearray()

    async def until(self, text: str) -> None:
        """Wait until something is said, from the last thing awaited on."""
        wanted = text.encode()
        async with awaiting(lambda: f"systemd is told {text!r}; said since: {bytes(self._said)!r}"):
            while wanted not in self._said:
                self._said += await asyncio.get_running_loop().sock_recv(self.line, 4096) + b"\n"
        del self._said[: self._said.index(wanted) + len(wanted)]


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    """`NOTIFY_SOCKET=systemd.address` for an agent, and `await systemd.until("READY=1")`."""
    listening = Systemd(tmp_path)
    with listening.line:
        yield listening


@pytest.fixture
def start_agent(tmp_path: Path) -> Any:
    """`async with start_agent(config) as agent`: `lms-agent run`, killed at the end."""

    @asynccontextmanager
    async def start(config: Path, program: tuple[str, ...] = (), **environment: str) -> AsyncIterator[AgentProcess]:
        errors = tmp_path / "agent.stderr"
        command = program or (sys.executable, "-c", "from lms_agent.cli import app; app()")
        with errors.open("ab") as words:
            process = await asyncio.create_subprocess_exec(
                *command, "run", "--config", str(config), stderr=words, env={"PATH": "/usr/bin:/bin", **environment}
            )
        agent = AgentProcess(process, config, errors)
        try:
            yield agent
        finally:
            if process.returncode is None:
                await agent.kill()

    return start


@pytest.fixture
def agent_command() -> Iterator[Callable[..., Any]]:
    """`await agent_command("log", "--config", path)` → (exit code, stdout, stderr)."""

    async def run(*arguments: object) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "from lms_agent.cli import app; app()",
            *(str(argument) for argument in arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={name: value for name, value in os.environ.items() if name != "COLUMNS"},  # which readline sets
        )
        out, errors = await asyncio.wait_for(process.communicate(), WITHIN_S)
        return process.returncode or 0, out.decode(), errors.decode()

    return run


@pytest.fixture
def as_json() -> Callable[[str], Any]:
    return json.loads
