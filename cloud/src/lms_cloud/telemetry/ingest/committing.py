"""Gathers what was heard, commits it in few transactions, and only then has agents and browsers told.

Before it: `lms_cloud.telemetry.ingest.worker`, which offers events as they come; after it:
`lms_cloud.telemetry.ingest.telling`. Whatever goes wrong with the database, this loop stays: it tries the same work
again, and as the ledger knows what a lost COMMIT really did, again is safe. What does not fit the queue meanwhile is
dropped; nobody has acknowledged it, so the agent sends it again.

Under load three chunks of events are in work, so that neither the database nor this program waits for the other:

    gathered and resolved     one ahead of the commit, if it is data and much of it
    in the database           one: the next transaction begins when this one is over, whatever came of it
    being told                one behind, all of it committed

What a birth or death means depends on what is committed before it, and what follows depends on it: such a chunk is
resolved only when nothing is in the database, and nothing is resolved ahead of it.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Final, Protocol

import psycopg
import structlog
import tenacity
from lms_protocol.host import HostSession
from lms_protocol.host_events import DataReceived
from lms_protocol.messages import Publish
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from lms_cloud.kernel.ending import end
from lms_cloud.telemetry.incoming import DeadLetter, Outcome, Unreplayable, Work
from lms_cloud.telemetry.ingest.queueing import MAX_READINGS_PER_COMMIT, HeardQueue
from lms_cloud.telemetry.ingest.resolving import Heard, Resolved, Resolver
from lms_cloud.telemetry.ingest.telling import Teller
from lms_cloud.telemetry.leases.leasing import Leases

GATHER_S: Final = 0.02
MAX_IN_WORK: Final = 3
"""Chunks: one resolved, one in the database, one being told."""
AHEAD_READINGS: Final = 15_000
"""So many live readings are taken while a commit is under way; what is less gathers on, and goes with the next."""
FIRST_PAUSE_S: Final = 0.1
MAX_PAUSE_S: Final = 5.0
JITTER_S: Final = 0.2

DATABASE_ERRORS: Final = (psycopg.Error, DBAPIError, PoolTimeout, OSError)
DATA_ERRORS: Final = (psycopg.DataError, psycopg.IntegrityError)

_log = structlog.get_logger(__name__)


class Storage(Protocol):
    """Where work is committed; the ledger in it decides what is new."""

    async def commit(self, work: Work) -> Outcome:
        """Write all of the work in one transaction, and commit it.

        Raises:
            DATA_ERRORS: something of it cannot be kept; nothing is committed.
            DATABASE_ERRORS: nothing is known to be committed; asking again is safe.
        """
        ...

    async def close(self) -> None:
        """Give back what is open; a later commit opens it anew."""
        ...


@dataclass(slots=True, eq=False)
class _Chunk:
    """Events that go into one transaction.

    Attributes:
        oldest: the turn of the one that has waited longest.
        resolved: what they come to, if that could be found out ahead.
        forgotten: how often the resolver had forgotten something by then.
    """

    heard: Sequence[Heard]
    oldest: int
    resolved: Resolved | None = None
    forgotten: int = 0


class Committer:
    """The one writer of an ingest worker.

    Args:
        storage: this writer's own way into the database.
        resolver: turns events into work.
        session: words the acknowledgements.
        publish: hands a message to the broker, or drops it if there is none.
        now_ms: tells the time, ms UTC.
        leases: says whose batches may be committed.
        want_births: has an agent asked for its births, given its group, its id and why.
        rng: spreads the pauses between attempts.
        ahead_readings: so many live readings are resolved ahead of a commit.

    Attributes:
        dropped: how many events did not fit the queue.
        unknown: messages of senders that the fleet does not know, by topic; whoever logs them clears it.
        counts: commits, batches and readings since the start.
    """

    def __init__(
        self,
        storage: Storage,
        resolver: Resolver,
        session: HostSession,
        publish: Callable[[Publish], None],
        now_ms: Callable[[], int],
        *,
        leases: Leases,
        want_births: Callable[[str, str, str], None],
        rng: Random | None = None,
        ahead_readings: int = AHEAD_READINGS,
    ) -> None:
        self._leases = leases
        self._want_births = want_births
        self._epoch = leases.epoch
        self._to_forget: set[str] = set()
        self._forgotten = 0
        self._resolving = asyncio.Lock()
        self._progress = asyncio.Event()
        self._storage = storage
        self._resolver = resolver
        self._teller = Teller(session, publish, now_ms, leases)
        self._rng = rng or Random()  # noqa: S311 - spreads load, guards nothing
        self._ahead_readings = ahead_readings
        self._queue = HeardQueue()
        self._in_work: list[_Chunk] = []  # taken from the queue, and not told
        self._uncommitted = 0  # of these, how many are not through with the database
        self._took_s = 0.0  # of the last commit
        self._ready: asyncio.Queue[_Chunk | None] = asyncio.Queue()
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self.dropped = 0
        self.unknown: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()

    def offer(self, heard: Heard) -> bool:
        """Queue an event; False if there is no room. Births and deaths have a reserve of their own."""
        if not self._queue.offer(heard):
            self.dropped += 1
            return False
        if not self._uncommitted or self._queue.prompt_readings >= self._ahead_readings:
            self._wake.set()
        return True

    def forget(self, groups: Iterable[str]) -> None:
        """These groups are another worker's now: drop what is queued of them and what is remembered of their agents."""
        self._to_forget.update(groups)

    async def drained(self) -> None:
        """Wait until all that is queued now is committed and told, or dropped for good reason."""
        upto = self._queue.offered
        while any(chunk.oldest <= upto for chunk in self._in_work) or (self._queue.oldest or upto + 1) <= upto:
            self._progress.clear()
            await self._progress.wait()

    def stop(self) -> None:
        """Commit what is queued, then leave `run`; while the database is away, leave at once."""
        self._stop.set()
        self._wake.set()

    async def run(self) -> None:
        """Commit what is offered, until stopped."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._take_all())
                group.create_task(self._commit_all())
                group.create_task(self._teller.run())
        finally:
            await self._storage.close()

    async def _take_all(self) -> None:
        """Take chunks from the queue as the database is ready for them, or one ahead."""
        while self._queue or not self._stop.is_set():
            if not self._may_take:
                self._wake.clear()
                if not self._uncommitted:
                    self._took_s = 0.0
                await self._wake.wait()
                continue
            # What came while the last commit ran has gathered already; but without any pause a backlog would take
            # all of the machine, and what is live would wait for its turn in every program on the way.
            if not (self._uncommitted or self._stop.is_set()) and self._queue.readings < MAX_READINGS_PER_COMMIT:
                await asyncio.sleep(max(GATHER_S - self._took_s, GATHER_S / 2))
            oldest = self._queue.oldest or 0
            chunk = _Chunk(self._queue.take(), oldest)
            self._in_work.append(chunk)
            self._uncommitted += 1
            await self._resolve_ahead(chunk)
            is_resolved = chunk.resolved is not None
            self._ready.put_nowait(chunk)
            await asyncio.sleep(0)  # the database comes first
            while not is_resolved and self._uncommitted:
                self._wake.clear()
                await self._wake.wait()
        self._ready.put_nowait(None)

    @property
    def _may_take(self) -> bool:
        """Whether a chunk may be taken now: the database is idle, or has one in work and much waits."""
        if not self._uncommitted:
            return bool(self._queue) and len(self._in_work) < MAX_IN_WORK
        return (
            self._uncommitted == 1
            and len(self._in_work) < MAX_IN_WORK
            and self._queue.prompt_readings >= self._ahead_readings
        )

    async def _resolve_ahead(self, chunk: _Chunk) -> None:
        """Resolve data; of what goes wrong, whoever commits it finds out again, and knows what to do."""
        if not (self._leases.sure and self._all_ours(chunk.heard)):
            return
        if not all(isinstance(each.event, DataReceived) for each in chunk.heard):
            return
        async with self._resolving:
            chunk.forgotten = self._forgotten
            with suppress(Exception):
                chunk.resolved = await self._resolver.resolve(chunk.heard)

    async def _commit_all(self) -> None:
        """Commit one chunk after the other."""
        tell_s = asyncio.get_running_loop().time
        while (chunk := await self._ready.get()) is not None:
            began_s = tell_s()
            await self._settle(chunk.heard, chunk)
            self._took_s = tell_s() - began_s
            self._uncommitted -= 1
            self._teller.then(partial(self._told, chunk))
            self._wake.set()
        self._teller.finish()

    def _told(self, chunk: _Chunk) -> None:
        self._in_work.remove(chunk)
        self._progress.set()
        self._wake.set()

    async def _settle(self, heard: Sequence[Heard], ahead: _Chunk | None = None) -> None:
        """Resolve and commit a chunk of events, however long the database is away.

        Args:
            ahead: the same events, perhaps resolved already.
        """
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(_may_pass),
            wait=self._pause_s,
            stop=lambda _: self._stop.is_set(),
            sleep=self._nap,
            before_sleep=self._tell,
            reraise=True,
        )
        try:
            await retrying(self._attempt, heard, ahead)
        except Exception as error:
            if _may_pass(error):  # given up only because we are to stop
                _log.error(
                    "stopped before these were committed; their agents send them again", events=len(heard), why=error
                )
                return
            if isinstance(error, DATABASE_ERRORS):
                _log.error("the database refuses something of these", events=len(heard), why=str(error))
            else:
                _log.exception("events could not be handled", events=len(heard))
            if len(heard) > 1:
                for each in heard:
                    await self._settle([each])
            else:
                await self._set_aside(heard[0], error)

    def _pause_s(self, state: tenacity.RetryCallState) -> float:
        growing_s: float = FIRST_PAUSE_S * 2.0 ** min(state.attempt_number - 1, 16)
        return min(growing_s + self._rng.uniform(0, JITTER_S), MAX_PAUSE_S)

    async def _nap(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()

    def _tell(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome and state.outcome.exception()
        _log.warning(
            "the database did not commit; trying again",
            attempt=state.attempt_number,
            queued=len(self._queue),
            why=" ".join(str(error).split()),
        )

    async def _attempt(self, heard: Sequence[Heard], ahead: _Chunk | None = None) -> None:
        if not self._leases.sure:
            await self._until_sure()
        resolved = await self._resolve(heard, ahead)
        done: list[tuple[Work, Outcome]] = []
        work = resolved.work()
        try:
            if work:
                await self._write(work, done)
        except DATABASE_ERRORS:
            await self._storage.close()
            raise
        finally:
            # Of work split in two, the first half may be committed although the second failed.
            self._note(done, resolved)
        self.unknown.update(resolved.unknown)
        for node in resolved.birthless:
            self._want_births(node.group, node.node, "its births found no room, or were set aside")
        for node, key in resolved.strange:
            self._teller.refuse(node, key)

    async def _resolve(self, heard: Sequence[Heard], ahead: _Chunk | None) -> Resolved:
        """What the events come to, as of now: found out ahead, unless something has changed since."""
        resolved = None
        if ahead is not None:
            resolved, ahead.resolved = ahead.resolved, None  # good for one attempt
        is_same = self._epoch == self._leases.epoch and not self._to_forget
        if resolved and ahead and is_same and ahead.forgotten == self._forgotten and self._all_ours(heard):
            return resolved
        async with self._resolving:
            if self._epoch != self._leases.epoch:
                self._epoch = self._leases.epoch
                self._resolver.forget_streams()
                self._forgotten += 1
            while self._to_forget:
                self._resolver.forget(self._to_forget.pop())
                self._forgotten += 1
            # What is no longer ours would be stored only once, too, but could undo what its new worker knows better.
            return await self._resolver.resolve([each for each in heard if self._is_ours(each)])

    def _is_ours(self, heard: Heard) -> bool:
        return heard.group is None or self._leases.holds(heard.group)

    def _all_ours(self, heard: Sequence[Heard]) -> bool:
        return all(map(self._is_ours, heard))

    def _note(self, done: Sequence[tuple[Work, Outcome]], resolved: Resolved) -> None:
        """Count what is committed, and have it told."""
        self._teller.note(done, resolved, self._resolver.ledgers)
        for _, outcome in done:
            self.counts.update(commits=1, batches=len(outcome.stored))
            self.counts.update(readings=sum(len(batch.readings) for batch in outcome.stored))

    async def _until_sure(self) -> None:
        """Wait until it is known what this worker may commit; gives up when it is to stop."""
        waiting = [asyncio.create_task(work) for work in (self._leases.settled(), self._stop.wait())]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end(waiting)
        if not self._leases.sure:
            raise psycopg.OperationalError("it is not known which groups are this worker's")

    async def _write(self, work: Work, done: list[tuple[Work, Outcome]]) -> None:
        """Commit work; what the database refuses to keep is halved until the culprit stands alone, and set aside."""
        try:
            done.append((work, await self._storage.commit(work)))
        except DATA_ERRORS as error:
            if not work.batches:
                raise
            middle = len(work.batches) // 2
            if middle:
                await self._write(replace(work, batches=work.batches[:middle]), done)
                await self._write(Work(work.batches[middle:]), done)
            else:
                await self._write(_without_culprit(work, error), done)

    async def _set_aside(self, heard: Heard, error: Exception) -> None:
        """Keep what made the program itself fail, so that nothing behind it waits."""
        try:
            owner = await self._resolver.organization_of(heard.topic)
            letter = DeadLetter("poison", heard.topic, heard.payload, f"it could not be handled: {error!r}", owner)
            await self._storage.commit(Work((), [letter]))
        except DATABASE_ERRORS:
            _log.exception("dead letter could not be kept", topic=heard.topic)


def _may_pass(error: BaseException) -> bool:
    """Whether an error lies with the database, so that the same work may succeed later."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return isinstance(error, DATABASE_ERRORS) and not isinstance(cause, DATA_ERRORS)


def _without_culprit(work: Work, error: Exception) -> Work:
    """The same work with its one batch, which the database refuses, set aside; a dead letter stays one."""
    (batch,) = work.batches
    reason = " ".join(f"the database refused it: {error}".replace("\x00", "").split())
    if batch.letter is not None:
        return replace(work, batches=(), unreplayable=(*work.unreplayable, Unreplayable(batch.letter, reason)))
    home = batch.bioreactor
    letter = DeadLetter(
        *("poison", *batch.kept, reason, home.organization_id, home, batch.key, batch.node),
        batch.birth,
    )
    return replace(work, batches=(), letters=(*work.letters, letter))
