"""From what a session heard to what a transaction writes: wire ids become entities, tags become series.

Before it: `lms_protocol.host`, whose events come in here in the order heard; after it:
`lms_cloud.telemetry.storage.transaction`. A chunk of events may be resolved again after a failure: nothing here
counts as done before the commit.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

import structlog
from lms_protocol.delivery import StreamLedger
from lms_protocol.errors import LmsError, PayloadError, TopicError
from lms_protocol.host_events import DataReceived, DeviceBorn, DeviceDied, HostEvent, Malformed, NodeBorn, NodeDied
from lms_protocol.messages import HostState
from lms_protocol.reading import TagDescription
from lms_protocol.topics import NodeTopic
from lms_protocol.topics import parse as parse_topic

from lms_cloud.fleet.directory import AgentEntry, BioreactorEntry
from lms_cloud.telemetry.columns import NotStorableError, check_storable
from lms_cloud.telemetry.incoming import (
    AgentStatusChange,
    Bioreactor,
    BirthRecord,
    DeadLetter,
    DeviceTags,
    Incoming,
    StatusChange,
    StreamBatch,
    Unreplayable,
    Work,
)

MAX_NUMBER = (1 << 63) - 1
OF_THE_NODE = ""
"""Stands among a node's devices for the node itself."""
_log = structlog.get_logger(__name__)


class FleetLookup(Protocol):
    """Whose wire ids and streams are; `lms_cloud.telemetry.ingest.directory.Directory` asks the database."""

    async def agent(self, group: str, node: str) -> AgentEntry | None:
        """The agent with those wire ids; None if there is none."""
        ...

    async def bioreactor(self, group: str, node: str, device: str) -> BioreactorEntry | None:
        """The bioreactor with that wire id, unless it is another agent's; None if there is none."""
        ...

    async def online_bioreactors(self, agent_id: UUID) -> list[Bioreactor]:
        """The bioreactors that this agent announced last and that count as online."""
        ...

    async def online_agents(self) -> list[tuple[str, str]]:
        """Group and node of every agent that counts as online, or that has a bioreactor that does."""
        ...

    async def stream(self, agent: AgentEntry | BioreactorEntry, stream: UUID) -> tuple[UUID, StreamLedger]:
        """Whose a stream is, and what of it is committed. A stream not seen before becomes this agent's."""
        ...


class SeriesRegister(Protocol):
    """What tags hang on; `lms_cloud.telemetry.ingest.births.TagRegister` keeps it in the database."""

    async def register(self, bioreactor: BioreactorEntry, tags: Sequence[TagDescription]) -> DeviceTags:
        """The series of a birth's tags, made where they are missing."""
        ...


class Replay(NamedTuple):
    """A dead letter was read again.

    Attributes:
        letter: which.
        incoming: what it says, ready to be stored; None if it still cannot be.
        refusal: why not.
    """

    group: str
    node: str
    letter: UUID
    incoming: Incoming | None
    refusal: str


class Heard(NamedTuple):
    """An event, and the message that it came from."""

    event: HostEvent | Replay
    topic: str
    payload: bytes
    at: datetime

    @property
    def group(self) -> str | None:
        """Wire id of the organization that it comes from; None where the topic names none."""
        return None if isinstance(self.event, HostState) else self.event.group

    @property
    def readings(self) -> int:
        """How many readings it brings."""
        return len(self.event.readings) if isinstance(self.event, DataReceived) else 0

    @property
    def size(self) -> int:
        """How many bytes it keeps in memory; of many batches in one message, each its own."""
        if isinstance(self.event, DataReceived) and self.event.packed:
            return len(self.event.readings.data)
        return len(self.payload)


class Node(NamedTuple):
    """Wire ids of an agent: where acknowledgements go."""

    group: str
    node: str


@dataclass(slots=True)
class _Session:
    """One agent's births, as far as they are known. `tags` by device."""

    stream: UUID | None
    tags: dict[str, tuple[TagDescription, ...]] = field(default_factory=dict)
    births: dict[str, BirthRecord] = field(default_factory=dict)
    known: dict[str, tuple[UUID, DeviceTags]] = field(default_factory=dict)


@dataclass(slots=True)
class Resolved:
    """What a chunk of events comes to.

    Attributes:
        born: streams whose agents are to be told what is committed.
        birthless: agents whose data cannot be read, as their births were heard but not kept: to be asked again.
        strange: batches whose stream belongs to another agent: to be refused.
        unknown: how many messages came from senders that the fleet does not know, by topic.
    """

    batches: list[Incoming] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    statuses: list[StatusChange] = field(default_factory=list)
    agents: list[AgentStatusChange] = field(default_factory=list)
    born: list[tuple[Node, UUID]] = field(default_factory=list)
    unreplayable: list[Unreplayable] = field(default_factory=list)
    birthless: set[Node] = field(default_factory=set)
    strange: list[tuple[Node, StreamBatch]] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)

    def work(self) -> Work:
        """What of it has to be written."""
        return Work(self.batches, self.letters, self.statuses, self.agents, self.unreplayable)


class Resolver:
    """Keeps what the births told, and turns events into work.

    Attributes:
        ledgers: what is committed of each stream heard from; the caller notes each commit in them.
    """

    def __init__(self, directory: FleetLookup, register: SeriesRegister) -> None:
        self._directory = directory
        self._register = register
        self._sessions: dict[Node, _Session] = {}
        self.ledgers: dict[UUID, StreamLedger] = {}
        self._owners: dict[UUID, UUID] = {}
        self._groups: dict[UUID, str] = {}

    def forget_streams(self) -> None:
        """Load every stream's ledger anew when it is next needed: another worker may have committed meanwhile."""
        self.ledgers.clear()
        self._owners.clear()
        self._groups.clear()

    def forget(self, group: str) -> None:
        """Forget all of a group: another worker follows its agents now."""
        for node in [node for node in self._sessions if node.group == group]:
            del self._sessions[node]
        for stream in [stream for stream, home in self._groups.items() if home == group]:
            del self.ledgers[stream], self._owners[stream], self._groups[stream]

    async def resolve(self, heard: Sequence[Heard]) -> Resolved:
        """Look up and register all that a chunk of events needs.

        Raises:
            sqlalchemy.exc.DBAPIError, psycopg.Error: the database did not answer; ask again.
        """
        resolved = Resolved()
        for each in heard:
            try:
                await self._resolve(each, resolved)
            except LmsError as error:
                # A birth that cannot be registered is registered with the first data that needs it, if it can be.
                _log.error("message not used", topic=each.topic, why=str(error))
                resolved.unknown[each.topic] += 1
        return resolved

    async def _resolve(self, heard: Heard, resolved: Resolved) -> None:
        event = heard.event
        if isinstance(event, DataReceived):
            await self._data(heard, event, resolved)
        elif isinstance(event, NodeBorn):
            await self._node_born(heard, event, resolved)
        elif isinstance(event, DeviceBorn):
            await self._device_born(heard, event, resolved)
        elif isinstance(event, NodeDied):
            await self._node_died(heard, event, resolved)
        elif isinstance(event, DeviceDied):
            await self._device_died(heard, event, resolved)
        elif isinstance(event, Malformed):
            await self._malformed(event, resolved)
        elif isinstance(event, Replay):
            await self._replay(event, resolved)

    async def _replay(self, event: Replay, resolved: Resolved) -> None:
        agent = await self._directory.agent(event.group, event.node) if event.incoming else None
        key = event.incoming and event.incoming.key
        if event.incoming is None:
            resolved.unreplayable.append(Unreplayable(event.letter, event.refusal))
        elif agent is None or (key and not await self._own_stream(agent, key.stream)):
            resolved.unreplayable.append(Unreplayable(event.letter, "its agent, or its stream, is no longer known"))
        else:
            resolved.batches.append(event.incoming)

    async def _node_born(self, heard: Heard, event: NodeBorn, resolved: Resolved) -> None:
        node = Node(event.group, event.node)
        self._sessions[node] = _Session(event.stream)
        agent = await self._directory.agent(*node)
        if agent is None:
            resolved.unknown[heard.topic] += 1
            return
        own = event.stream is not None and await self._own_stream(agent, event.stream)
        head = event.head if own and event.head is not None and event.head <= MAX_NUMBER else None
        resolved.agents.append(
            AgentStatusChange(agent.agent_id, agent.organization_id, True, heard.at, event.stream, head)
        )
        if event.stream is None and event.tags:
            await self._of_the_node(heard, event, resolved)
        if event.stream is not None and own:
            resolved.born.append((node, event.stream))
            committed = self.ledgers[event.stream]
            if event.acked > committed.acked and not committed.above:
                _log.warning(
                    "the agent knows more as acknowledged than the ledger holds: was the database restored?",
                    stream=str(event.stream),
                    agent=event.node,
                    agent_acked=event.acked,
                    ledger_acked=committed.acked,
                )

    async def _of_the_node(self, heard: Heard, event: NodeBorn, resolved: Resolved) -> None:
        """Take what another maker's node tells of itself as that of the bioreactor with the node's id, if any."""
        entry = await self._directory.bioreactor(event.group, event.node, event.node)
        if entry is None:
            return
        session = self._sessions[Node(event.group, event.node)]
        session.tags[OF_THE_NODE] = event.tags
        birth = session.births[OF_THE_NODE] = BirthRecord(None, event.metrics)
        tags = await self._tags(session, entry, OF_THE_NODE)
        home = _bioreactor(entry)
        resolved.statuses.append(StatusChange(home, entry.agent_id, True, heard.at))
        if event.readings and tags is not None:
            said = (event.readings, (), tags, False, event.node, heard.topic, heard.payload, birth)
            self._add(Incoming(home, None, b"", *said), resolved)

    async def _device_born(self, heard: Heard, event: DeviceBorn, resolved: Resolved) -> None:
        session = self._sessions.setdefault(Node(event.group, event.node), _Session(event.stream))
        session.tags[event.device] = event.tags
        birth = session.births[event.device] = BirthRecord(session.stream, event.metrics)
        session.known.pop(event.device, None)
        entry = await self._directory.bioreactor(event.group, event.node, event.device)
        if entry is None:
            resolved.unknown[heard.topic] += 1
            return
        tags = await self._tags(session, entry, event.device)
        home = _bioreactor(entry)
        resolved.statuses.append(StatusChange(home, entry.agent_id, True, heard.at))
        if event.stream is None and event.readings and tags is not None:
            # Of a node without acknowledged delivery the birth's values are data like any other.
            said = (event.readings, (), tags, False, event.node, heard.topic, heard.payload, birth)
            self._add(Incoming(home, None, b"", *said), resolved)

    async def _data(self, heard: Heard, event: DataReceived, resolved: Resolved) -> None:
        device = event.device or event.node
        entry = await self._directory.bioreactor(event.group, event.node, device)
        session = self._sessions.get(Node(event.group, event.node))
        tags = await self._tags(session, entry, event.device or OF_THE_NODE) if session and entry else None
        if not entry or tags is None:
            resolved.unknown[heard.topic] += 1
            if entry:
                resolved.birthless.add(Node(event.group, event.node))
            return
        key = None
        if event.stream is not None and event.number is not None:
            if not await self._own_stream(entry, event.stream):
                resolved.strange.append((Node(event.group, event.node), StreamBatch(event.stream, event.number)))
                return
            key = StreamBatch(event.stream, event.number)
        batch = Incoming(
            *(_bioreactor(entry), key, event.digest or b"", event.readings, event.gaps, tags, event.historical),
            *(
                event.node,
                heard.topic,
                heard.payload,
                session.births.get(event.device or OF_THE_NODE) if session else None,
            ),
            clock=event.clock,
            origin=event.origin,
            alone=event.alone if event.packed else None,
            content=event.content,
        )
        self._add(batch, resolved)

    def _add(self, batch: Incoming, resolved: Resolved) -> None:
        """Take a batch in, or set it aside if the database could not keep it."""
        try:
            _check(batch)
        except (NotStorableError, PayloadError) as error:
            key = batch.key if batch.key and 1 <= batch.key.number <= MAX_NUMBER else None
            home = batch.bioreactor
            resolved.letters.append(
                DeadLetter(
                    *("poison", *batch.kept, error.reason, home.organization_id, home, key, batch.node),
                    batch.birth,
                )
            )
        else:
            resolved.batches.append(batch)

    async def _node_died(self, heard: Heard, event: NodeDied, resolved: Resolved) -> None:
        self._sessions.pop(Node(event.group, event.node), None)
        agent = await self._directory.agent(event.group, event.node)
        if agent is None:
            resolved.unknown[heard.topic] += 1
            return
        resolved.agents.append(AgentStatusChange(agent.agent_id, agent.organization_id, False, heard.at, None))
        announced = {change.bioreactor for change in resolved.statuses if change.agent_id == agent.agent_id}
        for home in announced.union(await self._directory.online_bioreactors(agent.agent_id)):
            resolved.statuses.append(StatusChange(home, agent.agent_id, False, heard.at))

    async def _device_died(self, heard: Heard, event: DeviceDied, resolved: Resolved) -> None:
        entry = await self._directory.bioreactor(event.group, event.node, event.device)
        if entry is None:
            resolved.unknown[heard.topic] += 1
            return
        resolved.statuses.append(StatusChange(_bioreactor(entry), entry.agent_id, False, heard.at))

    async def _malformed(self, event: Malformed, resolved: Resolved) -> None:
        agent = await self._directory.agent(event.group, event.node) if event.group and event.node else None
        if agent is None:
            # What no agent of ours can have sent is counted, not kept: it would fill the table.
            resolved.unknown[event.topic] += 1
            return
        entry = await self._directory.bioreactor(agent.group, agent.node, event.device or agent.node)
        key = None
        numbered = event.stream is not None and event.number is not None and 1 <= event.number <= MAX_NUMBER
        if numbered and event.stream and event.number and await self._own_stream(agent, event.stream):
            key = StreamBatch(event.stream, event.number)
        home = entry and _bioreactor(entry)
        session = self._sessions.get(Node(agent.group, agent.node))
        birth = session.births.get(event.device or OF_THE_NODE) if session else None
        resolved.letters.append(
            DeadLetter(
                *("poison", event.topic, event.payload, event.reason, agent.organization_id, home, key, agent.node),
                birth,
            )
        )

    async def organization_of(self, topic: str) -> UUID | None:
        """Whose a message is, by its topic alone; None if no agent of ours can have sent it."""
        try:
            parsed = parse_topic(topic)
        except TopicError:
            return None
        agent = await self._directory.agent(parsed.group, parsed.node) if isinstance(parsed, NodeTopic) else None
        return agent and agent.organization_id

    async def _tags(self, session: _Session, entry: BioreactorEntry, device: str) -> DeviceTags | None:
        """The series of a device's tags, or of the node's own; None if the birth is not known here."""
        known = session.known.get(device)
        if known is None or known[0] != entry.bioreactor_id:
            described = session.tags.get(device)
            if described is None:
                return None
            known = session.known[device] = (
                entry.bioreactor_id,
                await self._register.register(entry, described),
            )
        return known[1]

    async def _own_stream(self, agent: AgentEntry | BioreactorEntry, stream: UUID) -> bool:
        """Whether the stream is this agent's; its ledger is loaded the first time."""
        owner = self._owners.get(stream)
        if owner is None:
            owner, ledger = await self._directory.stream(agent, stream)
            self._owners[stream] = owner
            self._groups[stream] = agent.group
            self.ledgers[stream] = ledger
            if owner != agent.agent_id:
                _log.error("stream is another agent's: was a log copied?", stream=str(stream), agent=agent.node)
        return owner == agent.agent_id


def _check(batch: Incoming) -> None:
    """Raises NotStorableError for a batch that the database could not keep."""
    if batch.key is not None and not 1 <= batch.key.number <= MAX_NUMBER:
        raise NotStorableError(f"{batch.key.number} is no batch number")
    columns = batch.columns
    check_storable(columns, batch.gaps)
    try:
        batch.tags.series_of(bytes(columns.tags))
    except KeyError as error:
        raise NotStorableError(f"tag {error.args[0]} has in its birth a name that no tag can have") from error


def _bioreactor(entry: BioreactorEntry) -> Bioreactor:
    return Bioreactor(entry.bioreactor_id, entry.organization_id, entry.group, entry.device)
