"""The way of a command: checked, written down, sent when the line is free, read back, told.

    comes       known id: nothing is done           refused or expired: told
    begun       in the store and in the log, on the disk, before anything is sent; if the disk refuses, it is refused
    its turn    asked once more: still valid, still unlocked, still within its limits?
    sent        done, refused by the instrument, or not confirmed: told

Neighbours: `lms_agent.sending.conversation` and `lms_agent.service.desk` bring commands; `lms_protocol.command_book`
decides; `lms_agent.bench` writes; `lms_agent.commands.telling` brings what happened into the log.
"""

import asyncio
import logging
import math
from collections import defaultdict, deque
from collections.abc import Coroutine, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import uuid4

from lms_protocol.command_book import MOST_KNOWN, CommandBook, End, Record
from lms_protocol.commands import (
    EVENT_TAG,
    CommandEvent,
    Facts,
    Limits,
    Lock,
    LockState,
    Rules,
    SetPoint,
    Source,
    State,
    as_value,
)
from lms_protocol.edge import TagCommand
from lms_protocol.errors import LmsError, PayloadError
from lms_protocol.reading import TagDescription, Value

from lms_agent.bench import Bench, BenchClosed
from lms_agent.commands.hearing import set_point_of
from lms_agent.commands.limits import limits_of
from lms_agent.commands.store import CommandStore
from lms_agent.commands.telling import Telling
from lms_agent.drivers.driver import Written
from lms_agent.log.sqlite_log import SqliteLog
from lms_agent.settings import AgentSettings
from lms_agent.timekeeping.discipline import Trust
from lms_agent.timekeeping.timekeeper import Timekeeper

LOGGER = logging.getLogger(__name__)

EVERY_S = 2.0
"""How often what the disk refused is tried again."""
AGAIN_S = 0.1
"""How soon it is tried again while other settings are taken over."""
MOST_WAITING = 64
"""Commands that may be under way at a time."""
END_WITHIN_S = 5.0
"""How long commands that are under way may take when the agent ends."""
_ROUNDING = 1e-6


class CalledOff(LmsError):
    """At its turn the command may not be sent any more; its record says why."""

    def __init__(self, record: Record) -> None:
        self.record = record
        super().__init__(record.why)


class NotNow(LmsError):
    """The agent takes no commands now."""


class Commands:
    """All commands of a running agent.

    Nothing is taken before `follow` was called.

    Args:
        store: open; closed by `end`.
        clock: the agent's time, and whether it is known to be right.
    """

    def __init__(self, store: CommandStore, log: SqliteLog, clock: Timekeeper) -> None:
        self._store = store
        self._clock = clock
        self._book = CommandBook(Rules(), store.records)
        self._locks = store.locks()
        self._telling = Telling(store, log, clock.stamps)
        self._tasks: set[asyncio.Task[Record]] = set()
        self._turned_away: deque[str] = deque(maxlen=MOST_WAITING)
        self._came: dict[str, tuple[int, float]] = {}  # when what is under way came: ms UTC, and on the other clock
        self._turns: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._ending = False
        for record in self._book.recover(clock.wall_ms()):  # before anything new can be begun
            LOGGER.warning("Command %s: %s", record.command.id, record.why)
            self._telling.note(record)

    def follow(self, settings: AgentSettings, tags: Iterable[TagDescription], bench: Bench) -> None:
        """These settings are in force from now on.

        Args:
            tags: all tags, with their numbers in the log.
            bench: writes to the instruments of these settings.
        """
        self._settings = settings.commands
        self._book.rules = settings.commands.rules
        self._limits = limits_of(settings)
        events = {tag.device: tag.number for tag in tags if tag.name == EVENT_TAG}
        self._devices = frozenset(events)
        self._telling.tags |= events
        self._bench = bench

    @property
    def locks(self) -> Mapping[str, Lock]:
        """Which bioreactors are locked at the bench."""
        return self._locks

    @property
    def state(self) -> dict[str, Any]:
        """How commands do, for the status; times in ms UTC."""
        return {
            "remote": self._settings.remote,
            "under_way": len(self._tasks),
            "locks": {device: lock._asdict() for device, lock in self._locks.items()},
            "error": self._telling.error,
        }

    async def run(self) -> None:
        """Bring into the log what waits for that, and forget what is over, until the end."""
        while not self._ending:
            with suppress(LmsError):
                if self._telling.waits:
                    await self._telling.flush()
                await self._forget()
            await self._clock.sleep(EVERY_S)

    async def _forget(self) -> None:
        """Forget what is over, unless the clock might be wrong about that."""
        over = self._book.forget(self._clock.wall_ms()) if len(self._book) and self._is_trusted else []
        if over:
            await asyncio.to_thread(self._store.forget, over)

    async def end(self) -> None:
        """Take no more, and return when those under way have ended, or have had their time."""
        self._ending = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=END_WITHIN_S)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        with suppress(LmsError):
            await self._telling.flush()
        await asyncio.to_thread(self._store.close)

    def hear(self, heard: TagCommand) -> None:
        """A host wants a tag set. Returns at once."""
        try:
            command = set_point_of(heard, round(1000 * self._settings.plain_lifetime_s))
        except PayloadError as error:
            LOGGER.warning("A command of a host for %s cannot be used: %s", heard.device, error)
            return
        known = self._book.get(command.id)
        if known is not None:
            LOGGER.info("Command %s came again; it is %s", command.id, known.state)
        elif self._book.is_full:
            self._turn_away(command)
        elif command.id not in self._turned_away:
            record = self._take(command, plain=heard.note is None and not self._settings.accept_plain)
            if not self._ending and len(self._tasks) < MOST_WAITING:
                self._begin(self._carry_out(record))
                return
            del self._came[command.id]
            if not record.is_final:
                why = "the agent is ending" if self._ending else f"{MOST_WAITING} others are under way"
                self._over(self._end(command.id, End(State.REFUSED, why)))

    def _turn_away(self, command: SetPoint) -> None:
        """Refuse what cannot be remembered any more; tell it, unless a flood of them would fill the disk."""
        if command.id in self._turned_away:
            return
        why = f"{MOST_KNOWN} commands came within a day; no more are taken"
        LOGGER.error("Command %s of %s is refused: %s", command.id, command.by, why)
        if self._telling.behind < MOST_WAITING:
            self._turned_away.append(command.id)
            self._telling.note_unknown(Record(command, State.REFUSED, self._clock.wall_ms(), why))

    async def set(self, command: SetPoint, account: str) -> Record:
        """Somebody at the bench wants a tag set; what became of it.

        Raises:
            NotNow: the agent ends, or too much is under way.
        """
        known = self._book.get(command.id)
        if known is not None:
            return known
        if self._ending or len(self._tasks) >= MOST_WAITING:
            raise NotNow("the agent is ending, or has too many commands under way; try again in a moment")
        # Whoever asked may go away; what was begun goes on.
        return await asyncio.shield(self._begin(self._carry_out(self._take(command, account=account))))

    async def lock(self, device: str, lock: Lock | None, *, by: str, why: str, account: str) -> None:
        """Lock a bioreactor against commands of hosts, or unlock it; in force at once, on the disk when this returns.

        Raises:
            NotNow: there is no such bioreactor; or it is in force, but the disk refuses to keep it.
        """
        if device not in self._devices:
            known = ", ".join(sorted(self._devices)) or "none"
            raise NotNow(f"no bioreactor {device!r} with a tag that can be set; the configuration has {known}")
        if lock is None:
            self._locks.pop(device, None)
        else:
            self._locks[device] = lock
        state = LockState.UNLOCKED if lock is None else LockState.LOCKED
        now_ms = self._clock.wall_ms()
        event = CommandEvent(f"lock-{uuid4()}", state, now_ms, by, why, Source.BENCH, account=account)
        self._telling.note_lock(device, lock, event)
        LOGGER.warning("%s is %s by %s: %s", device, state, by, why)
        try:
            await self._telling.flush()
        except LmsError as error:
            raise NotNow(f"{device} is {state}, but that may not outlast a restart: {error}") from error
        if not self._store.lasts:
            raise NotNow(
                f"{device} is {state}, but only until the agent is restarted: {self._store.path} cannot be used"
            )

    def _begin(self, coroutine: Coroutine[Any, Any, Record]) -> "asyncio.Task[Record]":
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[Record]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            LOGGER.error("A command could not be carried out", exc_info=error)

    def _take(self, command: SetPoint, *, account: str = "", plain: bool = False) -> Record:
        """Check it, and know its id from now on."""
        self._came[command.id] = self._clock.wall_ms(), self._clock.monotonic_s()
        limits = self._limits_of(command)._replace(largest_step=None)  # for `_go`, which knows the present value
        record = self._book.take(command, limits, self._facts(command), account)
        if record.state is State.BEGUN and (command.device, command.tag) not in self._limits:
            why = f"{command.device} has no tag {command.tag}"
            record = self._end(command.id, End(State.REFUSED, why))
        if record.state is State.BEGUN and plain:
            why = "it does not say who wants it, why and until when (Sync/Command), and accept_plain is not set"
            record = self._end(command.id, End(State.REFUSED, why))
        self._telling.note(record)
        return record

    def _end(self, id_: str, end: End) -> Record:
        return self._book.end(id_, end, self._clock.wall_ms())

    async def _carry_out(self, record: Record) -> Record:
        try:
            return await self._carried_out(record)
        finally:
            self._came.pop(record.command.id, None)

    async def _carried_out(self, record: Record) -> Record:
        id_, command = record.command.id, record.command
        try:
            await self._telling.flush()
        except LmsError as error:
            if record.is_final:
                return record
            return self._over(self._end(id_, End(State.REFUSED, _unwritten(error))))
        if record.is_final:
            return self._say(record)
        try:
            end = _end_of(await self._write(command))
        except CalledOff as called_off:
            return await self._tell(called_off.record)
        except LmsError as error:  # nothing was sent, or the instrument says that it did not take it
            end = End(State.REFUSED, str(error))
        except Exception as error:
            LOGGER.exception("Command %s could not be carried out", id_)
            state = State.NOT_CONFIRMED if self._book.is_on_its_way(id_) else State.REFUSED
            end = End(state, f"the agent failed over it ({error!r:.200}); its journal says more")
        return await self._tell(self._end(id_, end))

    async def _write(self, command: SetPoint) -> Written:
        """Write it as soon as the buses may be used: while other settings are taken over, they may not.

        One command of a tag at a time: a step counts from what the one before has set.
        """
        while True:
            try:
                async with self._turns[command.device, command.tag]:
                    present = await self._present(command)
                    value = as_value(command.value, self._limits_of(command).datatype)
                    go = partial(self._go, command.id, present)
                    return await self._bench.write(command.device, command.tag, value, go)
            except BenchClosed:
                if self._now_ms(command) > command.valid_until_ms:
                    self._go(command.id, None)  # says that it is void
                    raise
                if self._ending:
                    raise
                await self._clock.sleep(AGAIN_S)

    async def _present(self, command: SetPoint) -> Value:
        """What the instrument holds now, if that matters; None if it does not, or cannot be read."""
        if self._limits_of(command).largest_step is None:
            return None
        return await self._bench.value(command.device, command.tag)

    def _go(self, id_: str, present: Value) -> None:
        """The line is free: may it still be sent?"""
        known = self._book.get(id_)
        if known is None:
            raise NotNow("the command is not known any more")
        record = self._book.go(id_, self._limits_of(known.command), self._facts(known.command, present))
        if record.is_final:
            raise CalledOff(record)

    async def _tell(self, record: Record) -> Record:
        self._telling.note(record)
        with suppress(LmsError):  # it is tried again, and said
            await self._telling.flush()
        return self._say(record)

    def _over(self, record: Record) -> Record:
        self._telling.note(record)
        return self._say(record)

    def _say(self, record: Record) -> Record:
        command = record.command
        LOGGER.info(
            "Command %s of %s: %s of %s to %r is %s%s",
            *(command.id, command.by, command.tag, command.device, command.value, record.state),
            f": {record.why}" if record.why else "",
        )
        return record

    def _limits_of(self, command: SetPoint) -> Limits:
        return self._limits.get((command.device, command.tag), Limits())

    @property
    def _is_trusted(self) -> bool:
        return self._clock.state.trust == Trust.TRUSTED

    def _facts(self, command: SetPoint, present: Value = None) -> Facts:
        return Facts(self._now_ms(command), self._is_trusted, self._locks.get(command.device), present)

    def _now_ms(self, command: SetPoint) -> int:
        """The agent's time; where the clock was put back since the command came, that makes its lifetime no longer."""
        came_ms, came_s = self._came.get(command.id, (0, math.inf))
        return max(self._clock.wall_ms(), came_ms + round(1000 * max(0.0, self._clock.monotonic_s() - came_s)))


def _unwritten(error: LmsError) -> str:
    return f"it could not be written down, and nobody would have known of it: {error}"


def _end_of(written: Written) -> End:
    """What the instrument said and was found to hold, as the end of the command."""
    if written.read_back is None:
        if written.confirmed:
            return End(State.DONE)
        return End(State.NOT_CONFIRMED, written.doubt)
    if _same(written.read_back, written.sent):
        return End(State.DONE, read_back=written.read_back)
    held = f"it holds {written.read_back!r}, not {written.sent!r}"
    return End(State.NOT_CONFIRMED, f"{written.doubt}; {held}" if written.doubt else held, written.read_back)


def _same(held: Value, sent: Value) -> bool:
    if isinstance(held, float) or (isinstance(sent, float) and isinstance(held, int)):
        return isinstance(sent, int | float) and math.isclose(held, sent, rel_tol=_ROUNDING, abs_tol=_ROUNDING)
    return held == sent
