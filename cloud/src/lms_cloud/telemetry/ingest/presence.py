"""The host's STATE: one of its ingest workers says that the host is online, on a connection of its own.

Before it: `lms_cloud.telemetry.leases.leasing`, which says who leads, and `ingest`, which hears the broker and passes
on what it hears of this host's STATE. After it: the agents, which send only while the host is online.

A connection of its own, since the will has to be there at CONNECT: a worker that takes the lead goes on hearing its
groups meanwhile. Will and birth carry the same time, later than any STATE of this host before it, whatever the clock
says. The lead is handed over without the host going offline: the successor publishes a later birth, and the one that
leaves ends its connection cleanly, which drops its will. If the leader dies, the broker publishes its will; the agents
do what Sparkplug asks of them, and are back with the successor's birth.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import aiomqtt
import structlog
from lms_protocol.host import HostSession
from lms_protocol.messages import HostState, Publish

from lms_cloud.kernel.ending import end
from lms_cloud.telemetry.leases.leasing import Leases

FIRST_PAUSE_S: Final = 0.1
MAX_PAUSE_S: Final = 5.0
LOOK_S: Final = 0.5
HAND_OVER_LOOKS: Final = 10

_log = structlog.get_logger(__name__)


class HostPresence:
    """Keeps the STATE of this host while this worker leads.

    Args:
        session: words the STATE.
        leases: says whether this worker leads.
        open_client: makes a connection with a will that is not connected yet.
        hearing: whether this worker hears the broker: who says online must be listening.
        now_ms: tells the time, ms UTC.
    """

    def __init__(
        self,
        session: HostSession,
        leases: Leases,
        open_client: Callable[[aiomqtt.Will], aiomqtt.Client],
        hearing: Callable[[], bool],
        now_ms: Callable[[], int],
    ) -> None:
        self._session = session
        self._leases = leases
        self._open_client = open_client
        self._hearing = hearing
        self._now_ms = now_ms
        self._state_ms = 0
        self._latest_ms = 0  # of any STATE of this host that was heard
        self._online = False
        self._outdone = asyncio.Event()
        self._say_again = asyncio.Event()
        self._superseded = asyncio.Event()
        self._look = asyncio.Event()
        self._leaving = asyncio.Event()

    def look(self) -> None:
        """Something changed with the leases, or with what this worker hears."""
        if self._online and self._latest_ms > self._state_ms and self._leases.leading and self._leases.sure:
            # While our leases were in doubt another worker led, and perhaps died since: its STATE is the last word.
            _log.warning("another worker's STATE is later than this connection's", found_ms=self._latest_ms)
            self._outdone.set()
        self._look.set()

    def leave(self) -> None:
        """Hand over, or say offline, and leave `run`."""
        self._leaving.set()
        self._look.set()

    def hear(self, state: HostState, *, retained: bool) -> None:
        """Set our own STATE right if it says something else than that we are online since this connection."""
        if state.host != self._session.host_id:
            return
        self._latest_ms = max(self._latest_ms, state.timestamp_ms)
        if not self._online:
            return
        if state.timestamp_ms > self._state_ms:
            if self._leases.others and state.online and not retained:
                self._superseded.set()
            if self._leases.leading and self._leases.sure and (retained or not state.online):
                # Our clock went back, or another worker of this host just died. Only a later birth outdoes it, and as
                # the will has to carry the same time, that takes a new connection.
                _log.warning("STATE of this host is later than this connection's", found_ms=state.timestamp_ms)
                self._outdone.set()
        elif not state.online:
            _log.info("publishes online again over a stale offline", found_ms=state.timestamp_ms)
            self._say_again.set()

    async def run(self) -> None:
        """Speak for the host whenever this worker leads, until told to leave."""
        failures = 0
        while not self._leaving.is_set():
            if not (self._leases.leading and self._hearing()):
                await self._look.wait()
                self._look.clear()
                continue
            try:
                await self._speak()
                failures = 0
            except aiomqtt.MqttError as error:
                failures += 1
                _log.warning("no connection to the broker for the host's STATE", why=str(error))
            self._online = False
            if failures:
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(MAX_PAUSE_S, FIRST_PAUSE_S * 2**failures)):
                        await self._leaving.wait()

    async def _speak(self) -> None:
        """One connection, from its will to its end, or to that of this worker's lead."""
        self._state_ms = max(self._now_ms(), self._latest_ms + 1, self._state_ms + 1)
        for event in (self._outdone, self._say_again, self._superseded):
            event.clear()
        will = aiomqtt.Will(*self._session.state(online=False, timestamp_ms=self._state_ms))
        async with self._open_client(will) as client:
            await _publish(client, self._session.state(online=True, timestamp_ms=self._state_ms))
            self._online = True
            _log.info("speaks for the host", host=self._session.host_id, since_ms=self._state_ms)
            tasks = [asyncio.create_task(work) for work in (self._keep(client), _wait_for_end(client))]
            outdone = asyncio.create_task(self._outdone.wait())
            try:
                done, _ = await asyncio.wait({*tasks, outdone}, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                await end((*tasks, outdone))

    async def _keep(self, client: aiomqtt.Client) -> None:
        """Repeat the birth where it has to be; at the end, leave it to another worker or say offline."""
        again = asyncio.create_task(self._repeat(client))
        try:
            while self._leases.leading and not self._leaving.is_set():
                await self._look.wait()
                self._look.clear()
            if self._leaving.is_set():
                self._leases.may_lead(False)
            await self._await_successor()
        finally:
            await end([again])
        if self._superseded.is_set() or (self._leases.others and not self._leaving.is_set()):
            _log.info("another worker speaks for the host now", host=self._session.host_id)
            return
        self._online = False
        self._state_ms = max(self._now_ms(), self._state_ms)
        await _publish(client, self._session.state(online=False, timestamp_ms=self._state_ms))

    async def _await_successor(self) -> None:
        """Wait until another worker's birth is heard; not for long, and not if there is none left."""
        for _ in range(HAND_OVER_LOOKS):
            if not self._leases.others:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._superseded.wait()
                    return

    async def _repeat(self, client: aiomqtt.Client) -> None:
        while True:
            await self._say_again.wait()
            self._say_again.clear()
            await _publish(client, self._session.state(online=True, timestamp_ms=self._state_ms))


async def _publish(client: aiomqtt.Client, message: Publish) -> None:
    await client.publish(message.topic, message.payload, message.qos, message.retain)


async def _wait_for_end(client: aiomqtt.Client) -> None:
    """Returns never; raises MqttError when the connection ends."""
    async for _ in client.messages:
        pass
