"""A log, a sender on a real broker, and a host application that takes in what is sent, as the cloud would."""

import asyncio
import itertools
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import aiomqtt
import pytest
from lms_agent.clock import SystemClock
from lms_agent.ending import end
from lms_agent.log.sqlite_log import SqliteLog
from lms_agent.sending.connection import Address
from lms_agent.sending.sender import Sender
from lms_protocol.delivery import SendingWindow, StreamLedger
from lms_protocol.edge import EdgeSession
from lms_protocol.host import HostSession
from lms_protocol.host_events import DataReceived, NodeBorn, RebirthWanted
from lms_protocol.messages import SYNC_TAGS, Publish
from lms_protocol.reading import Batch, Reading, TagDescription
from support.patience import awaiting, line_of

GROUP = "test-org"
WITHIN_S = 60.0


class Host:
    """A primary host: asks for births where they lack, keeps what it is sent, acknowledges it if `acknowledges`."""

    def __init__(self, host_id: str) -> None:
        self.host_id = host_id
        self.session = HostSession(host_id)
        self.messages: list[tuple[str, bytes]] = []
        self.events: list[Any] = []
        self.batches: dict[tuple[UUID | None, int | None], Batch] = {}
        self.ledgers: dict[UUID | None, StreamLedger] = {}
        self.acknowledges = True
        self.new_ledger = StreamLedger
        self.on_birth: Callable[[NodeBorn], Publish] | None = None
        self.reads_packs = False
        self.changed = asyncio.Event()
        self.client: aiomqtt.Client | None = None

    async def publish(self, message: Publish) -> None:
        assert self.client is not None
        await self.client.publish(message.topic, message.payload, message.qos, message.retain)

    async def say(self, *, online: bool, timestamp_ms: int | None = None) -> None:
        now_ms = time.time_ns() // 1_000_000
        await self.publish(self.session.state(online=online, timestamp_ms=timestamp_ms or now_ms))

    async def until(self, fact: Callable[[], object], within_s: float = WITHIN_S) -> None:
        """Wait until `fact` holds."""
        async with awaiting(line_of(fact), within_s):
            while not fact():
                self.changed.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await self.changed.wait()

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def numbers(self, *, historical: bool | None = None) -> list[int]:
        """Numbers in the order of their coming, repetitions included."""
        return [e.number for e in self.of(DataReceived) if historical is None or e.historical is historical]

    async def listen(self) -> None:
        assert self.client is not None
        async for message in self.client.messages:
            self.messages.append((message.topic.value, message.payload))
            for event in self.session.receive(message.topic.value, message.payload, time.monotonic()):
                self.events.append(event)
                if isinstance(event, DataReceived):
                    await self.take(event)
                elif isinstance(event, NodeBorn) and self.on_birth is not None:
                    await self.publish(self.on_birth(event))
                elif isinstance(event, NodeBorn) and self.reads_packs:
                    ledger = self.ledgers.setdefault(event.stream, StreamLedger())
                    acked, above = ledger.acknowledgement()
                    await self.publish(
                        self.session.acknowledgement(event.group, event.node, acked, above, now_ms=1, born=True)
                    )
                elif isinstance(event, RebirthWanted):
                    await self.publish(self.session.rebirth_command(event.group, event.node, 1))
            self.changed.set()

    async def take(self, event: DataReceived) -> None:
        assert event.number is not None
        batch = Batch(event.number, event.device or "", event.readings, event.gaps, event.clock)
        known = self.batches.setdefault((event.stream, event.number), batch)
        assert known == batch
        if self.acknowledges:
            ledger = self.ledgers.setdefault(event.stream, StreamLedger())
            ledger.commit(event.number)
            await self.publish(
                self.session.acknowledgement(
                    event.group, event.node, *ledger.acknowledgement(), now_ms=1, stream=event.stream
                )
            )


@pytest.fixture
def host_id() -> str:
    return f"host-{secrets.token_hex(4)}"


@pytest.fixture
def node() -> str:
    return f"agent-{secrets.token_hex(4)}"


@pytest.fixture
def open_host(broker: Any, host_id: str) -> Callable[..., AbstractAsyncContextManager[Host]]:
    """`open_host(broker=None)`: a connected, listening host, that has not yet said that it is online."""

    @asynccontextmanager
    async def opened(on: Any = broker) -> AsyncIterator[Host]:
        host = Host(host_id)
        async with aiomqtt.Client(
            "127.0.0.1", on.port, username="cloud-ingest", password=on.accounts["cloud-ingest"].password
        ) as client:
            host.client = client
            await client.subscribe("spBv1.0/#", qos=1)
            listening = asyncio.create_task(host.listen())
            try:
                yield host
            finally:
                await end((listening,))  # cancelled once amid a flood it may go on: aiomqtt waits with wait_for

    return opened


@pytest.fixture
async def host(open_host: Any) -> AsyncIterator[Host]:
    async with open_host() as opened:
        yield opened
        await opened.publish(Publish(f"spBv1.0/STATE/{opened.host_id}", b"", qos=1, retain=True))


class Bench:
    """A log with two bioreactors, whose readings can be appended by hand."""

    def __init__(self, log: SqliteLog) -> None:
        self.log = log
        wanted = [TagDescription(0, device, name) for device in ("R1", "R2") for name in ("pH/PV", "DO/PV")]
        wanted += [TagDescription(0, d, name, kind) for d in ("R1", "R2") for name, kind in SYNC_TAGS.items()]
        self.tags = log.register_tags(wanted)
        self._values = itertools.count()

    async def append(self, count: int = 1, device: str = "R1") -> list[Batch]:
        numbers = [tag.number for tag in self.tags if tag.device == device and not tag.name.startswith("Sync/")]
        now_ms = time.time_ns() // 1_000_000
        return [
            await self.log.append(device, [Reading(number, now_ms, next(self._values) / 7) for number in numbers])
            for _ in range(count)
        ]


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    with SqliteLog.open(tmp_path / "log.sqlite3") as log:
        yield Bench(log)


@pytest.fixture
def make_sender(broker: Any, bench: Bench, node: str, host_id: str) -> Callable[..., Sender]:
    """`make_sender(broker=…, password=…, window=…)`: a sender that is not yet running."""

    def make(on: Any = None, password: str | None = None, window: SendingWindow | None = None, **more: Any) -> Sender:
        account = (on or broker).accounts.get(node) or broker.add_agent(GROUP, node)
        port = (on or broker).port
        address = Address(
            url=f"mqtt://127.0.0.1:{port}",
            host=more.get("hostname", "127.0.0.1"),
            port=more.get("port", port),
            tls=more.get("tls", False),
            account=node,
            read_password=lambda: password or account.password,
            ca_file=more.get("ca_file"),
            client_id=f"{GROUP}-{node}",
        )
        session = EdgeSession(
            group=GROUP,
            node=node,
            stream=bench.log.stream,
            bd_seq=bench.log.bd_seq,
            tags=bench.tags,
            primary_host=more.get("primary_host", host_id),
        )
        return Sender(
            log=bench.log, session=session, address=address, clock=SystemClock(), window=window, max_wait_s=0.5
        )

    return make


@pytest.fixture
async def running() -> AsyncIterator[Callable[[Sender], asyncio.Task[None]]]:
    """`running(sender)`: start it; it is stopped at the end of the test."""
    started: list[tuple[Sender, asyncio.Task[None]]] = []

    def start(sender: Sender) -> asyncio.Task[None]:
        coroutine: Coroutine[Any, Any, None] = sender.run()
        task = asyncio.create_task(coroutine)
        started.append((sender, task))
        return task

    yield start
    for sender, task in started:
        sender.stop()
        await asyncio.wait_for(task, WITHIN_S)
