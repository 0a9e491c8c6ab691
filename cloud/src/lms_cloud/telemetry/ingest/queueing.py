"""What was heard and waits to be committed, in two lanes: what happens now overtakes backlog.

    prompt    births, deaths, live data               all of it goes into the next commit
    late      numbered data sent late                 so much that a commit stays short; in turn with the prompt lane

The lanes have commits of their own: in one commit with a portion of backlog, what is live would wait for that, too.
What is late and little goes along.

A batch's number and stream say what it is wherever it stands, so late and live data may overtake each other. But what
its tags are, its births say: while late data of an agent waits, a birth or death of that agent queues up behind it, and
so does all that the agent says after that; and late data is not taken before a birth or death that was heard earlier.

Before it: `lms_cloud.telemetry.ingest.worker`, which hears; after it: `lms_cloud.telemetry.ingest.committing`, which
takes from here.
"""

from collections import Counter, deque
from typing import Final, NamedTuple

from lms_protocol.host_events import DataReceived

from lms_cloud.telemetry.ingest.resolving import Heard

MAX_READINGS_PER_COMMIT: Final = 50_000
READINGS_A_BATCH: Final = 20
"""A batch takes as long to commit as its readings and so many more."""
MAX_LATE_PER_COMMIT: Final = 8_400
"""Readings of the late lane in one commit, counted so: 6,000 in batches of 50. What is live waits for it some 25 ms."""
MAX_LATE_BESIDE_PROMPT: Final = 500
"""The same that may go along with the prompt lane: they take less than a commit of their own."""
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
        prompt_readings: how many of them will go into the next commit.
    """

    def __init__(self) -> None:
        self.offered = 0
        self.readings = 0
        self.prompt_readings = 0
        self._bytes = 0
        self._prompt: deque[_Place] = deque()
        self._late: deque[_Place] = deque()
        self._announced: deque[int] = deque()  # turns of the births and deaths in the prompt lane
        self._is_late_next = False
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
            self.prompt_readings += heard.readings
            if not is_data:
                self._announced.append(place.turn)
        self.readings += heard.readings
        self._bytes += heard.size
        return True

    def take(self) -> list[Heard]:
        """The events of the next commit."""
        taken = self._take_late(MAX_LATE_PER_COMMIT, at_least=1) if self._is_late_next or not self._prompt else []
        if taken:
            self._is_late_next = False
        else:
            taken = self._take_prompt()
            taken += self._take_late(MAX_LATE_BESIDE_PROMPT, at_least=0)
            self._is_late_next = bool(self._late)
        self.readings -= sum(heard.readings for heard in taken)
        self._bytes -= sum(heard.size for heard in taken)
        return taken

    def _take_prompt(self) -> list[Heard]:
        taken: list[Heard] = []
        readings = 0
        while self._prompt and len(taken) < MAX_EVENTS_PER_COMMIT and readings < MAX_READINGS_PER_COMMIT:
            turn, heard = self._prompt.popleft()
            taken.append(heard)
            readings += heard.readings
            if self._announced and self._announced[0] == turn:
                self._announced.popleft()
        self.prompt_readings -= readings
        return taken

    def _take_late(self, most_readings: int, *, at_least: int) -> list[Heard]:
        taken: list[Heard] = []
        readings = 0
        while self._late and len(taken) < MAX_EVENTS_PER_COMMIT:
            turn, heard = self._late[0]
            readings += heard.readings + READINGS_A_BATCH
            if readings > most_readings and len(taken) >= at_least:
                break
            if self._announced and self._announced[0] < turn:
                break
            self._late.popleft()
            taken.append(heard)
            sender = _sender(heard)
            for count, less in ((self._late_of, 1), (self._ordered, int(not _may_be_overtaken(heard)))):
                count[sender] -= less
                if count[sender] <= 0:
                    del count[sender]
        return taken


def _may_be_overtaken(heard: Heard) -> bool:
    event = heard.event
    return isinstance(event, DataReceived) and event.historical and event.stream is not None


def _sender(heard: Heard) -> tuple[str | None, str | None]:
    """Group and node; (None, None) where the message names none."""
    return getattr(heard.event, "group", None), getattr(heard.event, "node", None)
