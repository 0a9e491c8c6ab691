"""From sampling to the sink, without ever making a bus wait.

A slow disk must not delay the next scan, so scans are handed over side by side, a bounded number of them. What cannot
be kept (too many waiting, or the sink says no) is not forgotten: the next scan of that bioreactor carries a gap record
that says so.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from lms_protocol.errors import LmsError
from lms_protocol.reading import Gap, Reading

from lms_agent.sampling.scan import GapIds, Scan, Sink

MOST_WAITING = 64
_MOST_OWED = 256


class Process(Protocol):
    """What is done with scans before they are handed over."""

    def take(self, readings: tuple[Reading, ...], gaps: tuple[Gap, ...]) -> tuple[tuple[Reading, ...], tuple[Gap, ...]]:
        """What of a scan is to be kept."""
        ...

    def lost(self, tags: Iterable[int]) -> None:
        """Readings of these tags were not kept."""
        ...


@dataclass
class _Device:
    """What one bioreactor's next scan must tell besides its readings."""

    owed: dict[int, Gap] = field(default_factory=dict)  # gap records that were lost with their scan
    lost_tags: set[int] = field(default_factory=set)
    lost_since_ms: int | None = None
    lost_scans: int = 0
    reason: str = ""


class Outlet:
    """Hands scans to the sink.

    Args:
        sink: takes a scan and returns when it is committed.
        next_gap_id: gives gap ids.
        most_waiting: scans that may wait for the sink at a time.
        process: what is done with each scan before.
    """

    def __init__(
        self, sink: Sink, next_gap_id: GapIds, most_waiting: int = MOST_WAITING, process: Process | None = None
    ) -> None:
        self._sink = sink
        self._next_gap_id = next_gap_id
        self._most_waiting = most_waiting
        self._process = process
        self._waiting: set[asyncio.Task[None]] = set()
        self._devices: dict[str, _Device] = {}
        self._latest: dict[int, Gap] = {}  # gap records on their way or owed
        self._loss_gaps: dict[int, int] = {}  # id of a gap record about lost scans → how many scans
        self._broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def waiting(self) -> int:
        """Scans that the sink has not yet taken."""
        return len(self._waiting)

    def put(self, scan: Scan) -> None:
        """Process a scan and hand it over. Returns at once."""
        if self._process is not None:
            scan = Scan(scan.device, *self._process.take(scan.readings, scan.gaps))
        self.hand_over(scan)

    def hand_over(self, scan: Scan) -> None:
        """Hand over a scan that is processed already, unless there is nothing in it. Returns at once."""
        if not scan.readings and not scan.gaps:
            return
        scan = self._with_what_is_owed(scan)
        for gap in scan.gaps:
            self._latest[gap.id] = gap
        if len(self._waiting) >= self._most_waiting:
            self._lost(scan, f"the log was too slow, {self._most_waiting} scans were waiting")
            return
        task = asyncio.create_task(self._deliver(scan))
        self._waiting.add(task)
        task.add_done_callback(self._delivered)

    async def watch(self) -> None:
        """Run until the sink breaks in a way that nobody foresaw, and raise that."""
        await self._broken

    async def drain(self) -> None:
        """Wait until the sink has answered for every scan."""
        while self._waiting:
            await asyncio.wait(self._waiting)

    async def _deliver(self, scan: Scan) -> None:
        try:
            await self._sink(scan)
        except (LmsError, OSError) as error:
            self._lost(scan, str(error))
            return
        for gap in scan.gaps:
            self._loss_gaps.pop(gap.id, None)
            if self._latest.get(gap.id) is gap:
                del self._latest[gap.id]

    def _delivered(self, task: "asyncio.Task[None]") -> None:
        self._waiting.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not self._broken.done():
            self._broken.set_exception(error)

    def _with_what_is_owed(self, scan: Scan) -> Scan:
        device = self._devices.get(scan.device)
        if device is None:
            return scan
        own = {gap.id for gap in scan.gaps}
        gaps = [gap for gap in device.owed.values() if gap.id not in own]
        device.owed.clear()
        if scan.readings and device.lost_since_ms is not None:
            again_ms = (reading.taken_at_ms for reading in scan.readings if reading.tag in device.lost_tags)
            gaps.append(self._gap_of_lost(device, next(again_ms, scan.readings[-1].taken_at_ms)))
            del self._devices[scan.device]
        return Scan(scan.device, scan.readings, (*gaps, *scan.gaps))

    def _gap_of_lost(self, device: _Device, ended_at_ms: int) -> Gap:
        since_ms = ended_at_ms if device.lost_since_ms is None else device.lost_since_ms
        reason = f"{device.lost_scans} scans could not be kept: {device.reason}"
        gap = Gap(self._next_gap_id(), tuple(sorted(device.lost_tags)), min(since_ms, ended_at_ms), ended_at_ms, reason)
        self._loss_gaps[gap.id] = device.lost_scans
        return gap

    def _lost(self, scan: Scan, reason: str) -> None:
        """Remember what the sink did not take."""
        device = self._devices.setdefault(scan.device, _Device())
        device.reason = reason
        if scan.readings:
            device.lost_scans += 1
            _include(device, {reading.tag for reading in scan.readings}, scan.readings[0].taken_at_ms)
        for gap in scan.gaps:
            if gap.id in self._loss_gaps:
                device.lost_scans += self._loss_gaps.pop(gap.id)
                _include(device, set(gap.tags), gap.began_at_ms)
                self._latest.pop(gap.id, None)
            elif self._latest.get(gap.id) is gap:  # else a newer record of the same gap is on its way
                device.owed[gap.id] = gap
        if self._process is not None:
            self._process.lost({reading.tag for reading in scan.readings})
        while len(device.owed) > _MOST_OWED:
            self._fold_oldest_closed(device)

    def _fold_oldest_closed(self, device: _Device) -> None:
        """Bound the memory: a closed gap inside the lost time is told by the gap record about the lost time."""
        oldest = next((gap for gap in device.owed.values() if gap.ended_at_ms is not None), None)
        if oldest is None:
            oldest = next(iter(device.owed.values()))
        del device.owed[oldest.id]
        self._latest.pop(oldest.id, None)
        _include(device, set(oldest.tags), oldest.began_at_ms)


def _include(device: _Device, tags: set[int], since_ms: int) -> None:
    device.lost_tags |= tags
    device.lost_since_ms = since_ms if device.lost_since_ms is None else min(device.lost_since_ms, since_ms)
