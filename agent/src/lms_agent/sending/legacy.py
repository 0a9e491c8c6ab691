"""Logs that were set aside have their turns on the broker, each under its own stream, until all of it is settled.

What happens now goes first: the present log has the connection until it has sent what it has, or for half a minute;
then one that was set aside has it for as long. One that makes no headway, as the cloud does not know its bioreactors
perhaps, waits longer and longer for its next turn.

Neighbours: `lms_agent.sending.sender` asks whose turn it is; `lms_agent.log.predecessor` is what is sent.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from lms_protocol.delivery import SendingWindow
from lms_protocol.edge import EdgeSession
from lms_protocol.errors import LmsError

from lms_agent.clock import Clock
from lms_agent.log.care import forget_copy
from lms_agent.log.errors import LogWriteFailed
from lms_agent.log.opening import prepare
from lms_agent.log.predecessor import Predecessor
from lms_agent.log.predecessors import Entry, readable_path
from lms_agent.log.renewing import State
from lms_agent.log.sqlite_log import SqliteLog
from lms_agent.sending.holding import Holding, NothingHeld
from lms_agent.sending.sendable import SendableLog
from lms_agent.sending.state import SendingState

LOGGER = logging.getLogger(__name__)

TURN_S = 30.0
LEAST_S = 1.0
"""How long the present log has the connection at least."""
LONGEST_PAUSE_S = 3600.0


@dataclass(frozen=True, slots=True)
class Turn:
    """Who is on the broker: a log with its session and its window.

    Attributes:
        is_over: whether somebody else's turn has come.
        state: what is to be known of it from outside.
        holding: what of it may be sent yet.
    """

    log: SendableLog
    session: EdgeSession
    window: SendingWindow
    state: SendingState
    holding: Holding
    is_over: Callable[[], bool]


@dataclass(slots=True)
class _Sending:
    """A log that was set aside, being sent."""

    log: Predecessor
    session: EdgeSession
    window: SendingWindow
    acked_before: int = 0


class Legacy:
    """The turns of logs that were set aside.

    Args:
        log: the present one, which knows them.
    """

    def __init__(self, log: SqliteLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._sending: _Sending | None = None
        self._due = False
        self._pause_s = 0.0
        self._not_before_s = 0.0

    def close(self) -> None:
        """Close what is open."""
        sending, self._sending = self._sending, None
        if sending is not None:
            sending.log.close()

    def wants_a_turn(self, lasted_s: float, *, busy: bool) -> bool:
        """Whether the present log's turn, which has lasted so long, is over; `busy`: it has something to catch up."""
        if self._next() is None or self._clock.monotonic_s() < self._not_before_s:
            return False
        self._due = lasted_s >= (TURN_S if busy else LEAST_S)
        return self._due

    async def turn(self, session: EdgeSession, window: SendingWindow) -> Turn | None:
        """The turn of one that was set aside; None if there is none now."""
        due, self._due = self._due, False
        entry = self._next()
        if not due or entry is None:
            return None
        try:
            sending = await self._open(entry, session, window)
        except (LmsError, OSError) as error:
            LOGGER.error("What was set aside as %s cannot be sent: %s", entry.path, error)
            self._wait_longer()
            return None
        sending.session.bd_seq = session.bd_seq
        sending.acked_before = sending.log.acked
        stream, until_s = self._log.stream, self._clock.monotonic_s() + TURN_S
        log, clock = sending.log, self._clock

        def is_over() -> bool:
            return log.is_settled or clock.monotonic_s() >= until_s or self._log.stream != stream

        LOGGER.info("Sending what was set aside as %s: batches %d to %d", entry.path, log.acked + 1, log.head)
        return Turn(log, sending.session, sending.window, SendingState(), NothingHeld(), is_over)

    async def ended(self, turn: Turn) -> None:
        """A turn is over: note how far it has come."""
        sending = self._sending
        if sending is None or turn.log is not sending.log:
            return
        if sending.log.acked > sending.acked_before:
            self._pause_s = 0.0
        elif not sending.log.is_settled:
            self._wait_longer()
        entry = self._log.predecessors.get(sending.log.entry.path)
        if entry is None:
            return
        entry = replace(entry, acked=sending.log.acked)
        done = sending.log.is_settled
        if done:
            entry = replace(entry, state=State.SENT, ended_at_ms=self._clock.wall_ms())
        with suppress(LogWriteFailed):  # then it is sent again, and settled at once
            await self._log.keep_predecessor(entry, forget=sending.log.stream if done else None)
            if done:
                sending.log.close()
                self._sending = None
                await asyncio.to_thread(forget_copy, self._log.path, entry)
                LOGGER.warning("All that was set aside as %s is in the cloud now; the file may be removed.", entry.path)

    def _next(self) -> Entry | None:
        return next((entry for entry in self._log.predecessors.values() if entry.state is State.READY), None)

    async def _open(self, entry: Entry, session: EdgeSession, window: SendingWindow) -> _Sending:
        if self._sending is not None and self._sending.log.entry.path == entry.path:
            return self._sending
        path = readable_path(self._log.path, entry)

        def opened() -> Predecessor:
            prepare(path)
            return Predecessor(entry, path, self._log)

        log = await asyncio.to_thread(opened)
        tags = await asyncio.to_thread(log.tags)
        self._sending = _Sending(log, session.under(log.stream, tags), window.fresh())
        return self._sending

    def _wait_longer(self) -> None:
        self._pause_s = min(LONGEST_PAUSE_S, max(TURN_S, 2 * self._pause_s))
        self._not_before_s = self._clock.monotonic_s() + self._pause_s
