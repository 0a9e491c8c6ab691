"""The agent's life on the broker: connect, converse, and again, for as long as the agent runs.

Neighbours: `lms_agent.app` starts it beside sampling; `lms_agent.sending.conversation` is one connection.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, suppress
from random import Random
from typing import TypeAlias

from aiomqtt import Client, ProtocolVersion
from lms_protocol.delivery import SendingWindow
from lms_protocol.edge import EdgeSession, TagCommand
from lms_protocol.errors import LmsError
from lms_protocol.messages import Publish
from lms_protocol.reading import Batch
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from lms_agent.clock import Clock
from lms_agent.ending import end
from lms_agent.log.errors import LogError
from lms_agent.log.sqlite_log import SqliteLog
from lms_agent.sending.connection import Address, UnsupportedVersion, connect, subscribe
from lms_agent.sending.conversation import Conversation, not_taken
from lms_agent.sending.errors import BrokerLost
from lms_agent.sending.holding import Holding, NothingHeld
from lms_agent.sending.legacy import Legacy, Turn
from lms_agent.sending.state import SendingState

LOGGER = logging.getLogger(__name__)

Connect: TypeAlias = Callable[[Address, Publish, ProtocolVersion], AbstractAsyncContextManager[Client]]
"""Makes a connection with a will: see `lms_agent.sending.connection.connect`."""
FIRST_WAIT_S = 0.5
MAX_WAIT_S = 30.0
"""Longest pause between two attempts. Each is drawn at random below it: a thousand agents must not come at once."""
RECONNECT_WITHIN_S = 1.0
"""Pause, drawn at random below it, after a connection that had lasted."""
STEADY_AFTER_S = 10.0
"""A connection that ends sooner counts as a failed attempt: two agents with one id would take turns for ever."""
GOODBYE_S = 3.0
"""How long the deaths may take when the agent stops; after that the broker's will must do."""


class Sender:
    """Sends the log for as long as `run` runs.

    Args:
        log: open; its batches are sent and acknowledged.
        session: with the tags of all batches that the log may still have to send.
        address: the broker.
        max_wait_s: longest pause between attempts to connect, in seconds.
        connect: makes the connection.
        rng: draws the pauses.
        holding: what may be sent yet.
        on_command: called with each command of a host; must return at once.
    """

    def __init__(
        self,
        *,
        log: SqliteLog,
        session: EdgeSession,
        address: Address,
        clock: Clock,
        window: SendingWindow | None = None,
        max_wait_s: float = MAX_WAIT_S,
        connect: Connect = connect,
        rng: Random | None = None,
        holding: Holding | None = None,
        on_command: Callable[[TagCommand], None] = not_taken,
    ) -> None:
        self._on_command = on_command
        self._holding = holding or NothingHeld()
        self.state = SendingState(acked=log.acked, unacknowledged=log.head - log.acked, since_ms=clock.wall_ms())
        self._log = log
        self._session = session
        self._address = address
        self._clock = clock
        self._window = window or SendingWindow(live_limit=64, backlog_limit=128, resend_after_s=15.0)
        self._max_wait_s = max_wait_s
        self._connect = connect
        self._rng = rng or Random()  # noqa: S311 - spreads load, guards nothing
        self._protocol = ProtocolVersion.V5
        self._stopping = asyncio.Event()
        self._conversation: Conversation | None = None
        self._legacy = Legacy(log, clock)
        log.listen(self._appended)
        log.on_renewed(self._begin_anew)

    def wake(self) -> None:
        """Look again at what may be sent."""
        if self._conversation is not None:
            self._conversation.wake()

    def _is_held(self, number: int) -> bool:
        """Whether a new batch must wait, or one before it has waited until now: then they go together, as backlog."""
        held = self._holding.first_held
        return (held is not None and number >= held) or number > self._window.head + 1

    def stop(self) -> None:
        """Ask `run` to publish the deaths and return."""
        self._stopping.set()
        if self._conversation is not None:
            self._conversation.wake()

    async def run(self) -> None:
        """Connect and send until `stop`. Whatever the network or the broker does, this goes on."""
        try:
            await self._send_on()
        finally:
            self._log.unlisten(self._appended)
            self._log.off_renewed(self._begin_anew)
            self._legacy.close()

    async def _send_on(self) -> None:
        while not self._stopping.is_set():
            attempts = AsyncRetrying(
                wait=self._wait_s,
                retry=retry_if_exception_type(LmsError),
                stop=lambda _: self._stopping.is_set(),
                sleep=self._pause,
                before_sleep=self._note,
                reraise=True,
            )
            with suppress(LmsError):  # raised only when stopping
                await attempts(self._connect_once)
            await self._pause(self._rng.uniform(0, RECONNECT_WITHIN_S))

    def _wait_s(self, attempt: RetryCallState) -> float:
        longest_s: float = FIRST_WAIT_S * 2.0 ** min(attempt.attempt_number - 1, 16)
        return self._rng.uniform(0, min(longest_s, self._max_wait_s))

    async def _connect_once(self) -> None:
        """One connection, from CONNECT to its end.

        Raises:
            BrokerError: it could not be made, or ended soon: the next attempt should wait longer.
            LmsError: the log cannot be read, or holds what cannot be sent.
        """
        if self._session.stream != self._log.stream:
            self._begin_anew()
        turn = await self._legacy.turn(self._session, self._window)
        if turn is None:
            await self._name_what_was_logged_anew()
            turn = self._own_turn()
        will = turn.session.will(self._clock.wall_ms())
        self._session.bd_seq = turn.session.bd_seq
        await self._keep_bd_seq()
        began_s = self._clock.monotonic_s()
        try:
            await self._unless_stopped(self._converse(will, turn))
        except UnsupportedVersion:
            self._protocol = ProtocolVersion.V311
            raise
        except BrokerLost as error:
            if self._clock.monotonic_s() - began_s < STEADY_AFTER_S:
                hint = "soon after it was made; if that goes on, look for another program with the client id"
                raise BrokerLost(error.url, f"{error.reason}, {hint} {self._address.client_id!r}") from error
            self._failed(error)
        finally:
            self._set_connected(False)
            await self._legacy.ended(turn)

    def _own_turn(self) -> Turn:
        """The present log's turn; when it has sent all, or had its time, one that was set aside may have its own."""
        stream, began_s = self._log.stream, self._clock.monotonic_s()

        def is_over() -> bool:
            if self._log.stream != stream:
                return True
            if self._holding.first_held is not None:
                return False  # nor is what was set aside to be sent before the time is known
            busy = not self._session.born or self._window.backlog > 0
            return self._legacy.wants_a_turn(self._clock.monotonic_s() - began_s, busy=busy)

        return Turn(self._log, self._session, self._window, self.state, self._holding, is_over)

    async def _name_what_was_logged_anew(self) -> None:
        """Have the births name the tags of batches of earlier logs, too: the settings may not have them any more."""
        if self._log.predecessors and self._log.acked < self._log.head:
            named = {tag.number for tag in self._session.tags}
            others = [tag for tag in await asyncio.to_thread(self._log.tags) if tag.number not in named]
            if others:
                self._session = self._session.under(self._log.stream, (*self._session.tags, *others))

    def _begin_anew(self) -> None:
        """The log is another one now."""
        self._session = self._session.under(self._log.stream)
        self._window = self._window.fresh()
        self.state.acked, self.state.unacknowledged, self.state.refused = 0, 0, None
        if self._conversation is not None:
            self._conversation.wake()

    async def _converse(self, will: Publish, turn: Turn) -> None:
        async with self._connect(self._address, will, self._protocol) as client:
            await subscribe(client, self._address, turn.session.subscriptions)
            self._set_connected(True)
            conversation = Conversation(
                client,
                log=turn.log,
                session=turn.session,
                window=turn.window,
                clock=self._clock,
                state=turn.state,
                holding=turn.holding,
                stopping=self._stopping,
                is_over=turn.is_over,
                on_command=self._on_command,
            )
            self._conversation = conversation
            try:
                await conversation.hold()
            finally:
                self._conversation = None

    async def _unless_stopped(self, conversing: Coroutine[None, None, None]) -> None:
        """Run it; after `stop` it has a moment to say goodbye, or none if there is nobody to say it to."""
        task = asyncio.ensure_future(conversing)
        stopped = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait((task, stopped), return_when=asyncio.FIRST_COMPLETED)
            if not task.done() and self._conversation is not None:
                await asyncio.wait((task,), timeout=GOODBYE_S)
        finally:
            await end((stopped, task))
        if not task.cancelled():
            task.result()

    async def _keep_bd_seq(self) -> None:
        """Write down the bdSeq. A full disk must not keep us from sending: that is what makes room in the end."""
        if self._session.bd_seq is not None:
            try:
                await self._log.set_bd_seq(self._session.bd_seq)
            except LogError as error:
                LOGGER.warning("%s Sending goes on.", error)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def _note(self, attempt: RetryCallState) -> None:
        """Say why, before the next attempt."""
        error = attempt.outcome.exception() if attempt.outcome is not None else None
        self._failed(error)
        if attempt.next_action is not None:
            LOGGER.info("The next attempt to connect is in %.1f s", attempt.next_action.sleep)

    def _failed(self, error: BaseException | None) -> None:
        if str(error) != self.state.error:
            LOGGER.warning("%s Readings are kept in the log and sent later.", error)
        self.state.error = str(error)

    def _set_connected(self, connected: bool) -> None:
        if connected == self.state.connected:
            return
        self.state.connected = connected
        self.state.since_ms = self._clock.wall_ms()
        if connected:
            self.state.connections += 1
            self.state.error = ""
            LOGGER.info("Connected to %s as %s", self._address.url, self._address.account)
        else:
            self.state.host_online = False

    def _appended(self, batch: Batch) -> None:
        if self._session.born and not self._is_held(batch.number):
            self._window.appended(batch.number)
            self.state.unacknowledged = self._window.unacknowledged
        else:
            self.state.unacknowledged = batch.number - self._log.acked
        if self._conversation is not None:
            self._conversation.wake()
