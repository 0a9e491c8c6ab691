"""The ingest workers' leases: the real `PostgresLeases`, on a server that knows its advisory locks.

The server answers exactly the statements that `lms_cloud.telemetry.leases.postgres_leases` asks. A session ends with
its process, when the server is away, when it is ended from outside, or when nothing came from it for as long as it
allowed; whatever it held is free then, as in PostgreSQL.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from itertools import count
from typing import Any, NamedTuple

import psycopg
from lms_cloud.telemetry.leases import postgres_leases
from lms_cloud.telemetry.leases.leasing import BIRTHS_INTERVAL_S, AgentName
from lms_cloud.telemetry.leases.postgres_leases import PostgresLeases

from simulation.database import MemoryDatabase
from simulation.loop import Process, VirtualLoop

BROKEN = "the connection was closed by the server"


class LockServer:
    """Who holds which advisory locks."""

    def __init__(self, loop: VirtualLoop, database: MemoryDatabase, groups: Iterable[str]) -> None:
        self.loop = loop
        self.database = database
        self.groups = sorted(groups)
        self.sessions: dict[int, LockSession] = {}
        self.asked_s: dict[AgentName, float] = {}
        self.cut_off: set[str] = set()
        self._pids = count(100)

    def begin(self, process: Process) -> "LockSession":
        """A worker connects."""
        session = LockSession(self, next(self._pids), process)
        self.sessions[session.pid] = session
        process.died.append(lambda: self.end(session))
        return session

    def end(self, session: "LockSession") -> None:
        """A session is over, and what it held is free."""
        self.sessions.pop(session.pid, None)

    def end_all(self) -> None:
        """The server restarts."""
        self.sessions.clear()

    def end_of(self, worker: str) -> None:
        """An administrator ends a worker's session."""
        for session in list(self.sessions.values()):
            if session.process.name == worker:
                self.end(session)

    def holder(self, key: tuple[int, int]) -> "LockSession | None":
        """Who holds a lock."""
        self._expire()
        return next((session for session in self.sessions.values() if key in session.locks), None)

    def _expire(self) -> None:
        """End the sessions that were idle for too long."""
        now_s = self.loop.time()
        for session in list(self.sessions.values()):
            if session.idle_s is not None and now_s - session.heard_s > session.idle_s:
                self.end(session)

    def locks(self, class_: int) -> list[tuple[int, int]]:
        """The locks of a host, as (pid, key)."""
        self._expire()
        return [
            (session.pid, key)
            for session in self.sessions.values()
            for of, key in sorted(session.locks)
            if of == class_
        ]


class _Info(NamedTuple):
    backend_pid: int


class _Rows:
    def __init__(self, rows: list[Any]) -> None:
        self._rows = rows

    async def fetchall(self) -> list[Any]:
        """All of them."""
        return self._rows


class LockSession:
    """One database session: as much of a `psycopg.AsyncConnection` as the leases use."""

    def __init__(self, server: LockServer, pid: int, process: Process) -> None:
        self.pid = pid
        self.process = process
        self.locks: set[tuple[int, int]] = set()
        self.heard_s = server.loop.time()
        self.idle_s: float | None = None
        self.info = _Info(pid)
        self._server = server

    async def execute(self, statement: Any, values: Any = ()) -> _Rows:
        """Answer a statement of the leases.

        Raises:
            psycopg.OperationalError: the session is over.
        """
        await self._travel()
        self.heard_s = self._server.loop.time()
        return _Rows(self._answer(statement, values))

    async def notifies(self, *, timeout: float, stop_after: int) -> AsyncIterator[None]:
        """Nothing is told but by the clock."""
        await asyncio.sleep(timeout)
        self._check()
        for _ in range(0):
            yield

    async def close(self) -> None:
        """End it."""
        self._server.end(self)

    async def _travel(self) -> None:
        while self.process.name in self._server.cut_off:
            await asyncio.sleep(1.0)
        await asyncio.sleep(self._server.database.rng.expovariate(1 / 0.001))
        self._check()

    def _check(self) -> None:
        if self._server.database.faults.away or self.pid not in self._server.sessions:
            raise psycopg.OperationalError(BROKEN)

    def _answer(self, statement: Any, values: Any) -> list[Any]:
        server = self._server
        if statement == postgres_leases.GROUPS:
            return [(group,) for group in server.groups]
        if statement == postgres_leases.LOCKS:
            return server.locks(values[0])
        if statement == postgres_leases.TAKE:
            wanted, class_ = values
            got = [key for key in wanted if server.holder((class_, key)) in {None, self}]
            self.locks.update((class_, key) for key in got)
            return [(key,) for key in got]
        if statement == postgres_leases.LET_GO:
            class_, keys = values
            self.locks.difference_update((class_, key) for key in keys)
        elif isinstance(statement, str) and "pg_advisory_lock" in statement:
            self.locks.add((values[0], values[1]))
        elif isinstance(statement, str) and "idle_session_timeout" in statement:
            self.idle_s = int(values[0]) / 1000
        return []


class SimulatedLeases(PostgresLeases):
    """One worker's leases, on the simulated server; they look around less often, which is much of what a run costs."""

    look_s = 0.5

    def __init__(self, server: LockServer, process: Process, *, monotonic_s: Callable[[], float]) -> None:
        super().__init__(
            "postgresql://nobody@nowhere/lms",
            None,  # type: ignore[arg-type]  # asked for by `may_ask` alone, which is ours
            host_id="cloud",
            worker=process.name,
            lease_s=15.0,
            monotonic_s=monotonic_s,
        )
        self._server = server
        self._process = process

    async def _connect(self) -> Any:
        while self._process.name in self._server.cut_off:
            await asyncio.sleep(1.0)
        await self._server.database.answer()
        return self._server.begin(self._process)

    async def may_ask(self, agents: Collection[AgentName]) -> Sequence[AgentName]:  # type: ignore[override]
        """Those that no worker has asked in the last seconds."""
        await self._server.database.answer()
        now_s, asked_s = self._server.loop.time(), self._server.asked_s
        allowed = [each for each in agents if now_s - asked_s.get(each, -BIRTHS_INTERVAL_S) >= BIRTHS_INTERVAL_S]
        asked_s.update(dict.fromkeys(allowed, now_s))
        return allowed
