"""The kinds of fault: each is a method with the name that a plan uses.

What lasts ends by itself, at `FAULTS_END_S` at the latest; `World` does the rest when it calms down.
"""

from random import Random
from typing import Any

from simulation.broker import Broker
from simulation.cloud import Worker
from simulation.database import MemoryDatabase
from simulation.leases import LockServer
from simulation.loop import VirtualLoop
from simulation.machine import Machine
from simulation.plan import FAULTS_END_S, Fault, Plan

FULL = 13
"""SQLite's code for a full disk."""


class Faults:
    """What can go wrong in a world."""

    plan: Plan
    loop: VirtualLoop
    rng: Random
    broker: Broker
    database: MemoryDatabase
    locks: LockServer
    machines: dict[str, Machine]
    workers: dict[str, Worker]

    def kill_agent(self, fault: Fault) -> None:
        """kill -9, some steps later; it starts again after a while."""
        self.machines[fault.target].kill(int(fault.amount), power=False)
        self._after(fault, self.machines[fault.target].boot)

    def cut_power(self, fault: Fault) -> None:
        """The power goes, some steps later, and with it what the disk had not synced."""
        self.machines[fault.target].kill(int(fault.amount), power=True)
        self._after(fault, self.machines[fault.target].boot)

    def kill_agent_in_disk(self, fault: Fault) -> None:
        """kill -9 in the midst of a transaction."""
        self.machines[fault.target].kill_in_disk(int(fault.amount), power=False)
        self._after(fault, self.machines[fault.target].boot)

    def cut_power_in_disk(self, fault: Fault) -> None:
        """The power goes in the midst of a transaction."""
        self.machines[fault.target].kill_in_disk(int(fault.amount), power=True)
        self._after(fault, self.machines[fault.target].boot)

    def bring_back(self, fault: Fault) -> None:
        """The disk is copied; after a while the copy takes its place, as when a card is restored from an image."""
        self.machines[fault.target].remember_image()
        self._after(fault, self.machines[fault.target].bring_back)

    def spoil_lists(self, fault: Fault) -> None:
        """The pages that name the logs set aside earlier are damaged, and the agent starts."""
        self._after(fault, self.machines[fault.target].spoil_lists)

    def stop_agent(self, fault: Fault) -> None:
        """It is stopped in good order."""
        self.machines[fault.target].stop()
        self._after(fault, self._boot_stopped, self.machines[fault.target])

    def fill_disk(self, fault: Fault) -> None:
        """The disk is full for a while."""
        disk = self.machines[fault.target].disk
        disk.refuses = FULL
        self._after(fault, setattr, disk, "refuses", 0)

    def kill_worker(self, fault: Fault) -> None:
        """An ingest worker dies, some steps later."""
        self.workers[fault.target].kill(int(fault.amount))
        self._after(fault, self.workers[fault.target].boot)

    def stop_worker(self, fault: Fault) -> None:
        """An ingest worker is stopped in good order."""
        self.workers[fault.target].stop()
        self._after(fault, self._boot_stopped, self.workers[fault.target])

    def cut_link(self, fault: Fault) -> None:
        """A line is cut: the connection is reset, and new ones are refused for a while."""
        self.broker.links[fault.target].down = True
        self.broker.cut(fault.target)
        self._after(fault, self._heal_link, fault.target)

    def hang_link(self, fault: Fault) -> None:
        """A line swallows everything for a while."""
        self.broker.links[fault.target].hangs = True
        self._after(fault, self._heal_link, fault.target)

    def slow_link(self, fault: Fault) -> None:
        """A line is slow for a while."""
        self.broker.links[fault.target].bytes_s = fault.amount
        self._after(fault, self._heal_link, fault.target)

    def step_clock(self, fault: Fault) -> None:
        """A clock is set."""
        one = self.machines.get(fault.target) or self.workers[fault.target]
        one.clock.offset_ms += int(fault.amount)

    def lose_messages(self, fault: Fault) -> None:
        """Messages of QoS 0 are lost, some."""
        self.broker.weather.lost = fault.amount
        self._after(fault, setattr, self.broker.weather, "lost", 0.0)

    def double_messages(self, fault: Fault) -> None:
        """Messages come twice, some."""
        self.broker.weather.doubled = fault.amount
        self._after(fault, setattr, self.broker.weather, "doubled", 0.0)

    def delay_messages(self, fault: Fault) -> None:
        """Messages come late and out of order, some."""
        self.broker.weather.late_s = fault.amount
        self._after(fault, setattr, self.broker.weather, "late_s", 0.0)

    def restart_broker(self, fault: Fault) -> None:
        """The broker dies and comes back, with or without what it retained."""
        self.broker.restart(forget=bool(fault.amount))
        self.broker.up = False
        self._after(fault, setattr, self.broker, "up", True)

    def lose_database(self, fault: Fault) -> None:
        """The database is away for a while."""
        self.database.faults.away = True
        self.locks.end_all()
        self._after(fault, setattr, self.database.faults, "away", False)

    def end_lease(self, fault: Fault) -> None:
        """The database session that holds a worker's leases is ended."""
        self.locks.end_of(fault.target)

    def cut_off_lease(self, fault: Fault) -> None:
        """The same session hangs for a while; the server ends it some time, and the worker must know by itself."""
        self.locks.cut_off.add(fault.target)
        self._after(fault, self.locks.cut_off.discard, fault.target)

    def slow_database(self, fault: Fault) -> None:
        """The database takes its time for a while."""
        self.database.faults.slow_s = 2.0
        self._after(fault, setattr, self.database.faults, "slow_s", 0.003)

    def break_before_commit(self, fault: Fault) -> None:
        """The connection breaks before the next commits are done."""
        self.database.faults.broken_before += int(fault.amount)

    def break_after_commit(self, fault: Fault) -> None:
        """The connection breaks when the next commits are done, so that nobody learns of it."""
        self.database.faults.broken_after += int(fault.amount)

    def _after(self, fault: Fault, act: Any, *args: Any) -> None:
        if self.plan.live_within_s is not None and fault.kind == "slow_link":
            return  # for good
        at_s = min(fault.at_s + fault.for_s, FAULTS_END_S)
        self.loop.call_at(max(at_s, self.loop.time()), act, *args)

    def _heal_link(self, name: str) -> None:
        link = self.broker.links[name]
        was_hanging, link.hangs, link.down, link.bytes_s = link.hangs, False, False, 1_000_000.0
        if was_hanging and self.rng.random() < 0.5:
            self.broker.cut(name)  # a gateway that forgot the connection meanwhile

    def _boot_stopped(self, one: Machine | Worker) -> None:
        if one.running and not self.broker.loop.is_closed():
            self.loop.call_later(0.5, self._boot_stopped, one)  # as systemd does: only once it has ended
        else:
            one.boot()
