"""The promise around the state machines alone: no event loop, no SQLite, a hundred times as many seeds a second.

`SendingWindow`, `EdgeSession` and the log's record on one side, `HostSession`, `judge` and `StreamLedger` on the other,
messages between them that are lost, doubled and overtake each other at will. In each step one thing happens, drawn
from all that could: a batch is logged, a message is sent, comes, vanishes or comes twice, a worker commits or
acknowledges, a side dies with all it has in memory, a log is set aside and another one begun, after which they take
turns. Then everything is put right, and all must come home.
"""

from collections import Counter, deque
from collections.abc import Callable
from random import Random
from uuid import UUID

from lms_cloud.telemetry.incoming import Bioreactor, DeviceTags, Incoming, StreamBatch
from lms_cloud.telemetry.storage.judging import LedgerEntry, first_of_each, judge
from lms_protocol.batches import digest, record_decode, record_encode
from lms_protocol.delivery import SendingWindow, StreamLedger
from lms_protocol.edge import Acknowledged, EdgeSession, RebirthRequested, Refused
from lms_protocol.errors import DeliveryError
from lms_protocol.host import HostSession
from lms_protocol.host_events import DataReceived, NodeBorn, RebirthWanted
from lms_protocol.messages import SYNC_TAGS, Publish
from lms_protocol.reading import Batch, Datatype, Gap, Reading, TagDescription

from simulation.oracle import Violation, bits

EPOCH_MS = 1_795_435_200_000
HOME = Bioreactor(UUID(int=1), UUID(int=2), "g", "R1")
NO_TAGS = DeviceTags({}, {}, frozenset())
TAGS = (
    TagDescription(1, "R1", "pH/PV"),
    TagDescription(2, "R1", "Count", Datatype.INT64),
    TagDescription(3, "R1", "Phase", Datatype.STRING),
    *(TagDescription(4 + n, "R1", name, datatype) for n, (name, datatype) in enumerate(SYNC_TAGS.items())),
)
VALUES = (0.0, -0.0, 7.25, float("nan"), 1e-300, None)
MOST_CALM_STEPS = 4000


class QuickLog:
    """One of the agent's logs: what it holds, what is known of it on disk and in memory."""

    def __init__(self, stream: UUID) -> None:
        self.stream = stream
        self.records: list[bytes] = []
        self.batches: list[Batch] = []
        self.acked = self.acked_on_disk = 0

    @property
    def is_home(self) -> bool:
        """Whether all of it is acknowledged."""
        return self.acked == len(self.records)


class QuickWorld:
    """One agent, one or two ingest workers, one ledger."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(f"{seed}:quick")
        self.now_s = 0.0
        self.events: deque[str] = deque(maxlen=200)
        self.logs = [self._new_log()]
        self.ledger: dict[StreamBatch, LedgerEntry] = {}
        self.stored: Counter[tuple[object, ...]] = Counter()
        self.up: deque[tuple[int, Publish]] = deque()
        self.down: deque[tuple[int, Publish]] = deque()
        self.connection = 0
        self.bd_seq: int | None = None
        self.limits = (self.rng.choice((1, 2, 8)), self.rng.choice((1, 2, 8)))
        self.lossy = self.rng.choice((0.0, 0.1, 0.4))
        self.workers = [QuickWorker(self) for _ in range(self.rng.choice((1, 1, 2)))]
        self.boot()

    def _new_log(self) -> QuickLog:
        return QuickLog(UUID(int=self.rng.getrandbits(128), version=4))

    @property
    def batches(self) -> list[Batch]:
        """All that was ever logged."""
        return [batch for log in self.logs for batch in log.batches]

    def note(self, what: str) -> None:
        """Write an event down."""
        self.events.append(f"{self.now_s:8.2f} s  {what}")

    @property
    def now_ms(self) -> int:
        """The time, ms."""
        return EPOCH_MS + int(self.now_s * 1000)

    # The agent.

    def boot(self) -> None:
        """The agent starts on what is durable."""
        self.cut()
        for log in self.logs:
            log.acked = log.acked_on_disk
            for number, record in enumerate(log.records, start=1):
                if record_encode(record_decode(number, "R1", record)) != record:
                    raise Violation(f"the record of batch {number} does not come back as it was written")
        self.take_turn(self.logs[-1])

    def take_turn(self, log: QuickLog) -> None:
        """From now on this log is sent."""
        self.log = log
        self.edge = EdgeSession(group="g", node="n", stream=log.stream, bd_seq=self.bd_seq, tags=TAGS)
        self.window = SendingWindow(live_limit=self.limits[0], backlog_limit=self.limits[1], resend_after_s=5.0)

    def renew(self) -> None:
        """The log is set aside, and another one begun."""
        self.cut()
        self.logs.append(self._new_log())
        self.take_turn(self.logs[-1])

    def change_turns(self) -> None:
        """Another log is sent, one that has something to send if there is one."""
        self.cut()
        due = [log for log in self.logs if not log.is_home and log is not self.log]
        self.take_turn(self.rng.choice(due or self.logs))

    def cut(self) -> None:
        """The agent's connection is gone; what was on its way to the workers may come yet."""
        self.connection += 1
        if hasattr(self, "window"):
            self.window.disconnected()
            self.edge.connection_lost()

    def connect(self) -> None:
        """A new connection, with births."""
        self.edge.will(self.now_ms)
        self.bd_seq = self.edge.bd_seq
        self.give_birth()
        self.window.connected(acked=self.log.acked, head=len(self.log.records))

    def give_birth(self) -> None:
        """Births go out."""
        for message in self.edge.births(self.now_ms, {}, self.log.acked):
            self.publish(message)

    def append(self) -> None:
        """A batch is logged, durably."""
        log = self.logs[-1]
        number = len(log.records) + 1
        at_ms = self.now_ms + number
        readings = (
            Reading(1, at_ms, self.rng.choice(VALUES), self.rng.choice((0, 64))),  # type: ignore[arg-type]
            *([Reading(2, at_ms, self.rng.getrandbits(60))] if number % 3 == 0 else []),
            *([Reading(3, at_ms, "growth" * (number % 4))] if number % 4 == 0 else []),
        )
        gaps = (Gap(number, (1,), at_ms - 5, at_ms, "no reply"),) if number % 5 == 0 else ()
        batch = Batch(number, "R1", readings, gaps)
        log.batches.append(batch)
        log.records.append(record_encode(batch))
        if self.edge.born and log is self.log:
            self.window.appended(number)

    def send(self) -> bool:
        """The next batch goes out, if there is one to be sent now."""
        sending = self.window.next(self.now_s) if self.edge.born else None
        if sending is None:
            return False
        batch = record_decode(sending.number, "R1", self.log.records[sending.number - 1])
        self.publish(self.edge.data(batch, self.now_ms, historical=sending.historical))
        if self.window.in_flight > sum(self.limits):
            raise Violation(f"{self.window.in_flight} batches are in flight, {sum(self.limits)} are allowed")
        return True

    def publish(self, message: Publish) -> None:
        """Up the line."""
        self.up.append((self.connection, message))

    def hear(self, message: Publish) -> None:
        """The agent hears a command."""
        for event in self.edge.receive(message.topic, message.payload):
            if isinstance(event, RebirthRequested) and self.edge.born:
                self.give_birth()
            elif isinstance(event, Acknowledged) and self.edge.born:
                try:
                    self.log.acked = max(self.log.acked, self.window.acknowledged(event.number, event.ranges))
                except DeliveryError as error:
                    raise Violation(f"an acknowledgement was not true: {error}") from error
            elif isinstance(event, Refused):
                raise Violation(f"batch {event.number} was refused")
        for number in range(1, self.log.acked + 1):
            if StreamBatch(self.log.stream, number) not in self.ledger:
                raise Violation(f"batch {number} counts as acknowledged, but is not committed")

    # The network.

    def carry(self, line: deque[tuple[int, Publish]], deliver: Callable[[Publish], None], *, calm: bool) -> None:
        """One message comes, or meets its fate."""
        if not line:
            return
        index = 0 if calm or self.rng.random() < 0.6 else self.rng.randrange(len(line))
        connection, message = line[index]
        if calm or self.rng.random() >= 0.1:  # else it is doubled: it comes, and stays
            del line[index]
        of_before = connection != self.connection and (line is self.down or self.rng.random() < 0.5)
        if of_before or (not calm and self.rng.random() < self.lossy):
            return
        deliver(message)

    def to_workers(self, message: Publish) -> None:
        """Whoever is there hears it."""
        for worker in self.workers:
            if not self.rng.random() < 0.05:
                worker.hear(message)

    # The run.

    def step(self) -> None:
        """Something happens."""
        self.now_s += self.rng.expovariate(2.0)
        act = self.rng.choices(_ACTS, _WEIGHTS)[0]
        self.note(act)
        worker = self.rng.choice(self.workers)
        if act == "append":
            self.append()
        elif act == "connect" and not self.edge.born:
            self.connect()
        elif act == "send":
            self.send()
        elif act == "up":
            self.carry(self.up, self.to_workers, calm=False)
        elif act == "down":
            self.carry(self.down, self.hear, calm=False)
        elif act == "commit":
            worker.commit(told=self.rng.random() < 0.7)
        elif act == "cut":
            self.cut()
        elif act == "persist":
            self.log.acked_on_disk = self.log.acked
        elif act == "agent dies":
            self.boot()
        elif act == "renew":
            self.renew()
        elif act == "change turns":
            self.change_turns()
        elif act == "worker dies":
            self.workers[self.workers.index(worker)] = QuickWorker(self)

    def calm_down(self) -> None:
        """Everything works now: all must come home."""
        for _ in range(MOST_CALM_STEPS):
            if self.log.is_home:
                if all(log.is_home for log in self.logs):
                    return
                self.change_turns()
            self.now_s += 0.3
            if not self.edge.born:
                self.connect()
            self.send()
            for _ in range(4):
                self.carry(self.up, self.to_all, calm=True)
                self.carry(self.down, self.hear, calm=True)
            for worker in self.workers:
                worker.commit(told=True)
                worker.poll()
        told = ", ".join(f"{log.acked} of {len(log.records)}" for log in self.logs)
        raise Violation(f"batches are acknowledged: {told}; and no more come")

    def to_all(self, message: Publish) -> None:
        """Every worker hears it."""
        for worker in self.workers:
            worker.hear(message)

    def judge(self) -> None:
        """Compare what was logged with what was stored."""
        expected = Counter(fact for batch in self.batches for fact in _facts(batch.readings))
        if expected != self.stored:
            wrong = next(iter((expected - self.stored) + (self.stored - expected)))
            raise Violation(f"readings are missing, doubled or altered, such as {wrong}")
        for log in self.logs:
            for batch in log.batches:
                entry = self.ledger[StreamBatch(log.stream, batch.number)]
                if entry.digest != digest(batch.device, batch.number, batch.readings, batch.gaps):
                    raise Violation(f"batch {batch.number} is committed with another digest")


class QuickWorker:
    """What one ingest worker has in its memory."""

    def __init__(self, world: QuickWorld) -> None:
        self.world = world
        self.host = HostSession("cloud")
        self.queue: list[DataReceived] = []
        self.born: set[UUID] = set()
        self.known: dict[UUID, StreamLedger] = {}

    def hear(self, message: Publish) -> None:
        """A message from the agent."""
        for event in self.host.receive(message.topic, message.payload, self.world.now_s):
            if isinstance(event, DataReceived):
                self.queue.append(event)
            elif isinstance(event, NodeBorn):
                assert event.stream is not None
                self.born.add(event.stream)
            elif isinstance(event, RebirthWanted):
                self.say(self.host.rebirth_command("g", "n", self.world.now_ms))

    def poll(self) -> None:
        """What only time brings."""
        for event in self.host.poll(self.world.now_s):
            if isinstance(event, RebirthWanted):
                self.say(self.host.rebirth_command("g", "n", self.world.now_ms))

    def say(self, message: Publish) -> None:
        """Down the line."""
        self.world.down.append((self.world.connection, message))

    def commit(self, *, told: bool) -> None:
        """Commit what was heard; then acknowledge it, unless this is when it dies (`told` False)."""
        world = self.world
        incoming = [_incoming(event) for event in self.queue]
        self.queue.clear()
        fresh = [each for each in first_of_each(incoming) if each.key not in world.ledger]
        for batch in fresh:
            assert batch.key is not None
            world.ledger[batch.key] = LedgerEntry(batch.digest)
            world.stored.update(_facts(tuple(batch.readings)))
        verdict = judge(incoming, world.ledger)
        if not told:
            world.workers[world.workers.index(self)] = QuickWorker(world)
            return
        for batch in verdict.refused:
            assert batch.key is not None
            raise Violation(f"batch {batch.key.number} does not have the digest that it had before")
        streams = sorted({key.stream for key in verdict.settled} | self.born)
        self.born.clear()
        for stream in streams:
            self._acknowledge(stream, [key.number for key in verdict.settled if key.stream == stream])

    def _acknowledge(self, stream: UUID, settled: list[int]) -> None:
        world = self.world
        if stream not in self.known:
            self.known[stream] = StreamLedger()
            settled = [key.number for key in world.ledger if key.stream == stream]
        for number in settled:
            self.known[stream].commit(number)
        acked, above = self.known[stream].acknowledgement(settled)
        if acked or above:
            self.say(self.host.acknowledgement("g", "n", acked, above, world.now_ms, stream=stream))


_CHANCES = {
    "append": 12,
    "connect": 8,
    "send": 24,
    "up": 30,
    "down": 16,
    "commit": 12,
    "persist": 2,
    "cut": 2,
    "agent dies": 1,
    "renew": 1,
    "change turns": 2,
    "worker dies": 1,
}
_ACTS, _WEIGHTS = list(_CHANCES), list(_CHANCES.values())


def run(seed: int) -> "tuple[str, QuickWorld]":
    """Run a seed; what broke the promise ("" if nothing did), and the world as it ended."""
    world = QuickWorld(seed)
    try:
        for _ in range(world.rng.randint(20, 90)):
            world.step()
        world.calm_down()
        world.judge()
    except Violation as error:
        return str(error), world
    return "", world


def report(seed: int) -> str:
    """What is to be said of a seed that failed."""
    failure, world = run(seed)
    again = f"Run it again with: make simulate QUICK=1 SEED={seed}"
    events = "\n".join(f"  {event}" for event in world.events)
    return f"Quick seed {seed} broke the promise: {failure}\n{again}\n{events}"


def _incoming(event: DataReceived) -> Incoming:
    assert event.stream is not None
    key = StreamBatch(event.stream, event.number or 0)
    return Incoming(HOME, key, event.digest or b"", event.readings, event.gaps, NO_TAGS, event.historical, "n", "", b"")


def _facts(readings: tuple[Reading, ...]) -> list[tuple[object, ...]]:
    return [(reading.tag, reading.taken_at_ms, bits(reading.value), int(reading.quality)) for reading in readings]
