"""A plan, run: everything is built, goes wrong as planned, calms down, and is judged.

Each kind of fault is a method of `World` with its name.
"""

import asyncio
import gc
import shutil
import sqlite3
import tempfile
import traceback
from collections import deque
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

from lms_agent.log.connecting import set_meta
from lms_agent.log.sqlite_log import SqliteLog

from simulation.broker import Broker, Link
from simulation.cloud import Worker
from simulation.database import MemoryDatabase
from simulation.faults import Faults
from simulation.leases import LockServer
from simulation.listening import listening, quiet
from simulation.loop import VirtualLoop
from simulation.machine import LARGEST_PACK_BYTES, PACKED_BYTES, Machine
from simulation.oracle import Oracle, Violation
from simulation.plan import FAULTS_END_S, LIVE_FROM_S, Fault, Plan

CALM_S = 400.0
"""So long after the last fault all must be acknowledged: retries, keepalives and pauses are over by then."""
LOOK_EVERY_S = 1.0
TRACE_LENGTH = 200


@dataclass
class Result:
    """How a run went.

    Attributes:
        failure: what broke the promise; "" if nothing did.
        trace: the last events before that, oldest first.
        counts: what was done, so that nobody takes an idle run for a good one.
    """

    plan: Plan
    failure: str = ""
    trace: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


def run(plan: Plan, *, trace: bool = False) -> Result:
    """Run a plan; the same plan gives the same result, event by event.

    Args:
        trace: gather what the programs log, too.
    """
    result = Result(plan)
    gc_was_on = gc.isenabled()
    gc.disable()  # a run is short, and a collector that comes at its own times would be the one thing not repeated
    try:
        with quiet():
            _run(plan, result, trace=trace)
    finally:
        if gc_was_on:
            gc.enable()
    return result


def _run(plan: Plan, result: Result, *, trace: bool) -> None:
    folder = Path(tempfile.mkdtemp(prefix="lms-simulation-", dir=_fast_folder()))
    loop = VirtualLoop(Random(f"{plan.seed}:threads"))
    asyncio.set_event_loop(loop)
    world = World(plan, loop, folder)
    try:
        with listening(world.note) if trace else nullcontext():
            loop.run_until_complete(world.run())
    except Exception as error:
        result.failure = f"{type(error).__name__}: {error}"
        if not isinstance(error, Violation):
            result.failure += _where(error)
    finally:
        result.trace = list(world.events)
        result.counts = world.counts()
        world.dispose()
        loop.dispose()
        asyncio.set_event_loop(None)
        shutil.rmtree(folder, ignore_errors=True)


class World(Faults):
    """Agents, workers, broker and database, in one virtual time."""

    def __init__(self, plan: Plan, loop: VirtualLoop, folder: Path) -> None:
        self.plan = plan
        self.loop = loop
        self.events: deque[str] = deque(maxlen=TRACE_LENGTH)
        self.rng = Random(f"{plan.seed}:world")
        self.broker = Broker(loop, Random(f"{plan.seed}:broker"), self.note)
        self.database = MemoryDatabase(Random(f"{plan.seed}:database"), now_s=loop.time)
        self.oracle = Oracle(self.database, loop.time)
        self.broker.on_publish = self._heard
        self.machines: dict[str, Machine] = {}
        for node in plan.agents:
            (folder / node).mkdir()
            _install_log(folder / node, plan.seed, node)
            self.machines[node] = Machine(node, plan, loop, self.broker, self.oracle, folder / node)
        self.locks = LockServer(loop, self.database, plan.groups.values())
        self.workers = {name: Worker(name, plan, loop, self.broker, self.database, self.locks) for name in plan.workers}
        for name in (*plan.agents, *plan.workers):
            self.broker.links[name] = Link()
        self._broken: asyncio.Future[None] = loop.create_future()

    def note(self, what: str) -> None:
        """Write an event down."""
        self.events.append(f"{self.loop.time():8.3f} s  {what}")

    async def run(self) -> None:
        """From the first boot to the verdict.

        Raises:
            Violation: the promise is broken.
        """
        for one in (*self.workers.values(), *self.machines.values()):
            one.boot()
        for fault in self.plan.faults:
            self.loop.call_at(fault.at_s, self._strike, fault)
        await self._until(FAULTS_END_S + 1)
        self._calm()
        ended_s = self.loop.time() + CALM_S
        while not self._all_home():
            if self.loop.time() > ended_s:
                raise Violation(self._not_home())
            await self._until(self.loop.time() + LOOK_EVERY_S)
        for machine in self.machines.values():
            machine.read_again()
        self.oracle.judge()
        self.oracle.judge_remarks()
        for node in self.plan.of_one_time:
            self.oracle.judge_silence(node)
        if self.plan.live_within_s is not None:
            self.oracle.judge_lateness(LIVE_FROM_S, self.plan.live_within_s)

    def counts(self) -> dict[str, int]:
        """What was done."""
        for machine in self.machines.values():
            machine.count()
        return {
            "virtual seconds": int(self.loop.time()),
            "steps": self.loop.steps,
            "faults": len(self.plan.faults),
            "boots": sum(machine.boots for machine in self.machines.values()),
            "batches": sum(len(batches) for batches in self.oracle.logs.values()),
            "readings": len(self.database.readings),
            "commits": self.database.commits,
            "acknowledgements": self.oracle.checked_acknowledgements,
            "packs": self.oracle.packs,
            "batches corrected": self.oracle.corrected,
            "batches trimmed": sum(machine.trimmed for machine in self.machines.values()),
            "batches dropped": sum(machine.dropped for machine in self.machines.values()),
            "live batches in time": self.oracle.in_time,
        }

    def dispose(self) -> None:
        """Give everything back; what is still to happen has no effect."""
        self.broker.up = False
        self.broker.on_publish = lambda topic, payload: None
        for machine in self.machines.values():
            machine.dispose()

    async def _until(self, until_s: float) -> None:
        while (left_s := until_s - self.loop.time()) > 0:
            await asyncio.sleep(min(left_s, LOOK_EVERY_S))
            self._look()

    def _look(self) -> None:
        """What must hold at any time."""
        for failure in self.loop.failures:
            raise failure if isinstance(failure, BaseException) else Violation(failure)
        if self._broken.done():
            self._broken.result()
        for process in self.loop.processes:
            self._check_ended(process)
        for machine in self.machines.values():
            _check_agent(machine, self.plan)
        for worker in self.workers.values():
            _check_worker(worker)

    def _check_ended(self, process: Any) -> None:
        task = process.main
        if task is not None and task.done() and not task.cancelled() and task.exception() is not None:
            raise task.exception()

    def _heard(self, topic: str, payload: bytes) -> None:
        try:
            self.oracle.heard(topic, payload)
        except Violation as error:
            self.note(str(error))
            if not self._broken.done():
                self._broken.set_exception(error)

    def _all_home(self) -> bool:
        for machine in self.machines.values():
            machine.count()
        return (
            all(
                not machine.scans_left
                and machine.log is not None
                and machine.sender is not None
                and machine.running
                and machine.log.acked == machine.log.head
                and not any(entry.is_open for entry in machine.log.predecessors.values())
                and machine.keeping is not None
                and not machine.keeping.state.waiting
                and machine.outlet is not None
                and not machine.outlet.waiting
                for machine in self.machines.values()
            )
            and self.oracle.settled()
            and self.database.all_online(self.plan.agents)
        )

    def _not_home(self) -> str:
        parts = [
            f"{machine.node}: running {machine.running}, "
            + ("no log" if machine.log is None else f"acknowledged {machine.log.acked} of {machine.log.head}")
            for machine in self.machines.values()
        ]
        return f"{CALM_S:.0f} s after the last fault not all is acknowledged and online ({'; '.join(parts)})"

    def _strike(self, fault: Fault) -> None:
        self.note(f"FAULT {fault.kind} {fault.target} for {fault.for_s:.1f} s, amount {fault.amount:.4g}")
        getattr(self, fault.kind)(fault)

    def _calm(self) -> None:
        """Nothing goes wrong any more."""
        self.note("CALM")
        self.broker.up = True
        self.broker.weather.lost = self.broker.weather.doubled = self.broker.weather.late_s = 0.0
        if self.plan.live_within_s is None:
            for name in self.broker.links:
                self._heal_link(name)
        self.locks.cut_off.clear()
        self.database.faults.away = False
        self.database.faults.slow_s = 0.003
        self.database.faults.broken_before = self.database.faults.broken_after = 0
        for machine in self.machines.values():
            machine.disk.refuses = 0
            machine.disk.on_operation = lambda: None
            machine.hear_time_server()
            if machine.process is not None:
                machine.process.spare()
            machine.boot()
        for worker in self.workers.values():
            if worker.process is not None:
                worker.process.spare()
            worker.boot()


def _check_agent(machine: Machine, plan: Plan) -> None:
    """Memory is bounded."""
    if machine.sender is None or machine.keeping is None or machine.log is None:
        return
    window = machine.sender._window
    # A pack is begun as long as there is room, and may then fill the room once more.
    most = plan.live_limit + plan.backlog_limit + 2 * plan.packed_limit
    _within(f"{machine.node}: batches in flight", window.in_flight, most)
    _within(f"{machine.node}: bytes in flight, packed", window.under_way, PACKED_BYTES + LARGEST_PACK_BYTES)
    _within(
        f"{machine.node}: ranges in the window", len(window._backlog) + len(window._above), 2 * 64 + window.in_flight
    )
    _within(f"{machine.node}: readings waiting for the disk", machine.keeping.state.waiting, plan.room + 4)


def _check_worker(worker: Worker) -> None:
    if worker.ingest is None:
        return
    _within(f"{worker.name}: messages to send", len(worker.ingest._outgoing), 1000)
    _within(f"{worker.name}: events queued", len(worker.ingest.committer._queue), 2000)
    for node in worker.ingest._session._nodes.values():
        _within(f"{worker.name}: sequence numbers that came early", len(node.early), 256)


def _within(what: str, found: int, most: int) -> None:
    if found > most:
        raise Violation(f"{what}: {found}, at most {most} are allowed")


def _fast_folder() -> str | None:
    """A folder in memory, where there is one."""
    shared = Path("/dev/shm")
    return str(shared) if shared.is_dir() else None


_EMPTY_LOG: dict[str, bytes] = {}


def _install_log(folder: Path, seed: int, node: str) -> None:
    """A fresh log, as the agent itself makes it, but with a stream that follows from the seed."""
    if not _EMPTY_LOG:
        with tempfile.TemporaryDirectory() as made:
            SqliteLog.open(Path(made) / "log.db").close()
            _EMPTY_LOG["log.db"] = (Path(made) / "log.db").read_bytes()
    path = folder / "log.db"
    path.write_bytes(_EMPTY_LOG["log.db"])
    connection = sqlite3.connect(path, isolation_level=None)
    stream = UUID(int=Random(f"{seed}:{node}:stream").getrandbits(128), version=4)
    set_meta(connection, {"stream": str(stream)})
    connection.close()


def _where(error: BaseException) -> str:
    """The innermost place of an error, and what it was inside of."""
    if isinstance(error, BaseExceptionGroup):
        return "".join(f"\n  {type(each).__name__}: {each}{_where(each)}" for each in error.exceptions)
    return "\n" + "".join(traceback.format_exception(error)[-12:])
