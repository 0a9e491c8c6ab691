"""What the wire ids in topics stand for: agents, bioreactors, streams. Read from the database, kept for a while.

Ingest asks here for every message; the database is asked again after `KEEP_S`, so that a bioreactor just made, or one
that has moved to another agent, is noticed without a restart.
"""

from collections.abc import Callable
from typing import NamedTuple
from uuid import UUID

from lms_protocol.delivery import StreamLedger
from lms_protocol.ranges import NumberRanges
from sqlalchemy import text

from lms_cloud.kernel.database import Database
from lms_cloud.telemetry.incoming import Bioreactor

KEEP_S = 10.0

_AGENT = text("""
select a.id, a.organization_id from entities o
join entities a on a.organization_id = o.id and a.entity_type = 'agent' and a.properties ->> 'wire_id' = :node
where o.entity_type = 'organization' and o.properties ->> 'wire_id' = :group and o.is_active and a.is_active
""")
_BIOREACTOR = text("""
select id from entities
where entity_type = 'bioreactor' and organization_id = :organization_id and properties ->> 'wire_id' = :device
    and is_active and coalesce(properties ->> 'agent_id', :agent_id) = :agent_id
""")
_STREAM = text("""
insert into streams (id, organization_id, agent_id) values (:stream, :organization_id, :agent_id)
on conflict (id) do update set id = excluded.id returning agent_id, acked
""")
_RANGES = text("""
select min(number), max(number) from (
    select number, number - row_number() over (order by number) as island
    from ledger where stream = :stream and number > :acked
) as numbered group by island
""")
_ADVANCE = text("update streams set acked = greatest(acked, :acked) where id = :stream")


class Agent(NamedTuple):
    """An agent as ingest knows it: entity ids, and its wire ids."""

    id: UUID
    organization_id: UUID
    group: str
    node: str


class Directory:
    """Looks up wire ids, and loads streams.

    Args:
        database: as `lms_ingest`.
        monotonic_s: tells how old an answer is.
    """

    def __init__(self, database: Database, monotonic_s: Callable[[], float]) -> None:
        self._database = database
        self._monotonic_s = monotonic_s
        self._agents: dict[tuple[str, str], tuple[float, Agent | None]] = {}
        self._bioreactors: dict[tuple[UUID, str], tuple[float, Bioreactor | None]] = {}

    async def agent(self, group: str, node: str) -> Agent | None:
        """The agent with those wire ids; None if there is none."""
        now_s = self._monotonic_s()
        kept = self._agents.get((group, node))
        if kept is None or now_s - kept[0] > KEEP_S:
            async with self._database.unit_of_work(None) as uow:
                row = (await uow.session.execute(_AGENT, {"group": group, "node": node})).one_or_none()
            kept = (now_s, None if row is None else Agent(row.id, row.organization_id, group, node))
            self._agents[group, node] = kept
        return kept[1]

    async def bioreactor(self, agent: Agent, device: str) -> Bioreactor | None:
        """The bioreactor with that wire id, unless it is another agent's; None if there is none."""
        now_s = self._monotonic_s()
        kept = self._bioreactors.get((agent.id, device))
        if kept is None or now_s - kept[0] > KEEP_S:
            values = {"organization_id": agent.organization_id, "device": device, "agent_id": str(agent.id)}
            async with self._database.unit_of_work(None) as uow:
                id_ = (await uow.session.execute(_BIOREACTOR, values)).scalar_one_or_none()
            kept = (now_s, None if id_ is None else Bioreactor(id_, agent.organization_id, agent.group, device))
            self._bioreactors[agent.id, device] = kept
        return kept[1]

    async def stream(self, agent: Agent, stream: UUID) -> StreamLedger | None:
        """What is committed of a stream, which is noted as the agent's; None if it is another agent's."""
        values = {"stream": stream, "organization_id": agent.organization_id, "agent_id": agent.id}
        async with self._database.unit_of_work(None) as uow:
            owner, acked = (await uow.session.execute(_STREAM, values)).one()
            if owner != agent.id:
                return None
            ranges = await uow.session.execute(_RANGES, {"stream": stream, "acked": acked})
            ledger = StreamLedger(acked, NumberRanges((first, last) for first, last in ranges))
            # Next time, fewer rows have to be read. Never more than what is committed already.
            await uow.session.execute(_ADVANCE, {"stream": stream, "acked": ledger.acked})
        return ledger
