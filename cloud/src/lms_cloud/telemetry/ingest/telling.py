"""Tells of what is committed: acknowledgements and refusals to the agents, live messages to the browsers.

Before it: `lms_cloud.telemetry.ingest.committing`, which notes each commit here as soon as it is one. After it: the
queue of the worker's connection to the broker. Messages are made one by one while the database has the next commit in
work, and in the order of the commits; between some of them everything else has its turn.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final
from uuid import UUID

import structlog
from lms_protocol.delivery import MAX_RANGES_ON_WIRE, StreamLedger
from lms_protocol.host import HostSession
from lms_protocol.messages import Publish
from lms_protocol.ranges import NumberRanges

from lms_cloud.telemetry.announcing import live_messages
from lms_cloud.telemetry.incoming import Incoming, Outcome, StreamBatch, Work
from lms_cloud.telemetry.ingest.resolving import Node, Resolved
from lms_cloud.telemetry.leases.leasing import Leases

AT_A_TIME: Final = 8
"""Messages made before others have their turn: a millisecond or so."""

_log = structlog.get_logger(__name__)


class Teller:
    """What has to be told.

    Args:
        session: words the acknowledgements.
        publish: hands a message to the broker, or drops it if there is none.
        now_ms: tells the time, ms UTC.
        leases: says whose agents this worker may still answer.
    """

    def __init__(
        self,
        session: HostSession,
        publish: Callable[[Publish], None],
        now_ms: Callable[[], int],
        leases: Leases,
    ) -> None:
        self._session = session
        self._publish = publish
        self._now_ms = now_ms
        self._leases = leases
        self._due: deque[Callable[[], None]] = deque()
        self._wake = asyncio.Event()
        self._finished = False

    def note(
        self, done: Sequence[tuple[Work, Outcome]], resolved: Resolved, ledgers: Mapping[UUID, StreamLedger]
    ) -> None:
        """Enter what was committed into the ledgers of its streams, and have it told.

        Args:
            done: the transactions that are committed, and what they came to.
            resolved: the chunk of events that they are of.
            ledgers: what is known as committed of each stream.
        """
        owed: dict[tuple[Node, UUID], dict[int, bytes | None]] = {each: {} for each in resolved.born} if done else {}
        for work, outcome in done:
            senders = {each.key: Node(each.bioreactor.group, each.node) for each in work.batches}
            senders |= {each.key: Node(each.bioreactor.group, each.node) for each in work.letters if each.bioreactor}
            refused = {id(batch) for batch in outcome.refused}
            digests = {each.key: each.digest for each in work.batches if id(each) not in refused}
            for key in outcome.settled:
                ledgers[key.stream].commit(key.number)
                owed.setdefault((senders[key], key.stream), {})[key.number] = digests.get(key)
            for batch in outcome.refused:
                self._due.append(partial(self._refuse, batch))
        born = set(resolved.born)
        for (node, stream), settled in owed.items():
            is_born = (node, stream) in born
            known = {number: digest for number, digest in settled.items() if digest is not None}
            unread = settled.keys() - known.keys()  # what could not be read has no digest that its agent would know
            if known or not unread:
                self._due.append(partial(self._acknowledge, node, stream, ledgers[stream], known, known, born=is_born))
            if unread:
                told = partial(
                    self._acknowledge, node, stream, ledgers[stream], unread, None, born=is_born and not known
                )
                self._due.append(told)
        for work, outcome in done:
            messages = live_messages(work, outcome)
            self._due.extend(partial(self._publish_next, messages) for _ in outcome.cursors)
        self._wake.set()

    def then(self, done: Callable[[], None]) -> None:
        """Call this once all that was noted so far is told."""
        self._due.append(done)
        self._wake.set()

    def refuse(self, node: Node, key: StreamBatch, digest: bytes | None = None) -> None:
        """Tell an agent at once that a batch of this stream, with this digest, is not taken from it."""
        where = (node.group, node.node, key.number, self._now_ms())
        self._publish(self._session.refusal(*where, stream=key.stream, digest=digest))

    def finish(self) -> None:
        """Leave `run` once everything is told."""
        self._finished = True
        self._wake.set()

    async def run(self) -> None:
        """Tell what is noted, until finished."""
        while self._due or not self._finished:
            self._wake.clear()
            if not self._due:
                await self._wake.wait()
            for _ in range(min(AT_A_TIME, len(self._due))):
                try:
                    self._due.popleft()()
                except Exception:
                    _log.exception("something committed could not be told; the agent asks again, the browser reloads")
            await asyncio.sleep(0)

    def _acknowledge(
        self,
        node: Node,
        stream: UUID,
        ledger: StreamLedger,
        numbers: Iterable[int],
        digests: Mapping[int, bytes] | None,
        *,
        born: bool,
    ) -> None:
        if not self._leases.holds(node.group):
            return  # lost while it was committed: whoever has the group now acknowledges
        now_ms = self._now_ms()
        # Several messages where one cannot name all: what is never named would be sent again for ever.
        ranges = list(NumberRanges((number, number) for number in numbers))
        for at in range(0, max(1, len(ranges)), MAX_RANGES_ON_WIRE):
            settled = NumberRanges(ranges[at : at + MAX_RANGES_ON_WIRE])
            acked, above = ledger.acknowledgement(first for first, _ in settled)
            if acked or above or born:
                self._publish(
                    self._session.acknowledgement(
                        *(node.group, node.node, acked, above, now_ms),
                        stream=stream,
                        settled=settled,
                        digests=digests,
                        born=born,
                    )
                )
                _log.debug("acknowledged", stream=str(stream), agent=node.node, acked=acked, above=str(above))
            born = False

    def _refuse(self, batch: Incoming) -> None:
        if batch.key is not None:
            _log.error(
                "batch refused: its number is committed with other content, so an old log has come back",
                stream=str(batch.key.stream),
                number=batch.key.number,
                agent=batch.node,
            )
            self.refuse(Node(batch.bioreactor.group, batch.node), batch.key, batch.digest)

    def _publish_next(self, messages: Iterator[Publish]) -> None:
        self._publish(next(messages))
