"""Logs that were set aside have their turns on the broker, each under its own stream, until all of it is settled.

What happens now goes first: the present log has the connection until it has sent what it has, or for half a minute;
then one that was set aside has it for as long. One that makes no headway, as the cloud does not know its bioreactors
perhaps, waits longer and longer for its next turn; others have theirs meanwhile. One whose file is found to be damaged
or gone goes back to `lms_agent.log.care`, to be gathered anew.

Neighbours: `lms_agent.sending.sender` asks whose turn it is; `lms_agent.log.renewal.predecessor` is what is sent.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NamedTuple

from lms_protocol.delivery import SendingWindow
from lms_protocol.edge import EdgeSession
from lms_protocol.errors import LmsError

from lms_agent.clock import Clock
from lms_agent.log.errors import LogMalformed, LogWriteFailed
from lms_agent.log.opening import prepare
from lms_agent.log.renewal.gathering import forget_copy
from lms_agent.log.renewal.predecessor import Predecessor
from lms_agent.log.renewal.predecessors import Entry, State, readable_path
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


class _Pause(NamedTuple):
    """How long one that makes no headway waits, and until when on the monotonic clock."""

    length_s: float
    until_s: float


_NO_PAUSE = _Pause(0.0, 0.0)


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
        self._pauses: dict[str, _Pause] = {}

    def close(self) -> None:
        """Close what is open."""
        sending, self._sending = self._sending, None
        if sending is not None:
            sending.log.close()

    def wants_a_turn(self, lasted_s: float, *, busy: bool) -> bool:
        """Whether the present log's turn, which has lasted so long, is over; `busy`: it has something to catch up."""
        if self._next() is None:
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
        except LogMalformed as error:
            await self._gather_anew(entry, error)
            return None
        except (LmsError, OSError) as error:
            LOGGER.error("What was set aside as %s cannot be sent: %s", entry.path, error)
            self._wait_longer(entry)
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
        entry = self._log.predecessors.get(sending.log.entry.path)
        if entry is None:
            return
        if sending.log.acked > sending.acked_before:
            self._pauses.pop(entry.path, None)
        elif not sending.log.is_settled:
            self._wait_longer(entry)
        entry = replace(entry, acked=sending.log.acked)
        if sending.log.is_damaged:
            self.close()
            await self._gather_anew(entry, LogMalformed(sending.log.path, "batches of it cannot be read any more"))
            return
        done = sending.log.is_settled
        if done:
            entry = replace(entry, state=State.SENT, ended_at_ms=self._clock.wall_ms())
        forget = sending.log.stream if done and self._is_last(entry) else None
        with suppress(LogWriteFailed):  # then it is sent again, and settled at once
            await self._log.keep_predecessor(entry, forget=forget)
            if done:
                sending.log.close()
                self._sending = None
                await asyncio.to_thread(forget_copy, self._log.path, entry)
                LOGGER.warning("All that was set aside as %s is in the cloud now; the file may be removed.", entry.path)

    def _next(self) -> Entry | None:
        now_s = self._clock.monotonic_s()
        ready = (entry for entry in self._log.predecessors.values() if entry.state is State.READY)
        return next((entry for entry in ready if self._pauses.get(entry.path, _NO_PAUSE).until_s <= now_s), None)

    def _is_last(self, entry: Entry) -> bool:
        """Whether no other log that is still to be sent is of the same stream: two older copies may have come back."""
        others = (other for path, other in self._log.predecessors.items() if path != entry.path)
        return not any(other.is_open and other.stream in {None, entry.stream} for other in others)

    async def _gather_anew(self, entry: Entry, error: LogMalformed) -> None:
        LOGGER.error("What was set aside as %s cannot be sent as it is: %s", entry.path, error)
        with suppress(LogWriteFailed):  # then it is found out once more
            await self._log.keep_predecessor(replace(entry, state=State.TO_READ))

    async def _open(self, entry: Entry, session: EdgeSession, window: SendingWindow) -> _Sending:
        if self._sending is not None and self._sending.log.entry.path == entry.path:
            return self._sending
        self.close()
        path = readable_path(self._log.path, entry)

        def opened() -> Predecessor:
            if not path.exists():  # an empty one would be made, and all of it be settled
                raise LogMalformed(path, "the file is gone")
            prepare(path)
            return Predecessor(entry, path, self._log)

        log = await asyncio.to_thread(opened)
        tags = await asyncio.to_thread(log.tags)
        self._sending = _Sending(log, session.under(log.stream, tags), window.fresh())
        return self._sending

    def _wait_longer(self, entry: Entry) -> None:
        before = self._pauses.get(entry.path, _NO_PAUSE)
        pause_s = min(LONGEST_PAUSE_S, max(TURN_S, 2 * before.length_s))
        self._pauses[entry.path] = _Pause(pause_s, self._clock.monotonic_s() + pause_s)
