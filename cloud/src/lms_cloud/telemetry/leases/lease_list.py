"""Who holds what: the ingest workers of a host as the database's lists of sessions and locks show them.

After it: `lms-cloud ingest status`, and completeness. What it reads is what
`lms_cloud.telemetry.leases.postgres_leases` holds.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import text

from lms_cloud.kernel.database import Database, UnitOfWork
from lms_cloud.telemetry.leases.postgres_leases import GROUPS, LEADER, LOCKS, MEMBER, SESSION_NAME, read_locks
from lms_cloud.telemetry.leases.sharing import lock_class, shard_of

_SESSIONS = text("""
select pid, application_name, backend_start from pg_stat_activity
where datname = current_database() and starts_with(application_name, :name)
""")
_STATE = text("""
select coalesce(bool_or(objid::bigint = :leader), false) as leads,
    coalesce(bool_or(objid::bigint >= :member), false) as runs
from pg_locks where locktype = 'advisory' and granted and objsubid = 2
    and database = (select oid from pg_database where datname = current_database())
""")


@dataclass(frozen=True, slots=True)
class WorkerLeases:
    """One worker that is alive.

    Attributes:
        worker: machine, process and a random part.
        since: when its database session began; None where the asking account may not see that.
        leads: whether it holds the host's STATE.
        groups: wire ids of the organizations that it takes in, sorted.
    """

    worker: str
    since: datetime | None
    leads: bool
    groups: list[str]


async def list_leases(database: Database, host_id: str) -> list[WorkerLeases]:
    """All live workers of a host, by name.

    Args:
        database: as the owner.
        host_id: the host's id, as in LMS_HOST_ID.
    """
    async with database.unit_of_work(None) as uow:
        connection = await uow.driver_connection()
        groups = [group for (group,) in await (await connection.execute(GROUPS)).fetchall()]
        held = read_locks(await (await connection.execute(LOCKS, [lock_class(host_id)])).fetchall())
        sessions = (await uow.session.execute(_SESSIONS, {"name": SESSION_NAME})).all()
    names = {pid: (name.removeprefix(SESSION_NAME), since) for pid, name, since in sessions}
    found = [
        WorkerLeases(*names[pid], held.leader == pid, sorted(group for group in groups if shard_of(group) in shards))
        for pid, shards in held.shards.items()
        if pid in names
    ]
    return sorted(found, key=lambda each: each.worker)


async def ingest_state(uow: UnitOfWork) -> Literal["away", "deaf", "hearing"]:
    """Whether no ingest worker runs, none hears the broker, or one does: only who hears it may lead.

    Args:
        uow: of any role, as every role may look at the locks.
    """
    found = (await uow.session.execute(_STATE, {"leader": LEADER, "member": MEMBER})).one()
    return "hearing" if found.leads else "deaf" if found.runs else "away"
