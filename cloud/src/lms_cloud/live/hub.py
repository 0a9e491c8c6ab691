"""The hub of one web worker: one subscription at the broker, a bounded queue for each browser that watches.

Before it: the broker's lms/live topics, which `lms_cloud.telemetry` publishes after each commit. After it:
`lms_cloud.live.following`, one for each bioreactor on view. What a queue cannot hold is counted and left out; what the
broker loses shows by its cursor; either way the database fills the hole, so the hub may forget anything.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Final, NamedTuple

import aiomqtt
import structlog
from lms_protocol.errors import LmsError
from lms_protocol.topics import LiveTopic, parse

from lms_cloud.kernel.database import Database
from lms_cloud.kernel.ending import end
from lms_cloud.kernel.settings import CloudSettings
from lms_cloud.live.messages import LiveMessage
from lms_cloud.telemetry.broker import broker_address, open_client

FEED: Final = "lms/live/#"
MAX_QUEUED: Final = 200
FIRST_PAUSE_S: Final = 0.1
MAX_PAUSE_S: Final = 5.0

_log = structlog.get_logger(__name__)


class Lost(NamedTuple):
    """The reader was too slow: so many messages were left out."""

    messages: int


class Signal(Enum):
    """What a queue says besides messages."""

    RECONNECTED = "reconnected"
    """Messages may have been missed: ask the database."""


class LiveQueue:
    """The messages of one bioreactor for one browser, in order; bounded.

    Args:
        limit: most messages that wait; one more, and all are left out and counted.
    """

    def __init__(self, limit: int = MAX_QUEUED) -> None:
        self._limit = limit
        self._items: deque[LiveMessage | Signal] = deque()
        self._lost = 0
        self._ready = asyncio.Event()

    def put(self, item: LiveMessage | Signal) -> None:
        """Add a message, or leave all out if there are too many."""
        if len(self._items) >= self._limit:
            self._lost += len(self._items)
            self._items.clear()
        if self._lost:
            self._lost += 1
        else:
            self._items.append(item)
        self._ready.set()

    async def get(self) -> LiveMessage | Signal | Lost:
        """The next message, or how many were left out; waits for one."""
        while True:
            if self._lost:
                lost, self._lost = self._lost, 0
                return Lost(lost)
            if self._items:
                return self._items.popleft()
            self._ready.clear()
            await self._ready.wait()


class LiveHub:
    """Hands each live message to the queues of those who watch its bioreactor.

    Args:
        settings: where the broker is.
        database: for those who follow.

    Attributes:
        connected: whether the broker is being heard.
    """

    def __init__(self, settings: CloudSettings, database: Database) -> None:
        self._settings = settings
        self.database = database
        self.connected = False
        self._queues: defaultdict[LiveTopic, set[LiveQueue]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to hear the broker; it need not be there yet."""
        if self._settings.mqtt_url is None:
            _log.warning("LMS_MQTT_URL is not set: pages show history and latest values, but nothing live")
            return
        broker_address(self._settings)  # a wrong address stops the program here, not later in a task
        self._task = asyncio.create_task(self._stay_connected())

    async def stop(self) -> None:
        """Leave the broker."""
        if self._task is not None:
            await end((self._task,))

    @contextmanager
    def subscribe(self, topic: LiveTopic) -> Iterator[LiveQueue]:
        """A queue of the messages of one bioreactor, while the block lasts."""
        queue = LiveQueue()
        self._queues[topic].add(queue)
        try:
            yield queue
        finally:
            self._queues[topic].discard(queue)
            if not self._queues[topic]:
                del self._queues[topic]

    async def _stay_connected(self) -> None:
        failures = 0
        while True:
            try:
                client = open_client(self._settings, name=f"{self._settings.host_id}-web", receive=self._receive)
                async with client:
                    await client.subscribe(FEED, qos=0)
                    _log.info("hears live messages")
                    self.connected, failures = True, 0
                    for queues in self._queues.values():
                        for queue in queues:
                            queue.put(Signal.RECONNECTED)
                    async for _ in client.messages:
                        pass
            except aiomqtt.MqttError as error:
                failures += 1
                _log.warning("hears no live messages: no connection to the broker", why=str(error))
            finally:
                self.connected = False
            await asyncio.sleep(min(MAX_PAUSE_S, FIRST_PAUSE_S * 2**failures))

    def _receive(self, message: aiomqtt.Message) -> None:
        """Hand a message over. Must not raise: it runs inside the MQTT client."""
        try:
            topic = parse(message.topic.value)
            if not isinstance(topic, LiveTopic) or topic not in self._queues or not isinstance(message.payload, bytes):
                return
            parsed = LiveMessage.parse(message.payload)
        except LmsError as error:
            _log.warning("live message cannot be read", topic=message.topic.value, why=str(error))
            return
        for queue in self._queues[topic]:
            queue.put(parsed)
