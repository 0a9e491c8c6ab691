"""The backlog as packs of many batches, made ahead of their sending and off the event loop.

Only for a host that has said that it reads packs; the records go from the file into the pack as they are, so that a
backlog of days costs a Pi next to nothing but deflating it.

Neighbours: `lms_agent.log` holds the records; `lms_agent.sending.conversation` sends the packs; `lms_protocol.packing`
words them.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from lms_protocol.batches import RECORD_2, record_encode, record_fingerprint
from lms_protocol.delivery import SendingWindow
from lms_protocol.edge import EdgeSession
from lms_protocol.packing import MAX_BYTES, PackedBatch, pack

from lms_agent.log.errors import LogMalformed
from lms_agent.sending.sendable import SendableLog
from lms_agent.sending.supply import Supply

AHEAD: Final = 2
"""Packs kept ready: one is made while another is sent."""
TOO_LARGE: Final = 4
"""A pack that was to be so many times as large as the next one should be is made anew."""
FIRST_COUNT: Final = 64
MOST_COUNT: Final = 4096
"""Most batches in a pack, however small they are."""


class Pack(NamedTuple):
    """Batches to be sent together.

    Attributes:
        sizes: bytes of each one's record, by number.
        value: what to send; None for a single batch that is too large for a pack, and so is sent plain.
        meant_bytes: how large it was to be.
        logged: `Batch.logged` of those that have one, by number.
        digests: what the host will know each one by (16 bytes), by number; none for a single batch.
    """

    sizes: Mapping[int, int]
    value: bytes | None
    meant_bytes: int
    logged: Mapping[int, bytes] = MappingProxyType({})
    digests: Mapping[int, bytes] = MappingProxyType({})


class Packer:
    """Makes packs of what the window has to send late.

    Args:
        session: says whether the host reads packs.
        ready: called when there is a pack to send.
    """

    def __init__(
        self, log: SendableLog, supply: Supply, window: SendingWindow, session: EdgeSession, ready: Callable[[], None]
    ) -> None:
        self._log = log
        self._supply = supply
        self._window = window
        self._session = session
        self._on_ready = ready
        self._packs: deque[Pack] = deque()
        self._wanted = asyncio.Event()
        self._count = FIRST_COUNT
        self._round = 0

    def next(self, now_s: float) -> Pack | None:
        """The pack to send now, whose batches then count as in flight; None if there is none, or no room for it."""
        if not self._session.may_pack:
            if self._packs:
                self.drop()  # the host says so now: what was taken for it goes plain
            return None
        if len(self._packs) < AHEAD and self._window.backlog:
            self._wanted.set()
        if not self._packs or not self._window.has_room_for_packed:
            return None
        if self._packs[0].meant_bytes > TOO_LARGE * self._window.piece_bytes:
            self.drop()  # the way has become slower since it was made
            self._wanted.set()
            return None
        pack = self._packs.popleft()
        self._window.sent_packed(pack.sizes, now_s)
        return pack

    def drop(self) -> None:
        """The host may be another one, or have changed its mind: give back all that is ready."""
        self._round += 1
        while self._packs:
            self._window.give_back(self._packs.popleft().sizes)

    async def run(self) -> None:
        """Make packs when they are wanted, until cancelled.

        Raises:
            LogError: the log cannot be read.
        """
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            # What is taken for a host that reads no packs would never be sent.
            while self._session.may_pack and len(self._packs) < AHEAD:
                numbers, began = self._window.take_backlog(self._count), self._round
                if not numbers:
                    break
                try:
                    pack = await asyncio.to_thread(self._make, numbers, self._window.piece_bytes)
                except LogMalformed:
                    await asyncio.to_thread(self._supply.examine, numbers)
                    raise
                if began != self._round:
                    self._window.give_back(numbers)
                    continue
                self._window.give_back(number for number in numbers if number not in pack.sizes)
                # What fitted this time fits the next time, too, more or less; one more than fits costs no second look.
                self._count = min(MOST_COUNT, 2 * len(pack.sizes) + 1)
                self._packs.append(pack)
                self._on_ready()

    def _make(self, numbers: list[int], full_bytes: int) -> Pack:
        """A pack of the first batches, of `full_bytes` at most if that is more than one. Reads the disk."""
        batches: list[PackedBatch] = []
        size = 0
        for batch in self._batches(numbers, full_bytes):
            size += batch.size
            if batches and size > full_bytes:
                break
            if size > MAX_BYTES:
                return Pack({batch.number: len(batch.record)}, None, full_bytes)
            batches.append(batch)
        logged = {batch.number: batch.logged for batch in batches if batch.logged is not None}
        digests = {
            batch.number: batch.logged or record_fingerprint(batch.device, batch.number, batch.record)
            for batch in batches
        }
        return Pack({batch.number: len(batch.record) for batch in batches}, pack(batches), full_bytes, logged, digests)

    def _batches(self, numbers: Iterable[int], full_bytes: int) -> Iterator[PackedBatch]:
        for first, last in _runs(numbers):
            at = first
            while at <= last:
                found, looked = self._log.records(at, last, full_bytes)
                known = {raw.number: raw for raw in found}
                for number in range(at, looked + 1):
                    raw = known.get(number)
                    yield self._instead(number) if raw is None else self._as_packed(*raw)
                at = looked + 1

    def _as_packed(self, number: int, device: str, record: bytes) -> PackedBatch:
        if record[:1] == RECORD_2:
            return PackedBatch(number, device, record)
        return self._instead(number)  # of the first release: the batch is the same, its record another

    def _instead(self, number: int) -> PackedBatch:
        """What goes in the place of a record that is damaged, dropped, of an older form, or since corrected."""
        batch = self._supply.one(number)
        return PackedBatch(number, batch.device, record_encode(batch), batch.logged)


def _runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """The numbers as runs without holes (first, last), in the order given."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs
