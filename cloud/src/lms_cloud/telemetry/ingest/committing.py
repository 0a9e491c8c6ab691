"""Gathers what was heard, commits it in few transactions, and only then tells agents and browsers.

Before it: `lms_cloud.telemetry.ingest.worker`, which offers events as they come. Whatever goes wrong with the
database, this loop stays: it tries the same work again, and as the ledger knows what a lost COMMIT really did, again
is safe. What does not fit the queue meanwhile is dropped; nobody has acknowledged it, so the agent sends it again.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import Final, Protocol
from uuid import UUID

import psycopg
import structlog
import tenacity
from lms_protocol.delivery import MAX_RANGES_ON_WIRE
from lms_protocol.host import HostSession
from lms_protocol.messages import Publish
from lms_protocol.ranges import NumberRanges
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from lms_cloud.kernel.ending import end
from lms_cloud.telemetry.announcing import live_messages
from lms_cloud.telemetry.incoming import DeadLetter, Outcome, StreamBatch, Unreplayable, Work
from lms_cloud.telemetry.ingest.queueing import MAX_READINGS_PER_COMMIT, HeardQueue
from lms_cloud.telemetry.ingest.resolving import Heard, Node, Resolved, Resolver
from lms_cloud.telemetry.leases.leasing import Leases

GATHER_S: Final = 0.02
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
    ) -> None:
        self._leases = leases
        self._want_births = want_births
        self._epoch = leases.epoch
        self._to_forget: set[str] = set()
        self._progress = asyncio.Event()
        self._storage = storage
        self._resolver = resolver
        self._session = session
        self._publish = publish
        self._now_ms = now_ms
        self._rng = rng or Random()  # noqa: S311 - spreads load, guards nothing
        self._queue = HeardQueue()
        self._begun = 0  # the turn of the oldest event in work; 0 while there is none
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
        self._wake.set()
        return True

    def forget(self, groups: Iterable[str]) -> None:
        """These groups are another worker's now: drop what is queued of them and what is remembered of their agents."""
        self._to_forget.update(groups)

    async def drained(self) -> None:
        """Wait until all that is queued now is committed and told, or dropped for good reason."""
        upto = self._queue.offered
        while 0 < self._begun <= upto or (self._queue.oldest or upto + 1) <= upto:
            self._progress.clear()
            await self._progress.wait()

    def stop(self) -> None:
        """Commit what is queued, then leave `run`; while the database is away, leave at once."""
        self._stop.set()
        self._wake.set()

    async def run(self) -> None:
        """Commit what is offered, until stopped."""
        tell_s = asyncio.get_running_loop().time
        took_s = 0.0
        try:
            while self._queue or not self._stop.is_set():
                if not self._queue:
                    self._wake.clear()
                    await self._wake.wait()
                    took_s = 0.0
                    continue
                # What came while the last commit ran has gathered already; but without any pause a backlog would take
                # all of the machine, and what is live would wait for its turn in every program on the way.
                if not self._stop.is_set() and self._queue.readings < MAX_READINGS_PER_COMMIT:
                    await asyncio.sleep(max(GATHER_S - took_s, GATHER_S / 2))
                began_s = tell_s()
                self._begun = self._queue.oldest or 0
                await self._settle(self._queue.take())
                self._begun = 0
                took_s = tell_s() - began_s
                self._progress.set()
        finally:
            await self._storage.close()

    async def _settle(self, heard: Sequence[Heard]) -> None:
        """Resolve, commit and announce a chunk of events, however long the database is away."""
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(_may_pass),
            wait=self._pause_s,
            stop=lambda _: self._stop.is_set(),
            sleep=self._nap,
            before_sleep=self._tell,
            reraise=True,
        )
        try:
            await retrying(self._attempt, heard)
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

    async def _attempt(self, heard: Sequence[Heard]) -> None:
        if not self._leases.sure:
            await self._until_sure()
        if self._epoch != self._leases.epoch:
            self._epoch = self._leases.epoch
            self._resolver.forget_streams()
        while self._to_forget:
            self._resolver.forget(self._to_forget.pop())
        # What is no longer ours would be stored only once, too, but could undo what its new worker knows better.
        heard = [each for each in heard if each.group is None or self._leases.holds(each.group)]
        resolved = await self._resolver.resolve(heard)
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
            self._tell_agents_and_browsers(done, resolved)
        self.unknown.update(resolved.unknown)
        for node in resolved.birthless:
            self._want_births(node.group, node.node, "its births found no room, or were set aside")
        for node, key in resolved.strange:
            self._publish(self._session.refusal(node.group, node.node, key.number, self._now_ms(), stream=key.stream))

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

    def _tell_agents_and_browsers(self, done: Sequence[tuple[Work, Outcome]], resolved: Resolved) -> None:
        now_ms = self._now_ms()
        owed: dict[tuple[Node, UUID], list[int]] = {each: [] for each in resolved.born} if done else {}
        for work, outcome in done:
            senders = {each.key: Node(each.bioreactor.group, each.node) for each in work.batches}
            senders |= {each.key: Node(each.bioreactor.group, each.node) for each in work.letters if each.bioreactor}
            for key in outcome.settled:
                self._resolver.ledgers[key.stream].commit(key.number)
                owed.setdefault((senders[key], key.stream), []).append(key.number)
            for batch in outcome.refused:
                self._refuse(Node(batch.bioreactor.group, batch.node), batch.key, now_ms)
            self.counts.update(commits=1, batches=len(outcome.stored))
            self.counts.update(readings=sum(len(batch.readings) for batch in outcome.stored))
        for (node, stream), numbers in owed.items():
            if not self._leases.holds(node.group):
                continue  # lost while it was committed: whoever has the group now acknowledges
            # Several messages where one cannot name all: what is never named would be sent again for ever.
            ranges = list(NumberRanges((number, number) for number in numbers))
            born = (node, stream) in resolved.born
            for at in range(0, max(1, len(ranges)), MAX_RANGES_ON_WIRE):
                settled = NumberRanges(ranges[at : at + MAX_RANGES_ON_WIRE])
                acked, above = self._resolver.ledgers[stream].acknowledgement(first for first, _ in settled)
                if acked or above or born:
                    self._publish(
                        self._session.acknowledgement(
                            node.group, node.node, acked, above, now_ms, stream=stream, settled=settled, born=born
                        )
                    )
                    _log.debug("acknowledged", stream=str(stream), agent=node.node, acked=acked, above=str(above))
                born = False
        for work, outcome in done:
            for message in live_messages(work, outcome):
                self._publish(message)

    def _refuse(self, node: Node, key: StreamBatch | None, now_ms: int) -> None:
        if key is not None:
            _log.error(
                "batch refused: its number is committed with other content, so an old log has come back",
                stream=str(key.stream),
                number=key.number,
                agent=node.node,
            )
            self._publish(self._session.refusal(node.group, node.node, key.number, now_ms, stream=key.stream))

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
