"""A plant of three lines on simulated wires, the configuration that reads it, and the command itself."""

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from lms_agent.log.reader import LogReader
from lms_agent.service import Service
from lms_firmware_sim.wires import BalanceWire, ModbusTcpWire, RegisterMap, RtuWire
from support.patience import awaiting

CONFIGURATION = """\
[agent]
id = "agent-1"
group = "demo-org"
log = "log.sqlite3"

[broker]
url = "mqtt://127.0.0.1:1883"
account = "agent-1"
password_file = "secret"

[[bioreactor]]
id = "R1"

[[bus]]
id = "controller"
kind = "modbus-tcp"
host = "127.0.0.1"
port = {tcp.port}

[[bus]]
id = "line"
kind = "modbus-rtu"
port = "{rtu.address}"
timeout_s = 1.0

[[bus]]
id = "scale"
kind = "serial"
port = "{balance.address}"

[[instrument]]
id = "str-1"
bus = "controller"
bioreactor = "R1"
point = [{{ tag = "pH/PV", address = 0, kind = "float32", unit = "pH", decimals = 2 }}]

[[instrument]]
id = "temperature"
bus = "line"
bioreactor = "R1"
unit = 3
point = [{{ tag = "Temperature/PV", address = 0, kind = "int16", scale = 0.1, unit = "°C" }}]

[[instrument]]
id = "balance"
driver = "mt-sics"
bus = "scale"
bioreactor = "R1"
point = [{{ tag = "Weight/PV", unit = "g", decimals = 1 }}]
"""


class Plant(NamedTuple):
    config: Path
    tcp: ModbusTcpWire
    rtu: RtuWire
    balance: BalanceWire


@pytest.fixture
async def plant(tmp_path):
    controller, temperature = RegisterMap(), RegisterMap()
    controller.put(0, 7.01, "float32")
    temperature.put(0, 372, "int16")
    async with ModbusTcpWire({1: controller}) as tcp, RtuWire({3: temperature}) as rtu, BalanceWire(812.5) as balance:
        config = tmp_path / "agent.toml"
        config.write_text(CONFIGURATION.format(tcp=tcp, rtu=rtu, balance=balance), encoding="utf-8")
        (tmp_path / "secret").touch(0o600)
        (tmp_path / "secret").write_text("correct horse")
        yield Plant(config, tcp, rtu, balance)


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def lms_agent(monkeypatch):
    """`await lms_agent("read", …)`: run the command in a process of its own."""

    monkeypatch.delenv("COLUMNS", raising=False)  # which readline sets

    async def run(*arguments: str | Path) -> Answer:
        process = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("lms-agent"),
            *map(str, arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(os.environ),
        )
        out, err = await process.communicate()
        return Answer(process.returncode, out.decode(), err.decode())

    return run


@pytest.fixture
def running(plant):
    """`async with running():` the plant's agent, once it has read all and can be asked; no broker is there."""

    @asynccontextmanager
    async def start(ends_with=0):
        words = plant.config.with_name("words")
        with words.open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                Path(sys.executable).with_name("lms-agent"), "run", str(plant.config), stderr=errors
            )
        try:
            log = plant.config.with_name("log.sqlite3")
            async with awaiting("the agent reads all instruments"):
                while not (_has_read(log) and _answers(log)):
                    assert process.returncode is None, words.read_text()
                    await asyncio.sleep(0.05)
            yield process
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()
        assert process.returncode == ends_with, (process.returncode, words.read_text())

    return start


def _answers(log):
    """Whether somebody listens: the socket of an agent that was killed is there still."""
    service = Service.of(log)
    if service is not None:
        service.close()
    return service is not None


def _has_read(log):
    try:
        with LogReader.open(log) as reader:
            return len(reader.latest().readings) >= 3
    except Exception:
        return False
