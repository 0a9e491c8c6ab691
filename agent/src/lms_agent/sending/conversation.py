"""One connection to the broker: births when the primary host is there, then batches; what the broker delivers, back.

    host      then
    ────────  ─────────────────────────────────────────────────────────
    unknown   subscribed, silent
    online    births, live batches, behind them the backlog as historical: packed, if the host says that it reads that
    offline   NDEATH, and the connection ends: a new one waits in silence
    any       NDEATH and end, too, when it is another log's turn

Neighbours: `lms_agent.sending.sender` opens the connection; `lms_protocol.edge` and `lms_protocol.delivery` decide.
"""

import asyncio
import logging
import math
from collections.abc import Callable

from aiomqtt import Client
from lms_protocol.delivery import SendingWindow
from lms_protocol.edge import Accepts, Acknowledged, EdgeEvent, EdgeSession, RebirthRequested, Refused, TagCommand
from lms_protocol.errors import DeliveryError, LmsError, PayloadError
from lms_protocol.messages import HostState, Publish
from lms_protocol.ranges import NumberRanges

from lms_agent.clock import Clock
from lms_agent.ending import end
from lms_agent.log.errors import LogWriteFailed
from lms_agent.log.renewal.predecessors import Kind
from lms_agent.log.renewal.standing_in import stand_in
from lms_agent.sending.holding import Holding
from lms_agent.sending.packer import Pack, Packer
from lms_agent.sending.sendable import SendableLog
from lms_agent.sending.state import SendingState
from lms_agent.sending.supply import Supply

LOGGER = logging.getLogger(__name__)

LONGEST_WAIT_S = 1.0
"""How long it may take to notice that it is another log's turn."""


def not_taken(command: TagCommand) -> None:
    """What becomes of commands where nobody carries them out."""
    LOGGER.warning("%s of %s was to be set by a host; nothing here does that", command.named, command.device)


class Conversation:
    """What is said on one connection.

    Args:
        holding: what may be sent yet.
        stopping: set when the agent ends: deaths are published and the conversation is over.
        is_over: asked before each message: whether it is another log's turn.
        on_command: called with each command of a host; must return at once.
    """

    def __init__(
        self,
        client: Client,
        *,
        log: SendableLog,
        session: EdgeSession,
        window: SendingWindow,
        clock: Clock,
        state: SendingState,
        holding: Holding,
        stopping: asyncio.Event,
        is_over: Callable[[], bool],
        on_command: Callable[[TagCommand], None],
    ) -> None:
        self._on_command = on_command
        self._holding = holding
        self._client = client
        self._log = log
        self._session = session
        self._window = window
        self._clock = clock
        self._state = state
        self._stopping = stopping
        self._is_over = is_over
        self._refused: list[int] = []
        self._beyond: tuple[int, int] | None = None  # a number from the future, and after how many births it came
        self._births = 0
        self._supply = Supply(log, self._sendable)
        self._wake = asyncio.Event()
        self._packer = Packer(log, self._supply, window, session, self.wake)
        self._rebirth = False
        self._host_online = session.primary_host is None
        # Of this connection only: a host whose clock once ran ahead, and a broker that forgot that STATE, would silence
        # the agent until the clock is there.
        self._host_since_ms = 0

    def wake(self) -> None:
        """Something has changed: a new batch, or the agent is to stop."""
        self._wake.set()

    async def hold(self) -> None:
        """Talk until the agent stops or the primary host goes offline; deaths are then published.

        Raises:
            MqttError: the connection is gone.
            LogError: the log cannot be read.
        """
        hearing = asyncio.ensure_future(self._hear())
        talking = asyncio.ensure_future(self._talk())
        packing = asyncio.ensure_future(self._packer.run())
        try:
            done, _ = await asyncio.wait((hearing, talking, packing), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await end((hearing, talking, packing))
            self._window.disconnected()
            self._session.connection_lost()
            self._state.born = False

    async def _talk(self) -> None:
        while True:
            self._wake.clear()
            if self._stopping.is_set() or self._is_over() or (self._session.born and not self._host_online):
                await self._say_goodbye()
                return
            while self._refused:
                await self._settle_refused(self._refused.pop(0))
            if self._host_online:
                await self._holding.settle()
                if self._rebirth or not self._session.born:
                    await self._give_birth()
                elif self._window.head < self._sendable():  # what was held back may go now, as backlog
                    self._packer.drop()
                    self._window.connected(acked=self._log.acked, head=self._sendable())
            now_s = self._clock.monotonic_s()
            sending = self._window.next(now_s, packing=self._session.may_pack)
            if sending is not None:
                message = await self._data(sending.number, historical=sending.historical)
                self._window.weigh(sending.number, len(message.payload))
                await self._publish(message)
                self._state.sent_batches += 1
            elif (pack := self._packer.next(now_s)) is not None:
                await self._publish_pack(pack)
            else:
                await self._wait()

    async def _publish_pack(self, pack: Pack) -> None:
        for number, digest in pack.digests.items():
            self._window.said(number, digest)
        if pack.value is not None:
            await self._publish(self._session.packed(pack.value, self._clock.wall_ms(), pack.logged))
        else:
            for number in pack.sizes:
                await self._publish(await self._data(number, historical=True))
        self._state.sent_batches += len(pack.sizes)

    def _sendable(self) -> int:
        """The highest number that may be sent."""
        held = self._holding.first_held
        return self._log.head if held is None else min(self._log.head, held - 1)

    async def _wait(self) -> None:
        timeout = self._window.next_wakeup_s(self._clock.monotonic_s())
        try:
            async with asyncio.timeout(LONGEST_WAIT_S if timeout is None else min(timeout, LONGEST_WAIT_S)):
                await self._wake.wait()
        except TimeoutError:
            self._state.timeouts += timeout is not None and timeout <= LONGEST_WAIT_S

    async def _give_birth(self) -> None:
        again, self._rebirth = self._session.born, False
        self._packer.drop()
        messages = self._session.births(
            self._clock.wall_ms(),
            self._holding.presentable(self._log.latest()),
            self._log.acked,
            self._log.head,
        )
        if not again:  # before anything is awaited: from now on each new batch is announced to the window
            self._window.connected(acked=self._log.acked, head=self._sendable())
        for message in messages:
            await self._publish(message)
        self._state.born = True
        self._state.births += 1
        self._births += 1
        LOGGER.info(
            "Births published for %d bioreactors; %d batches to catch up",
            len(self._session.devices),
            self._window.unacknowledged,
        )

    async def _data(self, number: int, *, historical: bool) -> Publish:
        batch = await self._supply.get(number)
        try:
            message = self._session.data(batch, self._clock.wall_ms(), historical=historical)
        except PayloadError as error:
            reason = f"batch {number} cannot be sent: {error}"
            LOGGER.error("%s. It stays in the log; a gap is sent in its place.", reason)
            batch = await asyncio.to_thread(stand_in, self._log, number, reason)
            message = self._session.data(batch, self._clock.wall_ms(), historical=historical)
        self._window.said(number, self._session.digest(batch))
        return message

    async def _say_goodbye(self) -> None:
        if self._session.born:
            now_ms = self._clock.wall_ms()
            for device in self._session.devices:
                await self._publish(self._session.device_death(device, now_ms))
            await self._publish(self._session.death(now_ms))

    async def _publish(self, message: Publish) -> None:
        # Awaited one by one: aiomqtt returns once the bytes are with the kernel (QoS 0) or with the broker (QoS 1), so
        # that a slow link holds us back here and nothing piles up in memory. Whether it is dead, keepalive finds out: a
        # message given up because it takes long would be begun again and again.
        patience_s = None if message.qos else math.inf
        await self._client.publish(message.topic, message.payload, message.qos, message.retain, timeout=patience_s)
        await asyncio.sleep(0)  # a fast link takes the bytes at once; a long backlog must not hold up sampling

    async def _hear(self) -> None:
        async for message in self._client.messages:
            try:
                events = self._session.receive(message.topic.value, message.payload)
            except LmsError as error:
                LOGGER.warning("A message on %s cannot be used: %s", message.topic, error)
                continue
            for event in events:
                self._take(event)

    def _take(self, event: EdgeEvent) -> None:
        if isinstance(event, Acknowledged):
            self._acknowledged(event)
        elif isinstance(event, RebirthRequested):
            self._rebirth = True
        elif isinstance(event, HostState):
            self._host_state(event)
        elif isinstance(event, Accepts):
            LOGGER.info("The host reads the backlog as: %s", ", ".join(sorted(event.forms)))
        elif isinstance(event, Refused):
            self._take_refusal(event)
        else:
            self._on_command(event)
        self._wake.set()

    def _acknowledged(self, event: Acknowledged) -> None:
        if not self._session.born:
            return  # of an earlier connection; the window is not open yet, and the cloud says it again
        number, ranges, settled, digests = event
        if self._log.is_final:  # the cloud may know more numbers of this stream than it ever had
            number, ranges = min(number, self._log.head), NumberRanges(ranges.within(1, self._log.head))
        try:
            acked = self._window.acknowledged(number, ranges, settled, digests, now_s=self._clock.monotonic_s())
        except DeliveryError as error:
            LOGGER.error("An acknowledgement is not believed: %s", error)
            self._acknowledged_beyond(error.number or 0)
            return
        self._state.last_ack_at_ms = self._clock.wall_ms()
        self._settled(acked)

    def _settled(self, acked: int) -> None:
        if self._is_over():
            return  # the window is another log's already
        self._log.acknowledge(acked)
        self._state.acked = acked
        self._state.unacknowledged = self._window.unacknowledged

    def _acknowledged_beyond(self, number: int) -> None:
        """The cloud has batches that this log never had: once is a mistake; again, after another birth, it is true."""
        if self._beyond is None:
            self._beyond = number, self._births
            self._rebirth = True
        elif self._births > self._beyond[1]:
            reason = f"the cloud has batches up to {number}, but it ends with {self._log.head}: an older copy came back"
            self._log.doubt(Kind.RESTORED, reason)

    def _take_refusal(self, event: Refused) -> None:
        number, digest = event
        if digest is not None and self._session.born and not self._window.has_said(number, digest):
            LOGGER.error("A refusal is not believed: it is of another batch %d than was sent", number)
            return
        if not self._session.born or not self._window.sent(number):
            LOGGER.error("A refusal is not believed: batch %d was not sent, or is acknowledged", number)
            return
        self._state.refused = number
        LOGGER.error("The cloud REFUSES batch %d: it has another batch of this stream under that number", number)
        self._refused.append(number)

    async def _settle_refused(self, number: int) -> None:
        try:
            settled = await self._log.refused(number)
        except LogWriteFailed as error:
            LOGGER.error("%s Batch %d is sent again later.", error, number)
            return
        if settled:
            self._settled(self._window.settle(number))

    def _host_state(self, event: HostState) -> None:
        if event.host != self._session.primary_host or event.timestamp_ms < self._host_since_ms:
            return
        self._host_since_ms = self._state.host_since_ms = event.timestamp_ms
        if event.online != self._host_online:
            LOGGER.info("The primary host %s is %s", event.host, "online" if event.online else "offline")
        self._host_online = self._state.host_online = event.online
