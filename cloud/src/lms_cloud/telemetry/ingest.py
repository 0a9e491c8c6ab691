"""The ingest worker: hears the broker as Sparkplug host application, commits, acknowledges.

Before it: the agents, through the broker. After it: `lms_cloud.telemetry.committing` (the database), and what that
publishes: acknowledgements to the agents, live messages to the web workers. The worker can be killed at any moment:
what it has not acknowledged, the agents send again, and the ledger tells what was committed.

A connection to the broker is one `_Connection`; when it ends, the next one begins after a moment, with a will and a
birth (STATE) that carry the same time, later than any STATE of this host before it, whatever the clock says.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from random import Random
from typing import Any, NamedTuple, Protocol

import aiomqtt
import structlog
from lms_protocol.host import HostEvent, HostSession, Malformed, NodeDied, RebirthWanted
from lms_protocol.messages import HostState, Publish

from lms_cloud.fleet.directory import FleetDirectory
from lms_cloud.kernel.database import Database
from lms_cloud.kernel.ending import end
from lms_cloud.kernel.settings import CloudSettings
from lms_cloud.telemetry.births import TagRegister
from lms_cloud.telemetry.broker import broker_address, open_client
from lms_cloud.telemetry.committing import DATABASE_ERRORS, Committer, Storage
from lms_cloud.telemetry.directory import Directory
from lms_cloud.telemetry.postgres_storage import PostgresStorage
from lms_cloud.telemetry.resolving import FleetLookup, Heard, Resolver, SeriesRegister
from lms_cloud.telemetry.rollups.refreshing import Refresher

FEED = "spBv1.0/#"
POLL_S = 1.0
REPORT_S = 60.0
ASK_SILENT_S = 3.0
GIVE_UP_SILENT_S = 15.0
DRAIN_S = 20.0
MAX_OUTGOING = 10_000
FIRST_PAUSE_S = 0.1
MAX_PAUSE_S = 5.0

_log = structlog.get_logger(__name__)


def _system_ms() -> int:
    return time.time_ns() // 1_000_000


class Backing(NamedTuple):
    """What an ingest worker stands on: where it commits, and where it looks up what it hears of.

    Attributes:
        upkeep: what the storage needs done beside the commits, such as refreshing rollups; runs until cancelled.
    """

    storage: Storage
    directory: FleetLookup
    register: SeriesRegister
    upkeep: Callable[[], Coroutine[Any, Any, None]] | None = None


def postgres_backing(settings: CloudSettings, database: Database) -> Backing:
    """All in PostgreSQL.

    Args:
        settings: where the database is.
        database: as `lms_ingest`, for everything but the commits, which have a connection of their own.
    """
    fleet = FleetDirectory(database)
    return Backing(
        PostgresStorage(settings.database_url.get_secret_value(), _system_ms),
        Directory(database, fleet, time.monotonic),
        TagRegister(database, fleet),
        Refresher(database).run,
    )


class OpenClient(Protocol):
    """Makes a client of the broker: see `lms_cloud.telemetry.broker.open_client`."""

    def __call__(
        self,
        settings: CloudSettings,
        *,
        name: str,
        receive: Callable[[aiomqtt.Message], None],
        will: aiomqtt.Will | None = None,
    ) -> aiomqtt.Client:
        """A client that is not connected yet."""
        ...


class Ingest:
    """One ingest worker.

    Args:
        settings: where the broker is, and this host's id.
        backing: where readings go, and where agents, streams and series are looked up.
        open_client: makes the connection to the broker.
        now_ms: tells the time, ms UTC.
        monotonic_s: tells durations.
        rng: spreads the pauses between attempts.

    Raises:
        SettingsError: LMS_MQTT_URL is missing or is no broker's address.
    """

    def __init__(
        self,
        settings: CloudSettings,
        backing: Backing,
        *,
        open_client: OpenClient = open_client,
        now_ms: Callable[[], int] = _system_ms,
        monotonic_s: Callable[[], float] = time.monotonic,
        rng: Random | None = None,
    ) -> None:
        self._settings = settings
        self._address = broker_address(settings)
        self._open_client = open_client
        self._now_ms = now_ms
        self._monotonic_s = monotonic_s
        self._session = HostSession(settings.host_id)
        self._directory = backing.directory
        self._upkeep = backing.upkeep
        resolver = Resolver(backing.directory, backing.register)
        self.committer = Committer(backing.storage, resolver, self._session, self._send, now_ms, rng=rng)
        self._outgoing: deque[Publish] = deque(maxlen=MAX_OUTGOING)
        self._to_send = asyncio.Event()
        self._stop = asyncio.Event()
        self._outdone = asyncio.Event()
        self._state_ms = 0
        self._connected = False

    def stop(self) -> None:
        """Finish: commit what is queued, acknowledge it, say offline, leave `run`."""
        self._stop.set()

    async def run(self) -> None:
        """Work until stopped."""
        async with asyncio.TaskGroup() as group:
            committing = group.create_task(self.committer.run())
            beside = [group.create_task(self._report())]
            if self._upkeep is not None:
                beside.append(group.create_task(self._upkeep()))
            await self._stay_connected(committing)
            self.committer.stop()
            await committing
            for task in beside:
                task.cancel()

    async def _stay_connected(self, committing: asyncio.Task[None]) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                await self._be_host(committing)
                failures = 0
            except aiomqtt.MqttError as error:
                failures = 1 if self._connected else failures + 1
                where = f"{self._address.host}:{self._address.port}"
                account = self._address.account
                _log.warning("no connection to the broker", broker=where, account=account, why=str(error))
            self._connected = False
            if failures:
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(MAX_PAUSE_S, FIRST_PAUSE_S * 2**failures)):
                        await self._stop.wait()

    async def _be_host(self, committing: asyncio.Task[None]) -> None:
        """One connection, from its will to its end, or to that of this worker."""
        self._state_ms = max(self._now_ms(), self._state_ms + 1)
        self._outdone.clear()
        self._session = HostSession(self._settings.host_id)
        will = aiomqtt.Will(*self._session.state(online=False, timestamp_ms=self._state_ms))
        name = f"{self._settings.host_id}-ingest"
        async with self._open_client(self._settings, name=name, receive=self._receive, will=will) as client:
            await client.subscribe(FEED, qos=1)
            await _publish(client, self._session.state(online=True, timestamp_ms=self._state_ms))
            self._connected = True
            _log.info("hears the broker", host=self._settings.host_id, since_ms=self._state_ms)
            tasks = [
                asyncio.create_task(work)
                for work in (_wait_for_end(client), self._send_outgoing(client), self._follow_time())
            ]
            events = [asyncio.create_task(event.wait()) for event in (self._stop, self._outdone)]
            try:
                done, _ = await asyncio.wait({*tasks, *events}, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
                if self._stop.is_set():
                    await self._leave(client, committing)
            finally:
                await end((*tasks, *events))

    async def _leave(self, client: aiomqtt.Client, committing: asyncio.Task[None]) -> None:
        """Commit what is queued and acknowledge it; then say offline, as the broker drops the will at a clean end."""
        self.committer.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await asyncio.shield(committing)
        while self._outgoing:
            await _publish(client, self._outgoing.popleft())
        self._state_ms = max(self._now_ms(), self._state_ms)
        await _publish(client, self._session.state(online=False, timestamp_ms=self._state_ms))

    def _receive(self, message: aiomqtt.Message) -> None:
        """Follow the sessions, and queue what has to be written. Must not raise: it runs inside the MQTT client."""
        if self._stop.is_set() or not isinstance(message.payload, bytes):
            return
        topic = message.topic.value
        try:
            events = self._session.receive(topic, message.payload, self._monotonic_s())
        except Exception as error:
            _log.exception("message could not be read", topic=topic)
            events = [Malformed(topic, message.payload, f"it could not be read: {error!r}")]
        for event in events:
            if isinstance(event, HostState):
                self._hear_state(event, retained=message.retain)
            else:
                self._take(event, topic, message.payload)

    def _take(self, event: HostEvent, topic: str = "", payload: bytes = b"") -> None:
        if isinstance(event, RebirthWanted):
            _log.info("asks for births", group=event.group, agent=event.node, why=event.reason)
            self._send(self._session.rebirth_command(event.group, event.node, self._now_ms()))
        else:
            self.committer.offer(Heard(event, topic, payload, datetime.fromtimestamp(self._now_ms() / 1000, UTC)))

    def _hear_state(self, state: HostState, *, retained: bool) -> None:
        """Set our own STATE right if it says something else than that we are online since this connection."""
        if state.host != self._settings.host_id:
            return
        if state.timestamp_ms > self._state_ms and (retained or not state.online):
            # Our clock went back, or another worker of this host just died. Only a later birth outdoes it, and as
            # the will has to carry the same time, that takes a new connection.
            _log.warning("STATE of this host is later than this connection's", found_ms=state.timestamp_ms)
            self._state_ms = state.timestamp_ms
            self._outdone.set()
        elif not state.online:
            _log.info("publishes online again over a stale offline", found_ms=state.timestamp_ms)
            self._send(self._session.state(online=True, timestamp_ms=self._state_ms))

    def _send(self, message: Publish) -> None:
        """Queue a message for the broker. Without connection it is dropped: a repetition brings it again."""
        if self._connected:
            self._outgoing.append(message)
            self._to_send.set()

    async def _send_outgoing(self, client: aiomqtt.Client) -> None:
        while True:
            while self._outgoing:
                await _publish(client, self._outgoing.popleft())
            self._to_send.clear()
            await self._to_send.wait()

    async def _follow_time(self) -> None:
        """Let the session notice what never came; find agents that died while nobody listened."""
        began_s = self._monotonic_s()
        asked = given_up = False
        while True:
            await asyncio.sleep(POLL_S)
            for event in self._session.poll(self._monotonic_s()):
                self._take(event)
            elapsed_s = self._monotonic_s() - began_s
            if not asked and elapsed_s >= ASK_SILENT_S:
                asked = await self._each_silent(
                    lambda group, node: self._take(RebirthWanted(group, node, "it counts as online but is not heard"))
                )
            elif not given_up and elapsed_s >= GIVE_UP_SILENT_S:
                given_up = await self._each_silent(lambda group, node: self._take(NodeDied(group, node, None)))

    async def _each_silent(self, act: Callable[[str, str], None]) -> bool:
        """Act for each agent that counts as online but has not been heard; False if the database did not answer."""
        try:
            online = await self._directory.online_agents()
        except DATABASE_ERRORS:
            return False
        for group, node in online:
            if not self._session.knows(group, node):
                act(group, node)
        return True

    async def _report(self) -> None:
        """Once a minute, say what was not taken in."""
        while True:
            await asyncio.sleep(REPORT_S)
            if self.committer.unknown:
                senders = dict(self.committer.unknown.most_common(20))
                _log.warning("messages of senders that the fleet does not know; not acknowledged", messages=senders)
                self.committer.unknown.clear()
            if self.committer.dropped:
                _log.warning("messages that found no room; not acknowledged", messages=self.committer.dropped)
                self.committer.dropped = 0


async def _publish(client: aiomqtt.Client, message: Publish) -> None:
    await client.publish(message.topic, message.payload, message.qos, message.retain)


async def _wait_for_end(client: aiomqtt.Client) -> None:
    """Returns never; raises MqttError when the connection ends."""
    async for _ in client.messages:
        pass
