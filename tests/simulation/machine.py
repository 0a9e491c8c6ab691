"""An agent's computer: the real log, keeping, outlet and sender, on a simulated disk, line and clock.

It is wired as `lms_agent.app` wires it, with a list of scans where sampling would be. It can be stopped, killed between
two steps or two operations of its disk, lose its power, and start again from what the disk then holds.
"""

import asyncio
import sqlite3
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

from aiomqtt import MqttError, ProtocolVersion
from lms_agent.log.absence import Absence
from lms_agent.log.care import Care
from lms_agent.log.errors import LogError
from lms_agent.log.jobs import Job
from lms_agent.log.keeping import Keeping
from lms_agent.log.reader import LogReader
from lms_agent.log.renewal.gathering import Remains
from lms_agent.log.sqlite_log import SqliteLog, Trouble
from lms_agent.log.times.clocks import ClockChange
from lms_agent.log.writer import LAZY_AFTER_S, Writer
from lms_agent.registering import to_be_born
from lms_agent.sampling.outlet import Outlet
from lms_agent.sampling.scan import Scan
from lms_agent.sending.connection import Address, explain_loss
from lms_agent.sending.errors import BrokerUnreachable
from lms_agent.sending.sender import Sender
from lms_agent.timekeeping.discipline import Observation, Rules
from lms_agent.timekeeping.timekeeper import Timekeeper
from lms_protocol.batches import as_logged, record_encode
from lms_protocol.delivery import SendingWindow
from lms_protocol.edge import EdgeSession
from lms_protocol.messages import SYNC_TAGS, Publish
from lms_protocol.reading import Datatype, Quality, Reading, TagDescription

from simulation.broker import Broker, SimulatedClient
from simulation.disk import Disk, connecting
from simulation.loop import PROCESS, Process, VirtualLoop
from simulation.oracle import InLog, Oracle
from simulation.plan import FAULTS_END_S, Plan
from simulation.plan import Scan as PlannedScan

HOST = "cloud"
EPOCH_MS = 1_795_435_200_000
CLOCK_WAIT_S = 10.0
PACKED_BYTES = 4_000
LARGEST_PACK_BYTES = 64 * 1024
PAGE_BYTES = 4096
LAST_SCANS_S = FAULTS_END_S + 10
"""Nothing goes wrong any more. Who has nothing to say is not missed: births that were lost are asked for with data."""
WRITE_S = 0.004
"""Mean time from a job handed over to its transaction."""
NAMES = {"pH/PV": Datatype.DOUBLE, "Count": Datatype.INT64, "Pump": Datatype.BOOLEAN, "Phase": Datatype.STRING}


class SimulatedClock:
    """A computer's clock: it can be wrong, and be set."""

    def __init__(self, loop: VirtualLoop, offset_ms: int = 0) -> None:
        self._loop = loop
        self.offset_ms = offset_ms

    def wall_ms(self) -> int:
        """The instant as this clock has it."""
        return EPOCH_MS + self.offset_ms + int(self._loop.time() * 1000)

    def monotonic_s(self) -> float:
        """Seconds since the simulation began."""
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(max(seconds, 0.0))


class SimulatedComputer:
    """A Pi's clocks: the time since boot never steps; the system clock may be wrong until it is synchronised.

    Args:
        system: the system clock as people and time servers set it.
        boot: the id of this boot.
        synchronised_at_s: when a time server is first heard after the boot; until then, without a clock chip, the
            system clock says what it was left at: 1970, or some time before.
        asleep_at_ms: what the system clock says at boot without a clock chip; None: it has one.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        system: SimulatedClock,
        *,
        boot: UUID,
        booted_at_s: float,
        synchronised_at_s: float,
        asleep_at_ms: int | None,
    ) -> None:
        self.boot = boot
        self._loop = loop
        self._system = system
        self._booted_at_s = booted_at_s
        self._synchronised_at_s = synchronised_at_s
        self._asleep_at_ms = asleep_at_ms

    def synchronise(self) -> None:
        """A time server is heard."""
        self._synchronised_at_s = min(self._synchronised_at_s, self._loop.time())

    def boot_ms(self) -> int:
        """Time since boot."""
        return int((self._loop.time() - self._booted_at_s) * 1000)

    def observe(self) -> Observation:
        """Both clocks, and whether the system's is synchronised."""
        synchronised = self._loop.time() >= self._synchronised_at_s
        system_ms = self._system.wall_ms()
        if not synchronised and self._asleep_at_ms is not None:
            system_ms = self._asleep_at_ms + self.boot_ms()
        return Observation(self.boot_ms(), system_ms, synchronised)

    def monotonic_s(self) -> float:
        """Seconds since the simulation began."""
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(max(seconds, 0.0))


class LoopWriter(Writer):
    """The log's writer with the event loop in the place of its thread."""

    rng: Random
    bite: int

    def _start(self) -> None:
        self._timer: asyncio.TimerHandle | None = None
        self._loop_of_timer = asyncio.get_running_loop()
        self._upkeep._bite = self.bite
        self._turn_within(LAZY_AFTER_S)

    def monotonic_s(self) -> float:
        """Virtual time."""
        return self._loop_of_timer.time()

    def submit(self, job: Job) -> None:
        """Hand over a job."""
        super().submit(job)
        self._turn_within(self.rng.expovariate(1 / WRITE_S))

    def _rest(self) -> None:
        """The next turn comes in its time."""

    def _turn_within(self, seconds: float) -> None:
        due_s = self._loop_of_timer.time() + seconds
        if self._timer is None or self._timer.when() > due_s:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop_of_timer.call_at(due_s, self._turn)

    def _turn(self) -> None:
        self._timer = None
        busy = False
        if self._queue.empty():
            busy = self._look_after()
        else:
            jobs: list[Job] = []
            self._gather(self._queue.get_nowait(), jobs)
            self._write(jobs)
            busy = not self._queue.empty() or self._upkeep.is_due(self._head)
        self._turn_within(0.001 if busy else LAZY_AFTER_S)

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        process = PROCESS.get()
        if process is None or not process.alive:
            return
        while not self._queue.empty():
            jobs: list[Job] = []
            self._gather(self._queue.get_nowait(), jobs)
            self._write(jobs)
        self._finish()


def _all_of(reader: LogReader) -> list[InLog]:
    """All batches of a log; those whose times may still be corrected with what tells copies of them from others."""
    found = []
    spans = [span for span in reader.spans() if span.open]
    for batch in reader.read(1, 1 << 30):
        boot = next((UUID(span.boot) for span in spans if span.first <= batch.number <= (span.last or 1 << 62)), None)
        logged = batch.logged
        if boot is not None and logged is None:
            logged = as_logged(boot, batch.device, batch.number, record_encode(batch))
        is_open = boot is not None and reader.ended_at_ms is None
        found.append(InLog(replace(batch, logged=logged), is_open))
    return found


class _Watched:
    """The log as timekeeping has it; after each change the oracle reads what became of the batches."""

    def __init__(self, log: SqliteLog, read_again: Callable[[], None]) -> None:
        self._log = log
        self._read_again = read_again
        self.remember = log.remember
        self.first_open = log.first_open

    async def change_clock(self, change: ClockChange) -> None:
        """Write a change down."""
        await self._log.change_clock(change)
        self._read_again()


class Machine:
    """One agent's computer.

    Attributes:
        node: the agent's wire id, and the name of its line.
    """

    def __init__(
        self,
        node: str,
        plan: Plan,
        loop: VirtualLoop,
        broker: Broker,
        oracle: Oracle,
        folder: Path,
    ) -> None:
        self.node = node
        self.rng = Random(f"{plan.seed}:{node}")
        self.clock = SimulatedClock(loop, plan.clock_ms.get(node, 0))
        self.disk = Disk(folder)
        self.process: Process | None = None
        self.log: SqliteLog | None = None
        self.sender: Sender | None = None
        self.keeping: Keeping | None = None
        self.outlet: Outlet | None = None
        self.boots = 0
        self._starts = 0  # of the computer
        self._computer: SimulatedComputer | None = None
        self._synchronised = False
        self._image: dict[str, bytes] | None = None
        self.trimmed = self.dropped = 0
        self._plan = plan
        self._loop = loop
        self._broker = broker
        self._oracle = oracle
        self._path = folder / "log.db"
        self._scans = sorted(scan for scan in plan.scans if scan.agent == node)
        self._made_last = False
        self._serial = 0
        self._stop = asyncio.Event()
        self._client: SimulatedClient | None = None
        self._power_cut = False

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self.process is not None and self.process.alive

    @property
    def scans_left(self) -> int:
        """How many scans are still to be made."""
        return len(self._scans) + (not self._made_last)

    def boot(self) -> None:
        """Start the agent, on whatever the disk holds."""
        if self.running:
            return
        self.boots += 1
        self.count()
        self._let_go()
        self.disk.revive(power_was_cut=self._power_cut, rng=self.rng)
        if self._power_cut or self._computer is None:
            self._computer = self._start_computer()
        self._power_cut = False
        self._stop = asyncio.Event()
        self.process = Process(self.node, self._loop)
        self.process.died.append(self._died)
        self.process.start(self._run())

    def _start_computer(self) -> SimulatedComputer:
        self._starts += 1
        first, now_s = self._starts == 1, self._loop.time()
        clock = self._plan.clocks[self.node]
        return SimulatedComputer(
            self._loop,
            self.clock,
            boot=UUID(int=self.rng.getrandbits(128), version=4),
            booted_at_s=now_s - (60.0 if first and clock.well_at_start else 0.0),
            synchronised_at_s=now_s
            if self._synchronised or (first and clock.well_at_start)
            else now_s + clock.synchronised_after_s,
            asleep_at_ms=None if clock.has_chip else clock.asleep_at_ms,
        )

    def hear_time_server(self) -> None:
        """The clock is synchronised from now on."""
        self._synchronised = True
        if self._computer is not None:
            self._computer.synchronise()

    def stop(self) -> None:
        """Ask it to end in good order."""
        if self.running:
            self._stop.set()

    def kill(self, steps: int, *, power: bool) -> None:
        """Kill the process, or cut the power, after so many more steps."""
        if self.process is not None and self.process.alive:
            self._power_cut = power
            self.process.kill_after(steps)

    def kill_in_disk(self, operations: int, *, power: bool) -> None:
        """The same, but in the midst of what the disk is to do."""
        left = [operations]

        def count() -> None:
            left[0] -= 1
            if left[0] <= 0:
                self.disk.on_operation = lambda: None
                self.kill(0, power=power)

        if self.running:
            self.disk.on_operation = count

    def remember_image(self) -> None:
        """Somebody copies the disk."""
        self._image = self.disk.image()

    def bring_back(self) -> None:
        """The disk is replaced by the copy made before, and the computer started with it."""
        if self._image is None:
            return
        if self.process is not None:
            self.process.spare()
        self.kill(0, power=True)
        self._let_go()
        self.disk.replace(self._image)
        self._image = None
        self._power_cut = True
        self._oracle.brought_back(self.node)
        self.boot()

    def spoil_lists(self) -> None:
        """The pages that say which logs were set aside, and what of them was logged again, are damaged; it starts."""
        if self.process is not None:
            self.process.spare()
        self.kill(0, power=True)
        self._let_go()
        self.disk.replace(_with_spoilt_lists(self.disk.image()))
        self._power_cut = True
        self.boot()

    def dispose(self) -> None:
        """Close all files."""
        if self.process is not None:
            self.process.alive = False
        self._let_go()
        self.disk.forget()

    def _died(self) -> None:
        self.disk.dead = True
        self.disk.on_operation = lambda: None
        client, self._client = self._client, None
        if client is not None and not self._power_cut:
            client.abandon()  # the kernel closes the sockets of a dead process; one without power says nothing

    def count(self) -> None:
        """Note what retention has done, as far as the log can still be read."""
        if self.log is None:
            return
        with suppress(LogError):
            self.trimmed = max(self.trimmed, self.log.first - 1)
            self.dropped = self.log.retention.dropped_batches
            shifts = self.log._reader._rows("SELECT DISTINCT shift_ms FROM corrections")
            self._oracle.shifts[self.log.stream].update(shift_ms for (shift_ms,) in shifts)
            self._oracle.dropped(self.log.stream, self.log._reader._rows("SELECT first, last FROM drops"))

    def read_again(self) -> None:
        """Have all that the log holds now compared with what it once said."""
        self.count()
        if self.log is not None:
            for batch in _all_of(self.log._reader):
                self._oracle.read_again(self.log.stream, batch)

    def _let_go(self) -> None:
        """What the kernel does for a dead process: files and locks are free again, nothing is written any more."""
        log, self.log = self.log, None
        self.disk.let_go()
        if log is not None:
            log.close()

    async def _run(self) -> None:
        connecting.set(self.disk)
        log = self.log = await asyncio.to_thread(self._open)
        tags = await asyncio.to_thread(log.register_tags, self._descriptions())
        numbers = {(tag.device, tag.name): tag.number for tag in tags}
        self.count()
        self._oracle.opened(self.node, log.stream, {tag.number: tag.name for tag in tags}, _all_of(log._reader))
        log.listen(lambda batch: self._oracle.logged(log.stream, batch))
        absence = Absence(log, [[tag.number for tag in tags if tag.device == device] for device in self._devices])
        assert self._computer is not None
        clock = await Timekeeper.begin(
            self._computer, _Watched(log, self.read_again), log.head, Rules(wait_s=CLOCK_WAIT_S, persist_s=5.0)
        )
        log.number_gaps_above(clock.wall_ms())
        self._stamps = clock.stamps
        keeping = self.keeping = Keeping(log, absence, clock.stamps, max_readings=self._plan.room)
        outlet = self.outlet = Outlet(keeping.take, log.next_gap_id)
        sender = self.sender = Sender(
            log=log,
            session=EdgeSession(
                group=self._plan.groups[self.node],
                node=self.node,
                stream=log.stream,
                bd_seq=log.bd_seq,
                tags=await asyncio.to_thread(to_be_born, log, tags),
                primary_host=HOST,
            ),
            address=Address("mqtt://broker", "broker", 1883, False, self.node, lambda: "", None, self.node),
            clock=clock,
            holding=clock,
            window=SendingWindow(
                live_limit=self._plan.live_limit,
                backlog_limit=self._plan.backlog_limit,
                packed_limit=self._plan.packed_limit,
                backlog_bytes=PACKED_BYTES,
                resend_after_s=5.0,
            ),
            max_wait_s=10.0,
            connect=self._connect,
            rng=self.rng,
        )
        clock.listen(sender.wake)
        log.on_renewed(
            lambda: self._oracle.knows(self.node, log.stream, {tag.number: tag.name for tag in log.known_tags})
        )
        begin_anew = log.renew

        def renew(trouble: Trouble, now_ms: int) -> Remains:
            self.count()  # what it has dropped is told by the file that goes
            stream = log.stream
            remains = begin_anew(trouble, now_ms)
            if remains.aside is not None:  # times that were still open will not be known any more
                entry = log.predecessors[remains.aside]
                with LogReader.open(self._path.with_name(entry.path), ended_at_ms=entry.set_aside_at_ms) as reader:
                    for batch in _all_of(reader):
                        self._oracle.read_again(stream, batch)
            return remains

        log.renew = renew  # type: ignore[method-assign]
        care = Care(log, clock, restamp=clock.renewed)
        await keeping.close_orphans()
        async with asyncio.TaskGroup() as tasks:
            scanning = tasks.create_task(self._scan(outlet, numbers))
            sending = tasks.create_task(sender.run())
            others = [tasks.create_task(work) for work in (clock.run(), keeping.run(), outlet.watch(), care.run())]
            await self._stop.wait()
            scanning.cancel()
            await outlet.drain()
            await keeping.end()
            sender.stop()
            await asyncio.wait((sending,))
            for task in others:
                task.cancel()
        await asyncio.to_thread(log.close)
        self.log = None
        assert self.process is not None
        self.process.alive = False

    def _open(self) -> SqliteLog:
        writer = type("SeededWriter", (LoopWriter,), {"rng": self.rng, "bite": self._plan.bite})
        return SqliteLog.open(self._path, writer, self._plan.limits)

    @property
    def _devices(self) -> tuple[str, ...]:
        return self._plan.agents[self.node]

    def _descriptions(self) -> list[TagDescription]:
        return [
            TagDescription(0, device, name, datatype)
            for device in self._devices
            for name, datatype in (NAMES | dict(SYNC_TAGS)).items()
        ]

    async def _scan(self, outlet: Outlet, numbers: dict[tuple[str, str], int]) -> None:
        """Make the scans that are due from now on; those of the time before are not made up for."""
        while self._scans and self._scans[0].at_s < self._loop.time():
            self._scans.pop(0)
        while self._scans:
            scan = self._scans[0]
            await asyncio.sleep(scan.at_s - self._loop.time())
            self._scans.pop(0)
            outlet.put(Scan(scan.device, tuple(self._readings(scan, numbers))))
        await asyncio.sleep(LAST_SCANS_S - self._loop.time())
        for device in self._devices:
            last = PlannedScan(self._loop.time(), self.node, device, len(NAMES))
            outlet.put(Scan(device, tuple(self._readings(last, numbers))))
        self._made_last = True

    def _readings(self, scan: PlannedScan, numbers: dict[tuple[str, str], int]) -> list[Reading]:
        now_ms = self._stamps.wall_ms()
        readings = []
        for name in self.rng.sample(list(NAMES), scan.readings):
            self._serial += 1
            tag = numbers[scan.device, name]
            value = self._value(name)
            qualities = [quality for quality in Quality if value is not None or quality is not Quality.GOOD]
            taken_at_ms = max(0, now_ms + self._serial)
            self._oracle.offered(self.node, scan.device, name, taken_at_ms)
            readings.append(Reading(tag, taken_at_ms, value, self.rng.choice(qualities)))
        return readings

    def _value(self, name: str) -> Any:
        """Any value that a tag of that kind may have, odd ones rather often."""
        rng = self.rng
        if rng.random() < 0.1:
            return None
        if name == "pH/PV":
            word = rng.choice((rng.getrandbits(64), 0x7FF8_0000_0000_0001, 1 << 63, 0x401C_0000_0000_0000))
            return struct.unpack("<d", word.to_bytes(8, "little"))[0]
        if name == "Count":
            return rng.choice((0, -1, (1 << 53) + 1, -(1 << 63), rng.getrandbits(40)))
        if name == "Pump":
            return rng.random() < 0.5
        return rng.choice(("", "growth", "µ-Phase", "x" * self._plan.text_length))

    @asynccontextmanager
    async def _connect(self, address: Address, will: Publish, protocol: ProtocolVersion) -> AsyncIterator[Any]:
        """As `lms_agent.sending.connection.connect` does, on a simulated line."""
        process = self.process
        assert process is not None
        client = SimulatedClient(self._broker, self.node, will, is_alive=lambda: process.alive)
        try:
            await client.__aenter__()
        except MqttError as error:
            raise BrokerUnreachable(address.url, str(error)) from error
        self._client = client
        try:
            yield client
        except MqttError as error:
            client.abandon()
            raise explain_loss(address, error) from error
        except BaseException:
            client.abandon()
            raise
        await client.__aexit__(None, None, None)


def _with_spoilt_lists(image: dict[str, bytes]) -> dict[str, bytes]:
    """A disk as it was, but for the pages of two tables of its log; as it was if that has not all tables yet."""
    with TemporaryDirectory() as folder:
        for name in ("log.db", "log.db-wal"):
            if name in image:
                Path(folder, name).write_bytes(image[name])
        path = Path(folder, "log.db")
        connection = sqlite3.connect(path)
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            sql = "SELECT rootpage FROM sqlite_master WHERE tbl_name IN ('predecessors', 'origins')"
            pages = [page for (page,) in connection.execute(sql).fetchall()]
        except sqlite3.DatabaseError:
            return image
        finally:
            connection.close()
        data = bytearray(path.read_bytes())
        for page in pages:
            data[(page - 1) * PAGE_BYTES : page * PAGE_BYTES] = b"\xa5" * PAGE_BYTES
        return image | {"log.db": bytes(data), "log.db-wal": b""}
