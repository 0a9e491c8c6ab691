"""How much backlog may be under way, from how long its acknowledgements take.

What is under way waits somewhere: in the kernel, in a modem, in the broker, in the host's queue. There it can no longer
be overtaken, so what is live waits behind it; but with too little under way the link and the host idle. How much is
right differs a thousandfold between a wire and a radio link of 2 kB/s, and hour by hour. Time tells: beyond what
an acknowledgement takes when nothing else is under way, each further millisecond was spent waiting.

    event                              the allowance
    ─────────────────────────────────  ──────────────────────────────────────────────────────────────────────
    a connection begins                `FIRST_BYTES`
    acknowledged soon                  grows, by half in one round trip at most, as long as it is made use of
    acknowledged `QUEUEING_S` late     stays
    acknowledged later                 shrinks, by half in one round trip at most
    not acknowledged for long          is halved, down to `LEAST_BYTES`; to `UNANSWERED_BYTES` while others land soon

Batches that later ones have overtaken, or that were not acknowledged for long, do not count as under way any more:
nobody may ever acknowledge them, and they must not hold up the rest. How long that is doubles each time that nothing at
all has landed meanwhile: then the way has become so slow, or the host is away.

One batch may always be under way, whatever its size. Every `PROBE_EVERY_S` all that is under way lands before anything
else is sent, for what comes next takes what the way takes by itself: measured amid our own waiting it would grow and
grow, and remembered for ever it would be that of another link.

Neighbours: `lms_protocol.delivery` asks whether there is room. Source: the idea is that of LEDBAT, RFC 6817.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable
from itertools import takewhile
from typing import Final, NamedTuple

FULL_PIECE_BYTES: Final = 64 * 1024
"""Larger pieces would not be cheaper."""
FIRST_BYTES: Final = 4 * 1024
LEAST_BYTES: Final = 2 * 1024
UNANSWERED_BYTES: Final = 64 * 1024
QUEUEING_S: Final = 0.15
PROBE_EVERY_S: Final = 20.0
LEAST_PATIENCE_S: Final = 2.0
PIECES: Final = 4
"""Pieces that make up an allowance: with fewer, one lands before the next is there."""
RECENT: Final = 4
"""The least of so many counts: a commit that takes long now and then is no waiting of ours."""
_MOST_CHANGE: Final = 0.5
_LEAST_GROWTH: Final = 0.25
"""In a round trip without any waiting; on a long way a share of `QUEUEING_S` would be next to nothing."""
_PATIENCE: Final = 4.0


class _Batch(NamedTuple):
    sent_at_s: float
    size: int
    is_first: bool


class Pacing:
    """The allowance of one connection.

    Args:
        most_bytes: the most that may be under way, however fast it lands.

    Attributes:
        allowance: bytes that may be under way.
        under_way: bytes that are.
        alone_s: what an acknowledgement takes when nothing waits, in seconds; None until one has come.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = float(most_bytes)
        self._least = min(LEAST_BYTES, self._most)
        self._batches: OrderedDict[int, _Batch] = OrderedDict()  # under way, by number, in order of sending
        self.restart()

    def restart(self) -> None:
        """Nothing is under way, and the way may be another one."""
        self._batches.clear()
        self.allowance = min(FIRST_BYTES, self._most)
        self.under_way = 0
        self.alone_s: float | None = None
        self._probe_at_s = float("-inf")
        self._is_probing = False
        self._is_emptying = False
        self._is_used = False
        self._recent_s: deque[float] = deque(maxlen=RECENT)
        self._patience = _PATIENCE
        self._is_answered = False  # since batches were last given up, something has landed, and in time

    @property
    def has_room(self) -> bool:
        """Whether more may be sent."""
        if not self._batches:
            return True
        has_room = not self._is_emptying and self.under_way < self.allowance
        self._is_used = self._is_used or not has_room
        return has_room

    @property
    def piece_bytes(self) -> int:
        """How many bytes should be sent in one piece."""
        return min(FULL_PIECE_BYTES, int(self.allowance) // PIECES)

    def sent(self, number: int, size: int, now_s: float, *, is_first: bool) -> None:
        """A batch is under way now.

        Args:
            size: its bytes.
            is_first: whether it was never sent before: of one that was, nobody knows which sending is acknowledged.
        """
        if not self._batches:
            self._is_emptying = False
            if now_s >= self._probe_at_s:
                self._is_probing = True
                self._probe_at_s = now_s + PROBE_EVERY_S
        self._is_used = False
        self._batches[number] = _Batch(now_s, size, is_first)
        self.under_way += size

    def weigh(self, number: int, size: int) -> None:
        """A batch under way was found to be so much larger than was said; nothing if it is not under way."""
        batch = self._batches.get(number)
        if batch is not None:
            self._batches[number] = batch._replace(size=batch.size + size)
            self.under_way += size

    def landed(self, numbers: Iterable[int], now_s: float) -> None:
        """What one message from the host acknowledges."""
        landed = [self._batches.pop(number) for number in numbers if number in self._batches]
        if not landed:
            return
        size = sum(batch.size for batch in landed)
        self.under_way -= size
        sure = [batch.sent_at_s for batch in landed if batch.is_first]
        took_s = max(0.0, now_s - max(sure or (batch.sent_at_s for batch in landed)))
        if sure:
            self._overtake(max(sure))
            self.took(took_s)
        if self.alone_s is not None:
            self._recent_s.append(took_s)
            self._adapt(size, min(self._recent_s), self.alone_s)
            self._is_emptying = now_s >= self._probe_at_s

    def took(self, seconds: float) -> None:
        """How long an acknowledgement took, of backlog or of what is live."""
        if self._is_probing or self.alone_s is None:
            self.alone_s = seconds
        self.alone_s = min(self.alone_s, seconds)
        self._is_probing = False
        if seconds < self._patience_s(self.alone_s, _PATIENCE):
            self._patience = _PATIENCE
            self._is_answered = True

    def tick(self, now_s: float) -> None:
        """Time has passed: what has not landed for long is not waited for."""
        if self.alone_s is None:
            return
        give_up_s = now_s - self._patience_s(self.alone_s, self._patience)
        given_up = [
            number for number, batch in takewhile(lambda each: each[1].sent_at_s <= give_up_s, self._batches.items())
        ]
        for number in given_up:
            self.forget(number)
        if given_up:
            self.allowance = min(
                self.allowance, max(self.allowance / 2, UNANSWERED_BYTES if self._is_answered else self._least)
            )
            self._patience *= 1 if self._is_answered else 2
            self._is_answered = False

    def _patience_s(self, alone_s: float, times: float) -> float:
        return max(times / _PATIENCE * LEAST_PATIENCE_S, times * (alone_s + QUEUEING_S))

    def forget(self, number: int) -> None:
        """A batch is not under way any more."""
        batch = self._batches.pop(number, None)
        if batch is not None:
            self.under_way -= batch.size

    def _overtake(self, sent_at_s: float) -> None:
        for number in [
            each for each, _ in takewhile(lambda each: each[1].sent_at_s < sent_at_s, self._batches.items())
        ]:
            self.forget(number)

    def _adapt(self, size: int, took_s: float, alone_s: float) -> None:
        change = max(-_MOST_CHANGE, 1 - took_s / (alone_s + QUEUEING_S))
        if took_s - alone_s < QUEUEING_S / 4:
            change = max(change, _LEAST_GROWTH)
        if change < 0 or self._is_used:
            change = min(change, _MOST_CHANGE) * min(1.0, size / self.allowance)
            self.allowance = max(self._least, min(self._most, self.allowance * (1 + change)))
