"""The ingest worker: hears the broker as Sparkplug host application, commits, acknowledges.

Before it: the agents, through the broker. After it: `lms_cloud.telemetry.ingest.committing` (the database), and what
that publishes: acknowledgements to the agents, live messages to the web workers. The worker can be killed at any
moment: what it has not acknowledged, the agents send again, and the ledger tells what was committed.

Any number of workers share the work of one host: `lms_cloud.telemetry.leases.leasing` says which Sparkplug groups
this one subscribes to, and whether it speaks for the host (`presence`). One alone has all of them, and speaks.
"""

import asyncio
import os
import secrets
import socket
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from random import Random
from typing import Any, NamedTuple, Protocol

import aiomqtt
import structlog
from lms_protocol.host import HostSession
from lms_protocol.host_events import HostEvent, Malformed, NodeDied, RebirthWanted
from lms_protocol.messages import HostState, Publish

from lms_cloud.fleet.directory import FleetDirectory
from lms_cloud.kernel.database import Database
from lms_cloud.kernel.ending import end
from lms_cloud.kernel.settings import CloudSettings
from lms_cloud.telemetry.broker import BrokerClient, broker_address, open_client
from lms_cloud.telemetry.ingest.births import TagRegister
from lms_cloud.telemetry.ingest.committing import AHEAD_READINGS, DATABASE_ERRORS, Committer, Storage
from lms_cloud.telemetry.ingest.directory import Directory
from lms_cloud.telemetry.ingest.presence import HostPresence
from lms_cloud.telemetry.ingest.rebirths import Rebirths
from lms_cloud.telemetry.ingest.replaying import Replaying, Replays
from lms_cloud.telemetry.ingest.resolving import FleetLookup, Heard, Resolver, SeriesRegister
from lms_cloud.telemetry.leases.leasing import AgentName, Leases
from lms_cloud.telemetry.leases.postgres_leases import COMMITS_NAME, PostgresLeases
from lms_cloud.telemetry.storage.postgres_storage import PostgresStorage
from lms_cloud.telemetry.storage.upkeep import Upkeep

FEED = "spBv1.0/#"
ALL_GROUPS = ""
STATE = "STATE"
MAX_TOPICS_A_PACKET = 200
RESIGN_S = 10.0
"""A worker that does not hear the broker for so long leaves the host's STATE to another one."""
POLL_S = 1.0
REPORT_S = 60.0
ASK_SILENT_S = 3.0
GIVE_UP_SILENT_S = 20.0
"""Later than the next request for births may go out, if another worker has asked just before this one."""
DRAIN_S = 20.0
MAX_OUTGOING = 10_000
MAX_PUBLISHED_AT_ONCE = 64
FIRST_PAUSE_S = 0.1
MAX_PAUSE_S = 5.0

_log = structlog.get_logger(__name__)


def _system_ms() -> int:
    return time.time_ns() // 1_000_000


class Backing(NamedTuple):
    """What an ingest worker stands on: where it commits, where it looks up what it hears of, what is its to take in.

    Attributes:
        replays: reads dead letters again that somebody asks for.
        upkeep: what the storage needs done beside the commits, such as refreshing rollups; runs until cancelled.
    """

    storage: Storage
    directory: FleetLookup
    register: SeriesRegister
    leases: Leases
    replays: Replays | None = None
    upkeep: Callable[[], Coroutine[Any, Any, None]] | None = None


def postgres_backing(settings: CloudSettings, database: Database) -> Backing:
    """All in PostgreSQL.

    Args:
        settings: where the database is.
        database: as `lms_ingest`, for everything but the commits, which have a connection of their own.
    """
    fleet = FleetDirectory(database)
    url = settings.database_url.get_secret_value()
    worker = f"{socket.gethostname()[:20]}-{os.getpid()}-{secrets.token_hex(2)}"
    return Backing(
        PostgresStorage(url, _system_ms, name=COMMITS_NAME + worker),
        Directory(database, fleet, time.monotonic),
        TagRegister(database, fleet),
        PostgresLeases(url, database, host_id=settings.host_id, worker=worker, lease_s=settings.ingest_lease_s),
        Replaying(database, fleet),
        Upkeep(database, settings).run,
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
    ) -> BrokerClient:
        """A client that is not connected yet."""
        ...


class Ingest:
    """One ingest worker.

    Args:
        settings: where the broker is, and this host's id.
        backing: where readings go, where agents, streams and series are looked up, and which groups are this worker's.
        open_client: makes the connection to the broker.
        now_ms: tells the time, ms UTC.
        monotonic_s: tells durations.
        rng: spreads the pauses between attempts.
        ahead_readings: so many live readings are resolved ahead of a commit.

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
        ahead_readings: int = AHEAD_READINGS,
    ) -> None:
        self._settings = settings
        self._address = broker_address(settings)
        self._open_client = open_client
        self._now_ms = now_ms
        self._monotonic_s = monotonic_s
        self._session = HostSession(settings.host_id)
        self._directory = backing.directory
        self._upkeep = backing.upkeep
        self._replays = backing.replays
        self._leases = backing.leases
        self._rebirths = Rebirths(backing.leases, self._ask_for_births)
        self.committer = Committer(
            backing.storage,
            Resolver(backing.directory, backing.register),
            self._session,
            self._send,
            now_ms,
            leases=backing.leases,
            want_births=self._rebirths.want,
            rng=rng,
            ahead_readings=ahead_readings,
        )
        self._presence = HostPresence(
            HostSession(settings.host_id), backing.leases, self._open_presence, lambda: self._connected, now_ms
        )
        self._outgoing: deque[Publish] = deque(maxlen=MAX_OUTGOING)
        self._to_send = asyncio.Event()
        self._flushed = asyncio.Event()
        self._flushed.set()
        self._stop = asyncio.Event()
        self._client: BrokerClient | None = None
        self._connected = False
        self._disconnected_s = monotonic_s()
        self._subscribed: set[str] = set()
        self._followed: frozenset[str] = frozenset()
        self._watched: dict[str, float] = {}  # group to since when its silent agents are looked for
        self._draining: dict[str, asyncio.Task[None]] = {}
        self._sharing = asyncio.Lock()

    def stop(self) -> None:
        """Finish: commit what is queued, acknowledge it, hand over or say offline, leave `run`."""
        self._stop.set()

    async def run(self) -> None:
        """Work until stopped."""
        async with asyncio.TaskGroup() as group:
            committing = group.create_task(self.committer.run())
            presence = group.create_task(self._presence.run())
            others = [
                group.create_task(work)
                for work in (
                    *(() if self._upkeep is None else (self._upkeep(),)),
                    *(() if self._replays is None else (self._replays.run(self._leases.holds, self.committer.offer),)),
                    self._leases.run(),
                    self._follow_leases(),
                    self._follow_time(),
                    self._rebirths.run(),
                    self._report(),
                )
            ]
            await self._stay_connected(committing, presence)
            self.committer.stop()
            await committing
            self._presence.leave()
            await presence
            await end((*others, *self._draining.values()))

    async def _stay_connected(self, committing: asyncio.Task[None], presence: asyncio.Task[None]) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                await self._listen(committing, presence)
                failures = 0
            except aiomqtt.MqttError as error:
                failures = 1 if self._connected else failures + 1
                where = f"{self._address.host}:{self._address.port}"
                account = self._address.account
                _log.warning("no connection to the broker", broker=where, account=account, why=str(error))
            self._disconnected_s = self._monotonic_s()
            self._connected = False
            self._client = None
            if failures:
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(MAX_PAUSE_S, FIRST_PAUSE_S * 2**failures)):
                        await self._stop.wait()

    async def _listen(self, committing: asyncio.Task[None], presence: asyncio.Task[None]) -> None:
        """One connection, to its end or to that of this worker."""
        self._session = HostSession(self._settings.host_id)
        name = f"{self._settings.host_id}-ingest"
        async with self._open_client(self._settings, name=name, receive=self._receive) as client:
            self._subscribed = set()
            self._watched = {}
            self._client = client
            await self._subscribe()
            self._connected = True
            self._leases.may_lead(not self._stop.is_set())
            self._presence.look()
            _log.info("hears the broker", host=self._settings.host_id)
            tasks = [asyncio.create_task(work) for work in (_wait_for_end(client), self._send_outgoing(client))]
            stop = asyncio.create_task(self._stop.wait())
            try:
                done, _ = await asyncio.wait({*tasks, stop}, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
                await self._leave(client, committing, presence)
            finally:
                await end((*tasks, stop))

    async def _leave(self, client: BrokerClient, committing: asyncio.Task[None], presence: asyncio.Task[None]) -> None:
        """Commit what is queued and acknowledge it; then leave the host to another worker, or say offline."""
        self.committer.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await asyncio.shield(committing)
        await self._publish_outgoing(client)
        self._presence.leave()
        await presence

    def _open_presence(self, will: aiomqtt.Will) -> BrokerClient:
        name = f"{self._settings.host_id}-state"
        return self._open_client(self._settings, name=name, receive=lambda message: None, will=will)

    async def _follow_leases(self) -> None:
        """Subscribe to what comes to this worker; finish and forget what goes."""
        while True:
            await self._leases.changed.wait()
            self._leases.changed.clear()
            try:
                await self._subscribe()
            except aiomqtt.MqttError as error:
                # A connection that is gone subscribes anew when it is back. One that only stalled lives on, and nobody
                # else would ask again: the group would be ours, and unheard.
                _log.warning("the broker did not answer a subscription; asking again", why=str(error))
                await asyncio.sleep(POLL_S)
                self._leases.changed.set()
            self._presence.look()

    async def _subscribe(self) -> None:
        """Bring the broker's view of what this worker wants to what its leases say."""
        async with self._sharing:
            groups, leaving = self._leases.groups, self._leases.leaving
            topics = {FEED: ALL_GROUPS}
            if groups is not None:
                self._forget(self._followed - groups)
                self._followed = groups
                topics = {f"spBv1.0/{group}/#": group for group in groups - leaving}
                topics[f"spBv1.0/STATE/{self._settings.host_id}"] = STATE
            for group in leaving - self._draining.keys():
                self._draining[group] = asyncio.create_task(self._let_go(group))
            client = self._client
            if client is None:
                return
            for some in batched(sorted(self._subscribed - topics.keys())):
                await client.unsubscribe(some)
                self._subscribed.difference_update(some)
            for some in batched(sorted(topics.keys() - self._subscribed)):
                await client.subscribe([(topic, 1) for topic in some])
                self._subscribed.update(some)
                self._watched.update((topics[topic], self._monotonic_s()) for topic in some)

    def _forget(self, groups: frozenset[str]) -> None:
        self.committer.forget(groups)
        for group in groups:
            self._session.forget(group)
            self._watched.pop(group, None)

    async def _let_go(self, group: str) -> None:
        """Commit and acknowledge what was heard of a group; then another worker may have it."""
        await asyncio.sleep(0)
        async with self._sharing:
            pass  # by now it is unsubscribed
        await self.committer.drained()
        await self._flushed.wait()
        self._leases.let_go([group])
        del self._draining[group]

    def _receive(self, message: aiomqtt.Message) -> None:
        """Follow the sessions, and queue what has to be written. Must not raise: it runs inside the MQTT client."""
        topic = message.topic.value
        group = topic.split("/", 2)[1] if topic.count("/") > 1 else ""
        expected = group == STATE or (self._leases.hears(group) and not self._stop.is_set())
        if not (expected and isinstance(message.payload, bytes)):
            return
        try:
            events = self._session.receive(topic, message.payload, self._monotonic_s())
        except Exception as error:
            _log.exception("message could not be read", topic=topic)
            events = [Malformed(topic, message.payload, f"it could not be read: {error!r}")]
        for event in events:
            if isinstance(event, HostState):
                self._presence.hear(event, retained=message.retain)
            else:
                self._take(event, topic, message.payload)

    def _take(self, event: HostEvent, topic: str = "", payload: bytes = b"") -> None:
        if isinstance(event, RebirthWanted):
            self._rebirths.want(*event)
        else:
            self.committer.offer(Heard(event, topic, payload, datetime.fromtimestamp(self._now_ms() / 1000, UTC)))

    def _ask_for_births(self, agent: AgentName) -> None:
        self._send(self._session.rebirth_command(*agent, self._now_ms()))

    def _send(self, message: Publish) -> None:
        """Queue a message for the broker. Without connection it is dropped: a repetition brings it again."""
        if self._connected:
            self._outgoing.append(message)
            self._flushed.clear()
            self._to_send.set()

    async def _send_outgoing(self, client: BrokerClient) -> None:
        while True:
            await self._publish_outgoing(client)
            self._flushed.set()
            self._to_send.clear()
            await self._to_send.wait()

    async def _publish_outgoing(self, client: BrokerClient) -> None:
        while self._outgoing:
            some = min(len(self._outgoing), MAX_PUBLISHED_AT_ONCE)
            await client.publish_all([self._outgoing.popleft() for _ in range(some)])

    async def _follow_time(self) -> None:
        """Let the session notice what never came; find agents that died while nobody listened."""
        while True:
            await asyncio.sleep(POLL_S)
            if not self._connected:
                if self._monotonic_s() - self._disconnected_s > RESIGN_S:
                    self._leases.may_lead(False)
                continue
            for event in self._session.poll(self._monotonic_s()):
                self._take(event)
            await self._look_for_the_silent()

    async def _look_for_the_silent(self) -> None:
        """Ask agents that count as online but have not been heard; hold them for dead if they stay silent."""
        now_s = self._monotonic_s()
        due = {group: now_s - since_s for group, since_s in self._watched.items() if now_s - since_s >= ASK_SILENT_S}
        if not due:
            return
        try:
            online = await self._directory.online_agents()
        except DATABASE_ERRORS:
            return
        for group, node in online:
            silent_s = due.get(group, due.get(ALL_GROUPS))
            if silent_s is None or self._session.knows(group, node):
                continue
            if silent_s >= GIVE_UP_SILENT_S:
                self._take(NodeDied(group, node, None))
            else:
                self._take(RebirthWanted(group, node, "it counts as online but is not heard"))
        for group, silent_s in due.items():
            if silent_s >= GIVE_UP_SILENT_S:
                self._watched.pop(group, None)

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


def batched(topics: list[str]) -> Iterator[list[str]]:
    """Topics in portions that fit one packet of any broker."""
    for at in range(0, len(topics), MAX_TOPICS_A_PACKET):
        yield topics[at : at + MAX_TOPICS_A_PACKET]


async def _wait_for_end(client: aiomqtt.Client) -> None:
    """Returns never; raises MqttError when the connection ends."""
    async for _ in client.messages:
        pass
