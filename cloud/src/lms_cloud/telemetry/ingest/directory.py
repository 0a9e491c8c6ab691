"""What the wire ids in topics stand for: agents, bioreactors, streams. Read from the database, kept for a while.

Ingest asks here for every message; the database is asked again after a while, so that a bioreactor just made, or one
that has moved to another agent, is noticed without a restart.
"""

from collections.abc import Callable
from uuid import UUID

from lms_protocol.delivery import StreamLedger
from lms_protocol.ranges import NumberRanges
from sqlalchemy import text

from lms_cloud.fleet.directory import AgentEntry, BioreactorEntry, FleetDirectory
from lms_cloud.kernel.database import Database
from lms_cloud.telemetry.incoming import Bioreactor

KEEP_S = 60.0
KEEP_UNKNOWN_S = 5.0

_ONLINE_BIOREACTORS = text("""
select b.id, b.organization_id, o.properties ->> 'wire_id' as group, b.properties ->> 'wire_id' as device
from feeds f join entities b on b.id = f.bioreactor_id join entities o on o.id = b.organization_id
where f.agent_id = :agent_id and f.online
""")
_ONLINE_AGENTS = text("""
select o.properties ->> 'wire_id' as group, a.properties ->> 'wire_id' as node
from entities a join entities o on o.id = a.organization_id
where a.id in (select agent_id from agent_status where online union select agent_id from feeds where online)
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


class Directory:
    """Looks up wire ids, and loads streams.

    Args:
        database: as `lms_ingest`.
        fleet: knows agents and bioreactors.
        monotonic_s: tells how old an answer is.
    """

    def __init__(self, database: Database, fleet: FleetDirectory, monotonic_s: Callable[[], float]) -> None:
        self._database = database
        self._fleet = fleet
        self._monotonic_s = monotonic_s
        self._agents: dict[tuple[str, str], tuple[float, AgentEntry | None]] = {}
        self._bioreactors: dict[tuple[str, str, str], tuple[float, BioreactorEntry | None]] = {}

    async def agent(self, group: str, node: str) -> AgentEntry | None:
        """The agent with those wire ids; None if there is none."""
        kept = self._agents.get((group, node))
        if kept is None or kept[0] < self._monotonic_s():
            found = await self._fleet.agent(group, node)
            kept = self._agents[group, node] = (self._until_s(found), found)
        return kept[1]

    async def bioreactor(self, group: str, node: str, device: str) -> BioreactorEntry | None:
        """The bioreactor with that wire id, unless it is another agent's; None if there is none."""
        kept = self._bioreactors.get((group, node, device))
        if kept is None or kept[0] < self._monotonic_s():
            found = await self._fleet.bioreactor(group, node, device)
            kept = self._bioreactors[group, node, device] = (self._until_s(found), found)
        return kept[1]

    async def online_bioreactors(self, agent_id: UUID) -> list[Bioreactor]:
        """The bioreactors that this agent announced last and that count as online."""
        async with self._database.unit_of_work(None) as uow:
            rows = await uow.session.execute(_ONLINE_BIOREACTORS, {"agent_id": agent_id})
            return [Bioreactor(row.id, row.organization_id, row.group, row.device) for row in rows]

    async def online_agents(self) -> list[tuple[str, str]]:
        """Group and node of every agent that counts as online, or that has a bioreactor that does."""
        async with self._database.unit_of_work(None) as uow:
            return [(row.group, row.node) for row in await uow.session.execute(_ONLINE_AGENTS)]

    def _until_s(self, found: object) -> float:
        return self._monotonic_s() + (KEEP_S if found is not None else KEEP_UNKNOWN_S)

    async def stream(self, agent: AgentEntry | BioreactorEntry, stream: UUID) -> tuple[UUID, StreamLedger]:
        """Whose a stream is, and what of it is committed. A stream not seen before becomes this agent's."""
        values = {"stream": stream, "organization_id": agent.organization_id, "agent_id": agent.agent_id}
        async with self._database.unit_of_work(None) as uow:
            owner, acked = (await uow.session.execute(_STREAM, values)).one()
            ranges = await uow.session.execute(_RANGES, {"stream": stream, "acked": acked})
            ledger = StreamLedger(acked, NumberRanges((first, last) for first, last in ranges))
            # Next time, fewer rows have to be read. Never more than what is committed already.
            await uow.session.execute(_ADVANCE, {"stream": stream, "acked": ledger.acked})
        return owner, ledger
