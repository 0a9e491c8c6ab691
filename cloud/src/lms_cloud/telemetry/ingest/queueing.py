"""What was heard and waits to be committed, in two lanes: what happens now overtakes backlog.

    prompt    births, deaths, live data               all of it goes into the next commit
    late      numbered data sent late                 so much that the commit stays short, at least some

A batch's number and stream say what it is wherever it stands, so backlog may be overtaken. But what its tags are, its
births say: while late data of an agent waits, a birth or death of that agent queues up behind it, and so does all that
the agent says after that.

Before it: `lms_cloud.telemetry.ingest.worker`, which hears; after it: `lms_cloud.telemetry.ingest.committing`, which
takes from here.
"""

from collections import Counter, deque
from typing import Final, NamedTuple

from lms_protocol.host import DataReceived

from lms_cloud.telemetry.ingest.resolving import Heard

MAX_READINGS_PER_COMMIT: Final = 50_000
MAX_LATE_PER_COMMIT: Final = 6_000
"""Readings of the late lane in one commit: what is live waits for it, some 25 ms."""
MAX_EVENTS_PER_COMMIT: Final = 5_000
MAX_READINGS_QUEUED: Final = 400_000
MAX_EVENTS_QUEUED: Final = 40_000
MAX_BYTES_QUEUED: Final = 256 * 1024 * 1024


class _Place(NamedTuple):
    turn: int
    heard: Heard


class HeardQueue:
    """The two lanes.

    Attributes:
        offered: how many events were ever taken in.
        readings: how many readings wait.
    """

    def __init__(self) -> None:
        self.offered = 0
        self.readings = 0
        self._bytes = 0
        self._prompt: deque[_Place] = deque()
        self._late: deque[_Place] = deque()
        self._late_of: Counter[tuple[str | None, str | None]] = Counter()
        self._ordered: Counter[tuple[str | None, str | None]] = (
            Counter()
        )  # late events that later ones may not overtake

    def __len__(self) -> int:
        """How many events wait."""
        return len(self._prompt) + len(self._late)

    @property
    def oldest(self) -> int | None:
        """The turn of the event that has waited longest: they are counted from 1 as they are offered."""
        turns = [lane[0].turn for lane in (self._prompt, self._late) if lane]
        return min(turns, default=None)

    def offer(self, heard: Heard) -> bool:
        """Take an event in; False if there is no room. Births and deaths have a reserve of their own."""
        is_data = isinstance(heard.event, DataReceived)
        room = MAX_EVENTS_QUEUED if is_data else 2 * MAX_EVENTS_QUEUED
        full = len(self) >= room or self._bytes >= MAX_BYTES_QUEUED
        if full or (is_data and self.readings >= MAX_READINGS_QUEUED):
            return False
        self.offered += 1
        place = _Place(self.offered, heard)
        sender = _sender(heard)
        if _may_be_overtaken(heard) or self._ordered[sender] or (not is_data and self._late_of[sender]):
            self._late.append(place)
            self._late_of[sender] += 1
            self._ordered[sender] += not _may_be_overtaken(heard)
        else:
            self._prompt.append(place)
        self.readings += heard.readings
        self._bytes += heard.size
        return True

    def take(self) -> list[Heard]:
        """The events of the next commit."""
        taken: list[Heard] = []
        readings = late = 0
        while self._prompt and len(taken) < MAX_EVENTS_PER_COMMIT and readings < MAX_READINGS_PER_COMMIT:
            taken.append(self._prompt.popleft().heard)
            readings += taken[-1].readings
        while self._late and len(taken) <= MAX_EVENTS_PER_COMMIT and late < MAX_LATE_PER_COMMIT:
            heard = self._late.popleft().heard
            taken.append(heard)
            late += max(1, heard.readings)
            sender = _sender(heard)
            for count, less in ((self._late_of, 1), (self._ordered, int(not _may_be_overtaken(heard)))):
                count[sender] -= less
                if count[sender] <= 0:
                    del count[sender]
        self.readings -= sum(heard.readings for heard in taken)
        self._bytes -= sum(heard.size for heard in taken)
        return taken


def _may_be_overtaken(heard: Heard) -> bool:
    event = heard.event
    return isinstance(event, DataReceived) and event.historical and event.stream is not None


def _sender(heard: Heard) -> tuple[str | None, str | None]:
    """Group and node; (None, None) where the message names none."""
    return getattr(heard.event, "group", None), getattr(heard.event, "node", None)
