"""Acknowledged delivery, both ends, as state machines without I/O.

`SendingWindow` is the agent's end: which batch to send next. `StreamLedger` is the cloud's end: which batches are
committed, and what to acknowledge. Between them lies QoS 0, which may lose, and a broker that may die: only a number
that comes back in an acknowledgement counts as delivered.

How a batch moves through `SendingWindow`:

    state          becomes          when
    ─────────────  ───────────────  ─────────────────────────────────────────────────────────────
    (none)         waiting          it is appended to the log while connected
    (none)         backlog          it is unacknowledged when the connection is made
    waiting        in flight, live  `next` gives it, before anything of the backlog
    backlog        in flight, old   `next` gives it, round and round in rising order, as historical
    backlog        taken            `take_backlog` gives it, in the same order, to be packed with others
    taken          in flight, old   `sent_packed`: it is sent, as historical
    taken          backlog          `give_back`: it did not fit
    in flight      backlog          no acknowledgement within `resend_after_s`, or too many live in flight
    any but none   acknowledged     an acknowledgement covers it
    any            (none)           the connection ends

An acknowledgement counts only for what this window has sent. What was in flight when the agent ended is sent again and
found to be a duplicate. But were an older copy of the log brought back, new batches would stand under numbers that the
cloud has long had, and its word about those numbers must not be taken for theirs.

Round and round: numbers that nobody acknowledges (of a bioreactor that the cloud does not know yet) come up again only
after all others had their turn, so that they never keep the others' backlog from being sent.

Live batches are never held back by a full backlog window, so a backlog of a week does not delay what happens now; as
only numbers in ranges are kept for what is not in flight, memory is bounded by the limits. The backlog is limited in
bytes, too, by how long its acknowledgements take: see `lms_protocol.pacing`.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

from lms_protocol.errors import DeliveryError
from lms_protocol.pacing import Pacing
from lms_protocol.ranges import NumberRanges

MAX_RANGES_ON_WIRE = 32
RUN_BYTES = 8


class Sending(NamedTuple):
    """A batch to send now."""

    number: int
    historical: bool


def digest_of_run(digests: Iterable[bytes]) -> bytes:
    """What stands for the digests (16 bytes each) of batches with numbers in a row: 8 bytes (BLAKE2b)."""
    return blake2b(b"".join(digests), digest_size=RUN_BYTES).digest()


class SendingWindow:
    """What the agent sends next, and what it still waits for.

    Args:
        live_limit: most live batches in flight; the oldest beyond it falls back to the backlog.
        backlog_limit: most backlog batches in flight, as long as they are sent one by one.
        packed_limit: most packed batches in flight.
        backlog_bytes: most bytes of the backlog under way, however fast the link and the host are.
        resend_after_s: how long to wait for an acknowledgement, in seconds.
    """

    def __init__(
        self,
        *,
        live_limit: int = 64,
        backlog_limit: int = 256,
        packed_limit: int = 4096,
        backlog_bytes: int = 1 << 20,
        resend_after_s: float = 10.0,
    ) -> None:
        self._live_limit = live_limit
        self._backlog_limit = backlog_limit
        self._packed_limit = packed_limit
        self._backlog_bytes = backlog_bytes
        self._pacing = Pacing(backlog_bytes)
        self._resend_after_s = resend_after_s
        self._acked = 0
        self._head = 0
        self._next_live = 1
        self._above = NumberRanges()
        self._backlog = NumberRanges()
        self._last_old = 0  # the backlog's number that was sent last: the round goes on above it
        # number -> time at which it counts as lost; in order of sending, and so of expiry
        self._live_flight: OrderedDict[int, float] = OrderedDict()
        self._old_flight: OrderedDict[int, float] = OrderedDict()
        self._sent = NumberRanges()  # since the start
        # number -> digest of what was sent last under it, for as long as it is in flight, and after that while there is
        # room; those sent longest ago first
        self._digests: dict[int, bytes] = {}
        self._taken: set[int] = set()
        self._connected = False

    def fresh(self) -> "SendingWindow":
        """A window with the same limits, for another stream."""
        return SendingWindow(
            live_limit=self._live_limit,
            backlog_limit=self._backlog_limit,
            packed_limit=self._packed_limit,
            backlog_bytes=self._backlog_bytes,
            resend_after_s=self._resend_after_s,
        )

    @property
    def acked(self) -> int:
        """The highest number up to which everything is acknowledged."""
        return self._acked

    @property
    def head(self) -> int:
        """The highest number that it knows of."""
        return self._head

    @property
    def in_flight(self) -> int:
        """How many batches are sent and wait for their acknowledgement."""
        return len(self._live_flight) + len(self._old_flight)

    @property
    def backlog(self) -> int:
        """How many batches wait to be sent, or sent again, as historical."""
        return self._backlog.count()

    @property
    def unacknowledged(self) -> int:
        """How many batches of the log are not known to be committed in the cloud."""
        return self._head - self._acked - self._above.count()

    def connected(self, *, acked: int, head: int) -> None:
        """A connection stands and the births are sent: all that is unacknowledged is backlog.

        Args:
            acked: highest batch number known as acknowledged.
            head: highest batch number in the log.
        """
        self.disconnected()
        self._acked = max(self._acked, acked)
        self._head = max(self._head, head)
        self._next_live = self._head + 1
        self._backlog.add_range(self._acked + 1, self._head)
        self._backlog.remove(self._above)
        self._connected = True

    def disconnected(self) -> None:
        """The connection is gone: nothing is in flight any more, and nothing may be sent."""
        self._connected = False
        self._live_flight.clear()
        self._old_flight.clear()
        self._taken.clear()
        self._pacing.restart()
        self._backlog = NumberRanges()
        self._last_old = 0

    def appended(self, number: int) -> None:
        """The log has a new batch.

        Raises:
            DeliveryError: the number is not the next one.
        """
        if number != self._head + 1:
            raise DeliveryError(f"the log's last batch was {self._head}", number=number)
        self._head = number

    def next(self, now_s: float, *, packing: bool = False) -> Sending | None:
        """The batch to send now, which then counts as in flight; None when there is nothing to do but wait.

        Args:
            packing: the backlog is sent packed (see `take_backlog`), so give only live batches.
        """
        if not self._connected:
            return None
        self._expire(now_s)
        self._pacing.tick(now_s)
        if self._next_live <= self._head:
            number = self._next_live
            self._next_live += 1
            self._live_flight[number] = now_s + self._resend_after_s
            self._sent.add(number)
            if len(self._live_flight) > self._live_limit:
                oldest, _ = self._live_flight.popitem(last=False)
                self._backlog.add(oldest)
            return Sending(number, historical=False)
        has_backlog = self._backlog and not packing
        if has_backlog and len(self._old_flight) < self._backlog_limit and self._pacing.has_room:
            number = self._last_old = self._backlog.pop_above(self._last_old)
            self._send_old(number, 0, now_s)
            return Sending(number, historical=True)
        return None

    def weigh(self, number: int, size: int) -> None:
        """A batch that `next` has given takes so many bytes; what is live has room in any case."""
        self._pacing.weigh(number, size)

    def said(self, number: int, digest: bytes) -> None:
        """A batch with this digest (16 bytes) is about to be sent, or sent again, under a number."""
        self._digests.pop(number, None)
        self._digests[number] = digest
        if len(self._digests) > 2 * (self._live_limit + self._backlog_limit + self._packed_limit):
            del self._digests[next(iter(self._digests))]  # were it acknowledged now, it would be sent again

    def has_said(self, number: int, digest: bytes) -> bool:
        """Whether a batch with this digest was sent last under a number."""
        return self._digests.get(number) == digest

    @property
    def under_way(self) -> int:
        """Bytes of the backlog that are under way: see `lms_protocol.pacing`."""
        return self._pacing.under_way

    @property
    def piece_bytes(self) -> int:
        """How many bytes the records of the next value of packed batches should come to."""
        return self._pacing.piece_bytes

    @property
    def has_room_for_packed(self) -> bool:
        """Whether another value of packed batches may be sent now; live batches come first."""
        has_room = len(self._old_flight) < self._packed_limit and self._pacing.has_room
        return self._connected and has_room and self._next_live > self._head

    def take_backlog(self, count: int) -> list[int]:
        """Take at most `count` numbers of the backlog to be packed, and no more than may be in flight, in order."""
        if not self._connected:
            return []
        numbers: list[int] = []
        while self._backlog and len(numbers) < min(count, self._packed_limit):
            self._last_old = self._backlog.pop_above(self._last_old)
            numbers.append(self._last_old)
        self._taken.update(numbers)
        return numbers

    def give_back(self, numbers: Iterable[int]) -> None:
        """What was taken is not sent now after all: it is the next of the backlog again."""
        back = [number for number in numbers if number in self._taken]
        self._taken.difference_update(back)
        for number in back:
            if not self._is_acknowledged(number):
                self._backlog.add(number)
        if back:
            self._last_old = min(back) - 1

    def sent_packed(self, sizes: Mapping[int, int], now_s: float) -> None:
        """Taken batches are sent, and are in flight now.

        Args:
            sizes: bytes of each batch's record, by number.
        """
        for number, size in sizes.items():
            if number in self._taken:
                self._taken.discard(number)
                if not self._is_acknowledged(number):
                    self._send_old(number, size, now_s)

    def _send_old(self, number: int, size: int, now_s: float) -> None:
        self._old_flight[number] = now_s + self._resend_after_s
        self._pacing.sent(number, size, now_s, is_first=number not in self._sent)
        self._sent.add(number)

    def acknowledged(
        self,
        number: int,
        ranges: NumberRanges | None = None,
        settled: NumberRanges | None = None,
        digests: Sequence[bytes] | None = None,
        *,
        now_s: float | None = None,
    ) -> int:
        """The cloud says what it has committed. Of numbers that were not sent since the start it means nothing.

        Args:
            number: all batches up to this one are committed.
            ranges: further ones above it.
            settled: those whose content the cloud has just found to be committed; only they count then, as the rest may
                be other batches under the same numbers. None if the cloud does not say.
            digests: of each of these ranges what `digest_of_run` makes of its batches; a range whose batches were not
                sent with these digests does not count. None if the cloud does not say.
            now_s: when it came, by the clock of `next`; None: how long it took is not known.

        Returns:
            The number up to which everything is now known as committed; never less than before.

        Raises:
            DeliveryError: a number that the log does not have yet. Nothing is taken from such a message.
        """
        highest = max(number, (ranges and ranges.last) or 0, (settled and settled.last) or 0)
        if highest > self._head:
            raise DeliveryError(f"was acknowledged, but the log ends at {self._head}", number=highest)
        if settled is not None and digests is not None:
            settled = NumberRanges(
                each for each, run in zip(settled, digests, strict=False) if self._were_said(each, run)
            )
        for first, last in ((self._acked + 1, number), *(ranges or ())) if settled is None else settled:
            for sent_first, sent_last in self._sent.within(first, last):
                self._above.add_range(sent_first, sent_last)
                self._backlog.remove_range(sent_first, sent_last)  # what was above before left the backlog then
        self._acked = self._above.first_gap_after(self._acked) - 1
        self._above.remove_range(1, self._acked)
        self._backlog.remove_range(1, self._acked)
        self._land(now_s)
        return self._acked

    def settle(self, number: int) -> int:
        """A number is settled in another way than by its commit: the cloud refused it, and that is seen to.

        Returns:
            As `acknowledged`.
        """
        self._sent.add(number)
        return self.acknowledged(self._acked, NumberRanges([(number, number)]))

    def _were_said(self, numbers: tuple[int, int], run: bytes) -> bool:
        """Whether batches with these digests were sent under the numbers (first, last)."""
        first, last = numbers
        if last - first >= len(self._digests):
            return False
        said = [self._digests.get(number) for number in range(first, last + 1)]
        known = [digest for digest in said if digest is not None]
        return len(known) == len(said) and digest_of_run(known) == run

    def sent(self, number: int) -> bool:
        """Whether a number was sent since the start."""
        return number in self._sent

    def _is_acknowledged(self, number: int) -> bool:
        return number <= self._acked or number in self._above

    def _land(self, now_s: float | None) -> None:
        """What is acknowledged is not in flight any more; how long it took says how much may be."""
        live = [number for number in self._live_flight if self._is_acknowledged(number)]
        expiries = [self._live_flight.pop(number) for number in live]
        old = [number for number in self._old_flight if self._is_acknowledged(number)]
        for number in (*live, *old):
            self._digests.pop(number, None)
        for number in old:
            del self._old_flight[number]
            if now_s is None:
                self._pacing.forget(number)
        if now_s is not None:
            self._pacing.landed(old, now_s)
            if expiries:
                self._pacing.took(now_s - (max(expiries) - self._resend_after_s))

    def next_wakeup_s(self, now_s: float) -> float | None:
        """Seconds from `now_s` until a batch in flight counts as lost; None if none is in flight."""
        expiries = [next(iter(flight.values())) for flight in (self._live_flight, self._old_flight) if flight]
        return max(0.0, min(expiries) - now_s) if expiries else None

    def _expire(self, now_s: float) -> None:
        for flight in (self._live_flight, self._old_flight):
            while flight:
                number, expires_at_s = next(iter(flight.items()))
                if expires_at_s > now_s:
                    break
                del flight[number]
                self._pacing.forget(number)
                self._backlog.add(number)


class StreamLedger:
    """What of one stream is committed: the cloud's memory of the rows in its ledger table.

    Numbers may arrive in any order and any number of times.
    """

    def __init__(self, acked: int = 0, above: NumberRanges | None = None) -> None:
        """Begin from what the ledger table holds: everything up to `acked`, and the ranges `above`."""
        self._above = above if above is not None else NumberRanges()
        self._acked = self._above.first_gap_after(acked) - 1
        self._above.remove_range(1, self._acked)

    @property
    def acked(self) -> int:
        """The highest number below which nothing is missing."""
        return self._acked

    @property
    def above(self) -> NumberRanges:
        """Committed numbers above `acked`; a copy."""
        return NumberRanges(self._above)

    def seen(self, number: int) -> bool:
        """Whether the batch is committed."""
        return number <= self._acked or number in self._above

    def commit(self, number: int) -> None:
        """The batch's transaction is committed."""
        if number == self._acked + 1:
            self._acked = self._above.first_gap_after(number) - 1
            self._above.remove_range(1, self._acked)
        elif number > self._acked:
            self._above.add(number)

    def acknowledgement(self, settled: Iterable[int] = ()) -> tuple[int, NumberRanges]:
        """What to tell the agent: the number, and at most `MAX_RANGES_ON_WIRE` ranges above it.

        Args:
            settled: committed numbers that the agent waits for. The ranges that hold them come first: were only the
                outermost told, those amid many holes would be sent again for ever.
        """
        told = NumberRanges()
        for number in sorted(settled, reverse=True):
            if len(told) >= MAX_RANGES_ON_WIRE:
                break
            if number not in told and (around := self._above.around(number)) is not None:
                told.add_range(*around)
        if len(told) < MAX_RANGES_ON_WIRE:
            for first, last in self._above.outermost(MAX_RANGES_ON_WIRE - len(told)):
                told.add_range(first, last)
        return self._acked, told
