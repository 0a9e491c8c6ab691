"""Leases of Sparkplug groups as session-level advisory locks of PostgreSQL: a worker that dies loses them at once.

Before it: `lms_cloud.telemetry.leases.sharing`, which says what is whose share. After it: `ingest`, `committing`,
`presence`, which see it as `Leases`. One database session of its own holds the locks of a worker:

    (class of the host, shard)            all groups of that shard are this worker's
    (class of the host, LEADER)           this worker holds the host's STATE
    (class of the host, MEMBER + pid)     this worker is alive: counts in the fair shares

Every second the session looks at who holds what, takes what is free and lets go what is beyond its share. A worker
that dies closes its session; one that is stopped or cut off stops using it, and the server ends it some seconds later
(`idle_session_timeout`). The worker itself holds its leases for invalid a little earlier than that, by the time since
the last answer, so it needs nobody to tell it. An open transaction that it leaves behind is ended by whoever follows.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import Any, Final, NamedTuple

import psycopg
import structlog
from psycopg import sql
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from lms_cloud.kernel.database import Database, database_url
from lms_cloud.telemetry.leases.leasing import BIRTHS_INTERVAL_S, AgentName
from lms_cloud.telemetry.leases.sharing import fair_share, lock_class, shard_of, to_take

TRUSTED: Final = 0.85
"""The part of that time for which the worker itself takes its leases for valid: clocks differ, answers take time."""
BEAT_S: Final = 1.0
LOOK_S: Final = 0.2
ORPHAN_S: Final = 2.0
LEADER: Final = 1 << 20
MEMBER: Final = 1 << 30
SESSION_NAME: Final = "lms-cloud ingest leases "
COMMITS_NAME: Final = "lms-cloud ingest commits "

_ERRORS: Final = (psycopg.Error, DBAPIError, PoolTimeout, OSError)
_log = structlog.get_logger(__name__)

GROUPS: Final = """
select properties ->> 'wire_id' from entities where entity_type = 'organization' and is_active
"""
LOCKS: Final = """
select pid, objid::bigint from pg_locks
where locktype = 'advisory' and granted and objsubid = 2 and classid = %s::bigint::oid
    and database = (select oid from pg_database where datname = current_database())
"""
TAKE: Final = "select id from unnest(%s::int[]) as wanted (id) where pg_try_advisory_lock(%s, id)"
LET_GO: Final = "select pg_advisory_unlock(%s, id) from unnest(%s::int[]) as held (id)"
_END_ORPHANS: Final = """
select pg_terminate_backend(c.pid) from pg_stat_activity c
where c.datname = current_database() and c.usename = current_user and starts_with(c.application_name, %(commits)s)
    and c.xact_start < now() - make_interval(secs => %(orphan_s)s)
    and not exists (select from pg_stat_activity s where s.datname = c.datname
        and s.application_name = %(session)s || substr(c.application_name, length(%(commits)s) + 1))
"""
_MAY_ASK = text("""
with known as (
    select a.id, a.organization_id, w.g, w.n
    from unnest(cast(:groups as text[]), cast(:nodes as text[])) as w (g, n)
    join entities o on o.entity_type = 'organization' and o.is_active and o.properties ->> 'wire_id' = w.g
    join entities a on a.entity_type = 'agent' and a.is_active and a.organization_id = o.id
        and a.properties ->> 'wire_id' = w.n
), asked as (
    insert into agent_status as s (agent_id, organization_id, births_asked_at)
    select id, organization_id, clock_timestamp() from known order by id
    on conflict (agent_id) do update set births_asked_at = excluded.births_asked_at
    where s.births_asked_at is null
        or s.births_asked_at <= excluded.births_asked_at - make_interval(secs => :interval_s)
    returning agent_id
)
select k.g, k.n from known k join asked on asked.agent_id = k.id
""")


class Held(NamedTuple):
    """Who holds what, as one session sees it.

    Attributes:
        shards: worker (backend pid) to its shards.
        leader: the worker that leads; None if none does.
    """

    shards: dict[int, set[int]]
    leader: int | None


def read_locks(rows: Iterable[tuple[int, int]]) -> Held:
    """Sort a host's advisory locks, given as (pid, second key)."""
    shards: dict[int, set[int]] = {}
    taken: list[tuple[int, int]] = []
    leader = None
    for pid, key in rows:
        if key >= MEMBER:
            shards.setdefault(pid, set())
        elif key == LEADER:
            leader = pid
        else:
            taken.append((pid, key))
    for pid, key in taken:
        shards.setdefault(pid, set()).add(key)
    return Held(shards, leader)


class PostgresLeases:
    """One worker's leases.

    Args:
        url: the database, as `lms_ingest`, on a real session: no pooler that shares sessions may stand between.
        database: the same, for short look-ups.
        host_id: whose workers share.
        worker: names this worker in the list of database sessions; at most 39 bytes.
        lease_s: after so long without a sign of life the server ends the session, and all its leases with it, in s.
        monotonic_s: tells durations, in seconds.

    Attributes:
        look_s: how often, between two beats, it is looked whether there is something to let go, in seconds.
    """

    look_s = LOOK_S

    def __init__(
        self,
        url: str,
        database: Database,
        *,
        host_id: str,
        worker: str,
        lease_s: float = 15.0,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = database_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        self._database = database
        self._class = lock_class(host_id)
        self._worker = worker
        self._lease_s = lease_s
        self._monotonic_s = monotonic_s
        self._pid = 0
        self._groups: frozenset[str] = frozenset()
        self._leaving: frozenset[str] = frozenset()
        self._shards: set[int] = set()
        self._done: set[int] = set()  # shards that may go
        self._before: set[int] = set()  # shards held until the session broke
        self._ready = False
        self._leading = False
        self._valid_until_s = 0.0
        self._sure = asyncio.Event()
        self._asked_to_beat = False
        self._took_s = 0.0
        self.changed = asyncio.Event()
        self.others = 0
        self.epoch = 0

    @property
    def groups(self) -> frozenset[str] | None:
        """The groups that are this worker's, the leaving ones among them; in doubt, those that were."""
        return self._groups

    @property
    def leaving(self) -> frozenset[str]:
        """Groups beyond this worker's share."""
        return self._leaving

    @property
    def sure(self) -> bool:
        """Whether the session that holds the locks is known to be alive."""
        return self._sure.is_set() and self._monotonic_s() < self._valid_until_s

    @property
    def leading(self) -> bool:
        """Whether this worker is the leader; while in doubt, whether it was."""
        return self._leading

    def hears(self, group: str) -> bool:
        """Whether new messages of a group are to be taken in; not after a standstill of this very process."""
        if self._sure.is_set() and not self.sure:
            return False
        return group in self._groups and group not in self._leaving

    def holds(self, group: str) -> bool:
        """Whether a group's batches may be committed and acknowledged now."""
        return self.sure and group in self._groups

    async def settled(self) -> None:
        """Wait until it is known what this worker holds."""
        while not self.sure:
            self._asked_to_beat = True
            if self._sure.is_set():  # stood still: the next beat tells
                await asyncio.sleep(self.look_s)
            else:
                await self._sure.wait()

    def let_go(self, groups: Iterable[str]) -> None:
        """Another worker may have these."""
        self._done.update(shard_of(group) for group in groups if group in self._leaving)
        self._asked_to_beat = True

    def may_lead(self, ready: bool) -> None:
        """Take the lead when it is free, or give it back."""
        if ready != self._ready:
            self._ready = ready
            self._asked_to_beat = True

    async def may_ask(self, agents: Collection[AgentName]) -> list[AgentName]:
        """Those that no worker has asked in the last seconds, of those that the fleet knows.

        Raises:
            sqlalchemy.exc.DBAPIError: the database did not answer.
        """
        values: dict[str, Any] = {"groups": [group for group, _ in agents], "nodes": [node for _, node in agents]}
        values["interval_s"] = BIRTHS_INTERVAL_S
        async with self._database.unit_of_work(None) as uow:
            return [(group, node) for group, node in await uow.session.execute(_MAY_ASK, values)]

    async def run(self) -> None:
        """Keep the leases, until cancelled."""
        failures = 0
        while True:
            try:
                await self._live_one_session()
            except _ERRORS as error:
                failures = 0 if self._sure.is_set() else failures + 1
                _log.warning("no database session for the leases", attempt=failures, why=" ".join(str(error).split()))
            self._lose()
            await asyncio.sleep(min(5.0, 0.05 * 2 ** min(failures, 10)))

    def _lose(self) -> None:
        """The session is gone, and with it every lease: until the next one tells, all is in doubt."""
        self._before |= self._shards
        self._shards = set()
        self._done = set()
        self._sure.clear()
        self.epoch += 1
        self.changed.set()

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        return await psycopg.AsyncConnection.connect(
            self._url,
            autocommit=True,
            application_name=SESSION_NAME + self._worker,
            connect_timeout=5,
            tcp_user_timeout=10_000,
        )

    async def _live_one_session(self) -> None:
        async with asyncio.timeout(self._lease_s):
            connection = await self._connect()
        try:
            async with asyncio.timeout(self._lease_s):
                await self._begin(connection)
            while True:
                began_s = self._monotonic_s()
                self._asked_to_beat = False
                async with asyncio.timeout(self._lease_s / 2):
                    await self._beat(connection)
                self._valid_until_s = began_s + self._lease_s * TRUSTED
                self._sure.set()
                await self._wait(connection)
        finally:
            with suppress(*_ERRORS):
                await connection.close()

    async def _begin(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._pid = connection.info.backend_pid
        await connection.execute(
            "select set_config('idle_session_timeout', %s, false)", [f"{int(self._lease_s * 1000)}"]
        )
        await connection.execute(sql.SQL("listen {}").format(sql.Identifier(self._channel)))
        await connection.execute("select pg_advisory_lock(%s, %s)", [self._class, MEMBER + self._pid])

    @property
    def _channel(self) -> str:
        return f"lms_ingest_{self._class}"

    async def _wait(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Until the next beat is due, or there is something to do before. Notices a lost session."""
        until_s = self._monotonic_s() + BEAT_S
        while not self._asked_to_beat and self._monotonic_s() < until_s:
            async for _ in connection.notifies(timeout=self.look_s, stop_after=1):
                return

    async def _beat(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Look at who holds what; take, and let go."""
        groups: dict[int, set[str]] = {}
        for (group,) in await (await connection.execute(GROUPS)).fetchall():
            groups.setdefault(shard_of(group), set()).add(group)
        held = read_locks(await (await connection.execute(LOCKS, [self._class])).fetchall())
        mine = held.shards.get(self._pid, set())
        leading = held.leader == self._pid
        gone = (self._done | (mine - groups.keys())) & mine
        if leading and not self._ready:
            await self._unlock(connection, {*gone, LEADER})
            leading = False
        elif gone:
            await self._unlock(connection, gone)
        mine -= gone
        self._done -= gone
        taken = set().union(*held.shards.values())
        share = fair_share(
            self._pid, {pid: len(shards & groups.keys()) for pid, shards in held.shards.items()}, len(groups)
        )
        wanted = to_take(share - len(mine), groups.keys() - taken, self._before, start=self._pid * 61)
        if self._ready and held.leader is None:
            wanted.append(LEADER)
        if wanted:
            got = {key for (key,) in await (await connection.execute(TAKE, [wanted, self._class])).fetchall()}
            leading = leading or LEADER in got
            mine |= got - {LEADER}
            if got:
                self._took_s = self._monotonic_s()
        if self._monotonic_s() - self._took_s < 2 * self._lease_s:
            await self._end_orphans(connection)
        self._before = set()
        self._shards = mine
        self.others = len(held.shards) - 1
        leaving = set(sorted(mine)[share:]) if len(mine) > share else set()
        self._tell(mine, leaving, groups, leading=leading)

    async def _unlock(self, connection: psycopg.AsyncConnection[Any], keys: set[int]) -> None:
        await connection.execute(LET_GO, [self._class, sorted(keys)])
        await connection.execute("select pg_notify(%s, '')", [self._channel])

    async def _end_orphans(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """End transactions of workers whose leases are gone: they would hold rows that their followers need."""
        values = {"commits": COMMITS_NAME, "session": SESSION_NAME, "orphan_s": ORPHAN_S}
        try:
            ended = await (await connection.execute(_END_ORPHANS, values)).fetchall()
        except psycopg.errors.InsufficientPrivilege as error:
            _log.warning("a dead worker's transaction cannot be ended: do all use one login?", why=str(error))
            return
        if ended:
            _log.warning("ended what a dead worker left open", transactions=len(ended))

    def _tell(self, mine: set[int], leaving: set[int], groups: dict[int, set[str]], *, leading: bool) -> None:
        """Make known what changed, in the log as well."""
        now = frozenset().union(*(groups[shard] for shard in mine))
        going = frozenset().union(*(groups[shard] for shard in leaving))
        if (now, going, leading) == (self._groups, self._leaving, self._leading) and self._sure.is_set():
            return
        self._groups, self._leaving, self._leading = now, going, leading
        self.changed.set()
        _log.info(
            "leases",
            worker=self._worker,
            leads=leading,
            groups=len(now),
            leaving=len(going),
            other_workers=self.others,
            names=sorted(now)[:20],
        )
