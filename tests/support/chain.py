"""A small LMS evo for tests and benchmarks: one wire, one agent, ingest and web, as processes on real parts.

The wire is a simulated Modbus unit in the calling process, on TCP or on a serial line, with `tags` 32-bit floats from
address 0 on, so that a test can set what the instrument says and knows when it said it.
"""

import asyncio
import re
import secrets
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
from lms_firmware_sim.stand import ports
from lms_firmware_sim.stand.programs import plain_environment, program, run
from lms_firmware_sim.stand.spawning import spawn, stop
from lms_firmware_sim.wires.modbus_rtu import RtuWire
from lms_firmware_sim.wires.modbus_tcp import ModbusTcpWire
from lms_firmware_sim.wires.registers import RegisterMap

from support.fleet import make_fleet
from support.patience import awaiting

EMAIL = "bench@lms.example"


@dataclass
class Chain:
    """What stands, and how to reach it."""

    folder: Path
    group: str
    node: str
    bioreactor: UUID
    wire: ModbusTcpWire | RtuWire
    registers: RegisterMap
    web_port: int
    password: str
    log: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    commands: dict[str, tuple[list[str | Path], dict[str, str]]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The dashboard's address."""
        return f"http://127.0.0.1:{self.web_port}"

    def start(self, name: str, argv: list[str | Path], environment: Mapping[str, str]) -> None:
        """Start one of the programs; its words go to `{name}.log` in the folder."""
        self.commands[name] = (argv, {**plain_environment(), **environment})
        self.again(name)

    def again(self, name: str, **environment: str) -> None:
        """Start a program once more, as its keeper would, with what is new in its environment."""
        argv, known = self.commands[name]
        known.update(environment)
        log_path = self.folder / f"{name}.log"
        self.processes[name] = spawn(argv, log_path=log_path, env=known, cwd=self.folder)

    def kill(self, name: str) -> None:
        """SIGKILL."""
        self.processes[name].kill()
        self.processes[name].wait()

    def said(self, name: str) -> str:
        """What a program has said so far."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def stop(self) -> None:
        """Stop all, the last started first."""
        for process in reversed(self.processes.values()):
            process.send_signal(signal.SIGCONT)  # one that a test has stopped could not end
            stop(process, ((signal.SIGTERM, 10.0),))


@asynccontextmanager
async def chain(
    folder: Path,
    database: Any,
    broker: Any,
    *,
    tags: int = 50,
    period_s: float = 1.0,
    web: bool = False,
    agent_port: int | None = None,
    ingest_port: int | None = None,
    database_port: int | None = None,
    log: Path | None = None,
    agent: Sequence[str | Path] | None = None,
    rtu: bool = False,
    neighbours: int = 0,
    line_timeout_s: float | None = None,
) -> AsyncIterator[Chain]:
    """Start it all; give it once the first batch is committed; stop it all.

    Args:
        database: the fixture `migrated_database`.
        broker: the fixture `broker`.
        tags: how many 32-bit floats the unit has, named `T1/PV` and so on.
        period_s: between two scans.
        web: whether `lms-cloud serve` is started too.
        agent_port, ingest_port: ports of proxies on the ways of the agent and of ingest to the broker.
        database_port: port of a proxy on the way of ingest to the database.
        log: where the agent's log lies; `log.sqlite3` in the folder by default.
        agent: the command line of another `lms-agent` than the tests' own.
        rtu: whether the unit is on a serial line, named as by its adapter's id, instead of on TCP.
        neighbours: how many other units share the line, from unit 2 on; unit 2 has the tag `U2/PV`.
        line_timeout_s: how long a unit may take to reply; by default as long as a period, at most a second.
    """
    registers = RegisterMap()
    units = {1: registers, **{2 + each: RegisterMap(holding={0: 0, 1: 0}) for each in range(neighbours)}}
    made = Chain(
        folder=folder,
        group=f"org-{uuid4().hex[:12]}",
        node=f"agent-{uuid4().hex[:12]}",
        bioreactor=uuid4(),
        wire=RtuWire(units, link=folder / "by-id" / "usb-adapter") if rtu else ModbusTcpWire(units),
        registers=registers,
        web_port=ports.free_port(),
        password=secrets.token_urlsafe(24),
        log=log or folder / "log.sqlite3",
    )
    for tag in range(tags):
        registers.put(2 * tag, 1.0 + tag, "float32")
    await _populate(made, database, web=web)
    timeout_s = line_timeout_s or min(1.0, period_s)
    try:
        async with made.wire:
            settings = _settings(made, broker, _line(made.wire, tags, period_s, timeout_s), agent_port or broker.port)
            host = {"LMS_HOST_ID": made.group}
            ingest = {
                "LMS_MQTT_URL": _by_way_of(ingest_port, broker.url("cloud-ingest")),
                "LMS_DATABASE_URL": _by_way_of(database_port, database.ingest_url),
            }
            made.start("ingest", [*program("lms-cloud"), "ingest"], {**ingest, **host})
            if web:
                made.start(
                    "web", [*program("lms-cloud"), "serve"], {**_web_environment(made, database, broker), **host}
                )
            made.start("agent", [*(agent or program("lms-agent")), "run", "--config", settings], {})
            await _until_committed(made, database)
            yield made
    finally:
        await asyncio.to_thread(made.stop)  # proxies on their ways live in this loop


def _by_way_of(port: int | None, url: str) -> str:
    return url if port is None else re.sub(r":\d+(?=/|$)", f":{port}", url)


def _web_environment(made: Chain, database: Any, broker: Any) -> dict[str, str]:
    return {
        "LMS_DATABASE_URL": database.web_url,
        "LMS_MQTT_URL": broker.url("cloud-web"),
        "LMS_SECRET_KEY": secrets.token_urlsafe(48),
        "LMS_PUBLIC_URL": made.url,
        "LMS_LISTEN": f"127.0.0.1:{made.web_port}",
    }


async def _populate(made: Chain, database: Any, *, web: bool) -> None:
    fleet = await make_fleet(database.url, agents=[made.node], bioreactors=["R1"], group=made.group)
    made.bioreactor = fleet.bioreactors["R1"]
    if web:
        environment = {**plain_environment(), "LMS_DATABASE_URL": database.url}
        arguments = ("user", "create", "--email", EMAIL, "--name", "Bench", "--organization", made.group)
        await asyncio.to_thread(
            run, "lms-cloud", *arguments, "--role", "owner", environment=environment, told=made.password
        )


def _line(wire: ModbusTcpWire | RtuWire, tags: int, period_s: float, timeout_s: float) -> list[str]:
    """The settings of the line, and of the units on it; what they can measure at all is +-1e6."""
    lines = ['[[bus]]\nid = "line"', f"timeout_s = {timeout_s}"]
    if isinstance(wire, RtuWire):
        lines.append(f'kind = "modbus-rtu"\nbaud = 115200\nport = "{wire.address}"')
    else:
        lines.append(f'kind = "modbus-tcp"\nhost = "{wire.host}"\nport = {wire.port}')
    for unit in wire.units:
        name = "unit" if unit == 1 else f"unit-{unit}"
        lines.append(f'[[instrument]]\nid = "{name}"\nbus = "line"\nbioreactor = "R1"\nunit = {unit}')
        lines.append(f"period_s = {period_s}")
        names = [f"T{tag + 1}/PV" for tag in range(tags)] if unit == 1 else [f"U{unit}/PV"]
        for at, tag in enumerate(names):
            lines.append(f'[[instrument.point]]\ntag = "{tag}"\naddress = {2 * at}\nkind = "float32"')
            lines.append("minimum = -1e6\nmaximum = 1e6")
    return lines


def _settings(made: Chain, broker: Any, line: list[str], broker_port: int) -> Path:
    account = broker.add_agent(made.group, made.node)
    secret = made.folder / "agent.password"
    secret.touch(mode=0o600)
    secret.write_text(account.password)
    lines = [
        "[agent]",
        f'id = "{made.node}"',
        f'group = "{made.group}"',
        f'log = "{made.log}"',
        "[broker]",
        f'url = "mqtt://{broker.host}:{broker_port}"',
        f'account = "{account.name}"',
        'password_file = "agent.password"',
        f'primary_host = "{made.group}"',
        '[[bioreactor]]\nid = "R1"',
        *line,
    ]
    path = made.folder / "agent.toml"
    path.touch(mode=0o600)
    path.write_text("\n".join(lines) + "\n")
    return path


async def _until_committed(made: Chain, database: Any) -> None:
    """Wait until the first batch is in the database."""
    async with (
        awaiting("the first batch is committed"),
        await psycopg.AsyncConnection.connect(database.superuser_url) as connection,
    ):
        while True:
            row = await (await connection.execute("select count(*) from ledger")).fetchone()
            await connection.rollback()
            if row is not None and row[0]:
                return
            ended = [name for name, process in made.processes.items() if process.poll() is not None]
            if ended:
                words = "\n".join((made.folder / f"{name}.log").read_text()[-2000:] for name in ended)
                raise RuntimeError(f"{', '.join(ended)} ended early:\n{words}")
            await asyncio.sleep(0.1)


def cpu_s(pid: int) -> float:
    """CPU seconds (user and system) that a process has used so far, all its threads together.

    Its own CPU clock, in nanoseconds: /proc/PID/stat counts in hundredths of a second, too coarse for a few
    milliseconds a second. The number of that clock: clock_getcpuclockid(3), Linux.
    """
    return time.clock_gettime(~pid << 3 | 2)


def starved_s(pid: int) -> float:
    """Seconds that a process has been ready to run, and others had the processors; 0 if it has ended."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def resident_mib(pid: int) -> float:
    """Resident memory of a process, in MiB."""
    return _memory_mib(pid, "VmRSS")


def most_resident_mib(pid: int) -> float:
    """The most resident memory that a process has ever had, in MiB."""
    return _memory_mib(pid, "VmHWM")


def own_mib(pid: int) -> float:
    """Resident memory of a process that it shares with no other: what its end would give back. In MiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def _memory_mib(pid: int, name: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} has no {name}")
