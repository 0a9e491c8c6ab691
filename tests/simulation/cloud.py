"""An ingest worker: the real one, on the simulated broker and database."""

from collections.abc import Callable
from random import Random
from typing import Any

import aiomqtt
from lms_cloud.kernel.settings import CloudSettings
from lms_cloud.telemetry.ingest.committing import AHEAD_READINGS
from lms_cloud.telemetry.ingest.worker import Backing, Ingest

from simulation.broker import Broker, SimulatedClient
from simulation.database import MemoryDatabase, MemoryFleet, MemoryStorage
from simulation.leases import LockServer, SimulatedLeases
from simulation.loop import Process, VirtualLoop
from simulation.machine import HOST, SimulatedClock
from simulation.plan import Plan

SETTINGS = CloudSettings(database_url="postgresql://ingest@nowhere/lms", mqtt_url="mqtt://broker:1883", host_id=HOST)  # type: ignore[arg-type]


class Worker:
    """One ingest worker; it can be stopped, killed between two steps, and started again."""

    def __init__(
        self, name: str, plan: Plan, loop: VirtualLoop, broker: Broker, database: MemoryDatabase, locks: LockServer
    ) -> None:
        self.name = name
        self.clock = SimulatedClock(loop)
        self.process: Process | None = None
        self.ingest: Ingest | None = None
        self._rng = Random(f"{plan.seed}:{name}")
        self._plan = plan
        self._loop = loop
        self._broker = broker
        self._database = database
        self._locks = locks
        self._boots = 0
        self._clients: list[SimulatedClient] = []

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self.process is not None and self.process.alive

    def boot(self) -> None:
        """Start it; it knows nothing of the one before."""
        if self.running:
            return
        self._boots += 1
        self.process = Process(self.name, self._loop)
        self.process.died.append(self._died)
        self.process.start(self._run())

    def stop(self) -> None:
        """Ask it to end in good order."""
        if self.running and self.ingest is not None:
            self.ingest.stop()

    def kill(self, steps: int) -> None:
        """Kill it after so many more steps."""
        if self.process is not None:
            self.process.kill_after(steps)

    def _died(self) -> None:
        for client in self._clients:
            client.abandon()
        self._clients.clear()

    async def _run(self) -> None:
        fleet = MemoryFleet(self._database, self._plan.groups, self._plan.agents)
        assert self.process is not None
        self.ingest = Ingest(
            SETTINGS,
            Backing(
                MemoryStorage(self._database),
                fleet,
                fleet,
                SimulatedLeases(self._locks, self.process, monotonic_s=self.clock.monotonic_s),
            ),
            open_client=self._open_client,
            now_ms=self.clock.wall_ms,
            monotonic_s=self.clock.monotonic_s,
            rng=self._rng,
            ahead_readings=1 if self._plan.seed % 2 else AHEAD_READINGS,  # with 1 there is a chunk ahead nearly always
        )
        await self.ingest.run()
        self.process.alive = False

    def _open_client(
        self,
        settings: CloudSettings,
        *,
        name: str,
        receive: Callable[[aiomqtt.Message], None],
        will: aiomqtt.Will | None = None,
    ) -> Any:
        process = self.process
        assert process is not None
        client_id = f"{self.name}-{self._boots}-{name}"
        client = SimulatedClient(self._broker, client_id, will, receive, is_alive=lambda: process.alive)
        self._clients.append(client)
        return client
