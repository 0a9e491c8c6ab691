"""The fault suite: one file an area, each test marked with the row of docs/faults.md whose fault it injects.

`make test` runs those marked `quick`; `make faults` (LMS_FAULTS=full) runs all, more often, and ends with a table,
which is also written to tests/artifacts/faults.md and faults.json.

| fixture      | gives                                                                                          |
|--------------|------------------------------------------------------------------------------------------------|
| `row`        | a `FaultRow` to fill; it becomes a line of the table                                           |
| `full`       | whether everything is to be injected as often as docs/faults.md says                           |
| `chance`     | a `random.Random`; its seed is printed, LMS_TEST_SEED repeats one                              |
| `prove`      | `async with prove(...) as proof`: a chain with a live instrument, see `support.proving.Proof`  |
| `own_broker` | `own_broker(**bounds)`: a broker that the test may kill, as `support.chain` wants it           |
"""

import asyncio
import dataclasses
import json
import os
import random
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from lms_firmware_sim.stand import broker_access
from lms_firmware_sim.stand.broker import Broker
from lms_firmware_sim.stand.broker_access import Account
from support.chain import Chain, chain
from support.proving import FaultRow, Proof
from support.proxy import TcpProxy
from support.reconciling import acked

ARTIFACTS = Path(__file__).resolve().parents[1] / "artifacts"
FULL = os.environ.get("LMS_FAULTS") == "full"
HEADINGS = ("row", "fault", "outcome", "injected", "compared", "lost", "doubled", "wrong", "recovered s", "notes")
ROW = pytest.StashKey[FaultRow]()
LINES: list[dict[str, Any]] = []
OUTCOMES: dict[str, tuple[str, str]] = {}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave what is not quick to `make faults`, and give that time."""
    if FULL:
        for item in items:
            if item.get_closest_marker("fault") and not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(900))
        return
    long = [item for item in items if item.get_closest_marker("fault") and not item.get_closest_marker("quick")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.fixture
def row(request: pytest.FixtureRequest) -> FaultRow:
    made = FaultRow(request.node.get_closest_marker("fault").kwargs["row"])
    request.node.stash[ROW] = made
    return made


@pytest.fixture
def full() -> bool:
    return FULL


@pytest.fixture
def chance() -> random.Random:
    seed = int(os.environ.get("LMS_TEST_SEED", random.randrange(1 << 32)))
    print(f"LMS_TEST_SEED={seed}")
    return random.Random(seed)


@pytest.fixture
def prove(tmp_path: Path, migrated_database: Any, broker: Any, row: FaultRow) -> Callable[..., Any]:
    """Arguments: those of `support.chain.chain`; `database` and `broker` may be the test's own."""

    @asynccontextmanager
    async def run(
        *, tags: int = 10, period_s: float = 0.1, database: Any = None, on_broker: Any = None, **arguments: Any
    ) -> AsyncIterator[Proof]:
        database = database or migrated_database
        async with chain(
            tmp_path, database, on_broker or broker, tags=tags, period_s=period_s, **arguments
        ) as standing:
            proof = Proof(standing, database.superuser_url, row, period_s=period_s, tags=tags)
            await proof.until(lambda: acked(standing.log) >= 10, "ten batches acknowledged")
            yield proof

    return run


class OwnBroker:
    """A `Broker` with what the session's one has beside."""

    def __init__(self, running: Broker) -> None:
        self.running = running
        self.host = running.host

    @property
    def port(self) -> int:
        return self.running.port

    def url(self, account: str) -> str:
        return self.running.url(account)

    def add_agent(self, group: str, node: str) -> Account:
        return self.running.add(broker_access.agent(group, node, secrets.token_urlsafe(12)))


class NarrowBroker(Broker):
    """A broker with other bounds on what it keeps for slow clients."""

    bounds: Mapping[str, int] = MappingProxyType({})

    def _configuration(self) -> str:
        lines = super()._configuration().splitlines()
        kept = [line for line in lines if line.split(" ")[0] not in self.bounds]
        return "\n".join([*kept, *(f"{name} {value}" for name, value in self.bounds.items()), ""])


@pytest.fixture
def own_broker(stand_folder: Path, mosquitto: Any) -> Iterator[Callable[..., OwnBroker]]:
    started: list[Broker] = []

    def start(**bounds: int) -> OwnBroker:
        folder = stand_folder / f"broker-{secrets.token_hex(4)}"
        watcher = Account("watcher", secrets.token_urlsafe(12), (), ("$SYS/#",))
        made = (broker_access.admin, broker_access.cloud_web, broker_access.feed)
        accounts = [broker_access.cloud_ingest(secrets.token_urlsafe(12), host="+"), watcher]
        accounts += [account(secrets.token_urlsafe(12)) for account in made]
        running = NarrowBroker(folder, mosquitto, accounts, log_path=folder.with_suffix(".log"))
        running.bounds = {"sys_interval": 1, **bounds}
        running.start()
        started.append(running)
        return OwnBroker(running)

    yield start
    for running in started:
        running.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Let the row travel with the last report of its test, also from another process."""
    report: pytest.TestReport = yield
    marker = item.get_closest_marker("fault")
    if marker is not None and report.when == "teardown":
        made = item.stash.get(ROW, None) or FaultRow(marker.kwargs["row"])
        report.user_properties.append(("fault", dataclasses.asdict(made)))
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Gather the lines of the table, in the process that writes it."""
    if report.outcome != "passed":
        OUTCOMES.setdefault(report.nodeid, (report.outcome, _reason(report)))
    for name, made in report.user_properties:
        if name == "fault":
            outcome, reason = OUTCOMES.get(report.nodeid, ("passed", ""))
            fault = report.nodeid.rpartition("::")[2].removeprefix("test_").replace("_", " ")
            LINES.append({**made, "fault": fault, "outcome": outcome, "reason": reason})


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table, and write it where it can be looked at later."""
    if not LINES:
        return
    lines = sorted(LINES, key=lambda line: (line["row"], line["fault"]))
    ARTIFACTS.mkdir(exist_ok=True)
    (ARTIFACTS / "faults.json").write_text(json.dumps(lines, indent=1) + "\n")
    table = markdown(lines)
    (ARTIFACTS / "faults.md").write_text(table)
    terminalreporter.section("faults")
    terminalreporter.write(table)


def markdown(lines: list[dict[str, Any]]) -> str:
    """The table, as Markdown."""
    rows = [f"| {' | '.join(HEADINGS)} |", f"|{'---|' * len(HEADINGS)}"]
    for line in lines:
        seconds = "" if line["recovered_s"] is None else f"{line['recovered_s']:.1f}"
        notes = "; ".join([*line["notes"], *([line["reason"]] if line["reason"] else [])]).replace("|", "/")
        numbers = (line[name] for name in ("injected", "compared", "lost", "doubled", "wrong"))
        cells = (line["row"], line["fault"], line["outcome"], *numbers, seconds, notes)
        rows.append(f"| {' | '.join(str(cell) for cell in cells)} |")
    return "\n".join(rows) + "\n"


def _reason(report: pytest.TestReport) -> str:
    if report.skipped and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    text = str(getattr(report.longrepr, "reprcrash", report.longrepr))
    return " ".join(text.split())[:200]


@pytest.fixture
def proxy(broker: Any) -> Callable[..., Any]:
    """`async with proxy() as way`: a proxy in front of the session's broker, or of another port."""

    @asynccontextmanager
    async def run(port: int | None = None, *, mqtt: bool = True) -> AsyncIterator[TcpProxy]:
        async with TcpProxy(port or broker.port, mqtt=mqtt).run() as running:
            yield running

    return run


class SignsOfLife(asyncio.DatagramProtocol):
    """What systemd hears of the agent.

    Attributes:
        watchdog: how often it said that it is alive.
        said: everything.
    """

    def __init__(self) -> None:
        self.watchdog = 0
        self.said: list[str] = []

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.said.append(data.decode())
        self.watchdog += "WATCHDOG=1" in self.said[-1]


@pytest.fixture
def signs_of_life(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """`async with signs_of_life(chain) as signs`: its agent is started anew, as systemd would."""

    @asynccontextmanager
    async def listen(standing: Chain) -> AsyncIterator[SignsOfLife]:
        address = tmp_path_factory.mktemp("n") / "s"
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        opened.bind(str(address))
        transport, signs = await asyncio.get_running_loop().create_datagram_endpoint(SignsOfLife, sock=opened)
        try:
            standing.kill("agent")
            standing.again("agent", NOTIFY_SOCKET=str(address), WATCHDOG_USEC="30000000")
            yield signs
        finally:
            transport.close()

    return listen
