"""An MQTT broker and the connections to it, in virtual time.

What MQTT promises holds: a connection keeps its order, QoS 1 arrives or the connection ends, a will is published for
whoever vanishes, a client id has one connection. Beyond that the network may do what networks, bridges and clusters of
brokers do:

    lost        what was on its way when a connection ended; QoS 0 while `weather.lost` says so
    doubled     any message, while `weather.doubled` says so
    reordered   any message, while `weather.late_s` says so (a cluster's other node was slower)
    hanging     a connection that swallows everything, until the keepalive notices
    taken over  a second connection with the same client id ends the first
    restarted   all connections end without wills; retained messages are kept or forgotten

`SimulatedClient` has what the code uses of `aiomqtt.Client`, with its errors.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass, field
from random import Random
from typing import Any, Self

from aiomqtt import Message, MqttError, Topic
from lms_protocol.messages import Publish

from simulation.loop import VirtualLoop

KEEPALIVE_S = 15.0
TIMEOUT_S = 10.0
UNSENT_BYTES = 16 * 1024
MOST_QUEUED = 1000
_TOPICS: dict[str, Topic] = {}


@dataclass
class Weather:
    """What goes wrong with messages now, as chances; `late_s` is how much later than others one may be."""

    lost: float = 0.0
    doubled: float = 0.0
    late_s: float = 0.0


@dataclass
class Link:
    """The line of one client. `bytes_s`: what it carries; `hangs`: it swallows everything; `down`: nobody answers."""

    bytes_s: float = 1_000_000.0
    delay_s: float = 0.003
    hangs: bool = False
    down: bool = False


class Broker:
    """The broker.

    Attributes:
        up: whether it answers at all.
        weather: what goes wrong with messages.
        links: the line of each client, by the name its id begins with.
    """

    def __init__(self, loop: VirtualLoop, rng: Random, note: Callable[[str], None]) -> None:
        self.loop = loop
        self.rng = rng
        self.note = note
        self.up = True
        self.weather = Weather()
        self.links: dict[str, Link] = {}
        self.on_publish: Callable[[str, bytes], None] = lambda topic, payload: None
        self._context = Context()  # what the network does goes on when whoever sent it is killed
        self._retained: dict[str, bytes] = {}
        self._sessions: dict[str, Session] = {}

    def later(self, at_s: float, act: Callable[..., None], *args: Any) -> None:
        """Let the network do something at a time."""
        self.loop.call_at(at_s, act, *args, context=self._context)

    def link(self, client_id: str) -> Link:
        """The line of a client."""
        return next((link for name, link in self.links.items() if client_id.startswith(name)), _PLAIN)

    def accept(self, session: "Session") -> None:
        """A client connects; another one with its id has to go."""
        known = self._sessions.get(session.client_id)
        if known is not None:
            self.drop(known, "session taken over")
        self._sessions[session.client_id] = session

    def drop(self, session: "Session", why: str, *, polite: bool = False) -> None:
        """A connection ends; without a goodbye its will is published."""
        if self._sessions.get(session.client_id) is session:
            del self._sessions[session.client_id]
        if session.open:
            session.open = False
            session.client.lost(why)
            if session.will is not None and not polite:
                self.publish(session.will.topic, session.will.payload, session.will.qos, retain=session.will.retain)

    def restart(self, *, forget: bool) -> None:
        """It dies, as by kill -9: no wills, no goodbyes."""
        for session in list(self._sessions.values()):
            session.will = None
            self.drop(session, "the broker died")
        self._sessions.clear()
        if forget:
            self._retained.clear()

    def cut(self, prefix: str) -> None:
        """The connections of some clients are reset."""
        for session in list(self._sessions.values()):
            if session.client_id.startswith(prefix):
                self.drop(session, "connection reset")

    def publish(self, topic: str, payload: bytes, qos: int, *, retain: bool) -> None:
        """Deliver a message to all who want it."""
        if not self.up:
            return
        self.on_publish(topic, payload)
        if retain:
            self._retained[topic] = payload
        for session in list(self._sessions.values()):
            if session.wants(topic):
                session.deliver(topic, payload, qos, retain=False)

    def retained(self, session: "Session") -> None:
        """Tell a new subscriber what is retained."""
        for topic, payload in self._retained.items():
            if session.wants(topic):
                session.deliver(topic, payload, 1, retain=True)


_PLAIN = Link()


class Session:
    """What the broker knows of one connection."""

    def __init__(self, broker: Broker, client: "SimulatedClient", will: Any) -> None:
        self.broker = broker
        self.client = client
        self.client_id = client.client_id
        self.will = will
        self.open = True
        self.heard_s = broker.loop.time()
        self._filters: list[str] = []
        self._busy_until_s = 0.0

    def subscribe(self, filters: Iterable[str]) -> None:
        """The client wants these topics from now on."""
        self._filters.extend(filters)
        self.broker.retained(self)

    def unsubscribe(self, filters: Iterable[str]) -> None:
        """The client wants these topics no more."""
        for each in filters:
            if each in self._filters:
                self._filters.remove(each)

    def wants(self, topic: str) -> bool:
        """Whether a topic is subscribed to."""
        return any(_matches(each, topic) for each in self._filters)

    def deliver(self, topic: str, payload: bytes, qos: int, *, retain: bool) -> None:
        """Send a message down to the client."""
        broker = self.broker
        weather, rng = broker.weather, broker.rng
        if qos == 0 and weather.lost and rng.random() < weather.lost:
            broker.note(f"lost on the way to {self.client_id}: {topic}")
            return
        times = 2 if weather.doubled and rng.random() < weather.doubled else 1
        for _ in range(times):
            link = broker.link(self.client_id)
            now_s = broker.loop.time()
            arrival_s = max(now_s + rng.expovariate(1 / link.delay_s), self._busy_until_s)
            self._busy_until_s = arrival_s + len(payload) / link.bytes_s
            if weather.late_s and rng.random() < 0.5:
                arrival_s += rng.uniform(0, weather.late_s)
            broker.later(arrival_s, self._arrive, topic, payload, qos, retain)

    def _arrive(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        if self.open and not self.broker.link(self.client_id).hangs:
            self.client.arrived(topic, payload, qos, retain=retain)
        elif self.open and qos:
            self.broker.later(
                self.broker.loop.time() + 1.0, self._arrive, topic, payload, qos, retain
            )  # TCP sends it again


@dataclass
class SimulatedClient:
    """A client: `async with` connects it.

    Args:
        broker: where to.
        client_id: as whom.
        will: an `aiomqtt.Will` or a `Publish`, or None.
        receive: called with each message; without it, `messages` yields them.
        is_alive: whether the process that it belongs to lives.
    """

    broker: Broker
    client_id: str
    will: Any
    receive: Callable[[Message], None] | None = None
    is_alive: Callable[[], bool] = lambda: True
    most_queued: int = field(default=0, init=False)
    _session: Session | None = field(default=None, init=False)
    _queue: deque[Message] = field(default_factory=deque, init=False)
    _waiting: "asyncio.Future[None] | None" = field(default=None, init=False)
    _ended: str | None = field(default=None, init=False)
    _busy_until_s: float = field(default=0.0, init=False)
    _pinged: asyncio.TimerHandle | None = field(default=None, init=False)

    async def __aenter__(self) -> Self:
        link = self._link
        if not self.broker.up or link.down:
            await asyncio.sleep(self.broker.rng.uniform(0.001, 0.1))
            raise MqttError("[Errno 111] Connection refused")
        if link.hangs:
            await asyncio.sleep(TIMEOUT_S)
            raise MqttError("Operation timed out")
        await asyncio.sleep(2 * self.broker.rng.expovariate(1 / link.delay_s))
        if not self.broker.up or link.down or link.hangs:
            raise MqttError("[Errno 104] Connection reset by peer")
        self._session = Session(self.broker, self, self.will)
        self.broker.accept(self._session)
        self._watch(0)
        return self

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        """End politely, as aiomqtt does whatever has happened."""
        session = self._session
        if session is not None and session.open:
            if self._link.hangs:
                self._ended = "closed"
            else:
                await asyncio.sleep(self._link.delay_s)
                with suppress(MqttError):
                    self._check()
                    session.will = None
                self.broker.drop(session, "closed", polite=session.will is None)

    def abandon(self) -> None:
        """Close the socket without a word: the broker publishes the will once it notices."""
        session = self._session
        if session is not None and session.open:
            self._ended = self._ended or "closed"
            if not self._link.hangs:
                self.broker.drop(session, "closed")

    async def subscribe(self, topics: Any, qos: int = 0) -> tuple[int, ...]:
        """Subscribe; the answer names the QoS granted."""
        wanted = [topics] if isinstance(topics, str) else [topic for topic, _ in topics]
        await self._round_trip()
        if self._session is not None:
            self._session.subscribe(wanted)
        return tuple(1 for _ in wanted)

    async def unsubscribe(self, topics: Any) -> None:
        """Unsubscribe."""
        await self._round_trip()
        if self._session is not None:
            self._session.unsubscribe([topics] if isinstance(topics, str) else topics)

    async def publish(
        self, topic: str, payload: bytes, qos: int = 0, retain: bool = False, *, timeout: float | None = None
    ) -> None:
        """Publish: returns once the bytes are on their way (QoS 0) or with the broker (QoS 1).

        Raises:
            MqttError: the connection is gone, or no answer came in time.
        """
        self._check()
        link, loop = self._link, self.broker.loop
        now_s = loop.time()
        self._busy_until_s = max(now_s, self._busy_until_s) + (len(payload) + len(topic)) / link.bytes_s
        arrival_s = self._busy_until_s + link.delay_s
        self.broker.later(arrival_s, self._published, self._session, topic, payload, qos, retain)
        if link.hangs:
            self._busy_until_s += len(payload) / 1000  # nobody takes bytes from the kernel's buffer
        wait_s = self._busy_until_s - UNSENT_BYTES / link.bytes_s - now_s
        if qos:
            await self._round_trip()
        elif wait_s > 0:
            await self._pause(wait_s)

    async def publish_all(self, messages: Iterable[Publish]) -> None:
        """Publish messages in order."""
        for message in messages:
            await self.publish(message.topic, message.payload, message.qos, message.retain)

    @property
    def messages(self) -> Self:
        """What arrives."""
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        while not self._queue:
            self._check("Disconnected during message iteration")
            self._waiting = self.broker.loop.create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        return self._queue.popleft()

    def arrived(self, topic: str, payload: bytes, qos: int, *, retain: bool) -> None:
        """A message has come down the line."""
        if not self.is_alive() or self._ended is not None:
            return
        known = _TOPICS.get(topic)
        if known is None:
            known = _TOPICS[topic] = Topic(topic)
        message = Message(known, payload, qos, retain, 0, None)
        if self.receive is not None:
            self.receive(message)
        elif len(self._queue) < MOST_QUEUED:
            self._queue.append(message)
            self.most_queued = max(self.most_queued, len(self._queue))
            self._wake()

    def lost(self, why: str) -> None:
        """The connection is gone; the client notices at once, unless its line hangs."""
        if self._ended is None and not self._link.hangs:
            self._ended = why
            self._wake()

    @property
    def _link(self) -> Link:
        return self.broker.link(self.client_id)

    def _check(self, what: str = "The client is not currently connected.") -> None:
        if self._session is None or self._ended is not None:
            raise MqttError(what)

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def _round_trip(self) -> None:
        self._check()
        await self._pause(2 * self._link.delay_s)
        if self._link.hangs:
            await self._pause(TIMEOUT_S)
            raise MqttError("Operation timed out")
        self._check()

    async def _pause(self, seconds: float) -> None:
        """Wait, or until the connection ends."""
        until_s = self.broker.loop.time() + seconds
        while (left_s := until_s - self.broker.loop.time()) > 0:
            await asyncio.sleep(min(left_s, 1.0))
            self._check()

    def _published(self, session: Session | None, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        """The bytes have come to the broker, if the line still carries them."""
        if session is None or not session.open or self._link.hangs:
            return
        session.heard_s = self.broker.loop.time()
        self.broker.publish(topic, payload, qos, retain=retain)
        if qos and self.broker.weather.doubled and self.broker.rng.random() < self.broker.weather.doubled:
            self.broker.publish(topic, payload, qos, retain=retain)

    def _watch(self, silent: int) -> None:
        """Ping; twice without an answer, and each side takes the connection as lost."""
        session = self._session
        if session is None or not (session.open or self._ended is None):
            return
        if not self.is_alive():
            if session.open:
                self.broker.drop(session, "the client is gone")
            return
        silent = silent + 1 if self._link.hangs else 0
        if silent >= 2:
            self.broker.drop(session, "keepalive ran out")
            if self._ended is None:
                self._ended = "keepalive ran out"
                self._wake()
            return
        if not session.open and not self._link.hangs and self._ended is None:
            self._ended = "the broker knows no such connection"
            self._wake()
            return
        self.broker.later(self.broker.loop.time() + KEEPALIVE_S, self._watch, silent)


def _matches(wanted: str, topic: str) -> bool:
    if wanted == topic:
        return True
    if wanted.endswith("/#"):
        return topic.startswith(wanted[:-1])
    if wanted.endswith("/+"):
        head, _, _ = topic.rpartition("/")
        return head == wanted[:-2]
    return False
