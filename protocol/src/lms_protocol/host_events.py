"""What a host has heard of an edge node: the events that `lms_protocol.host` makes of messages.

They go to `lms_cloud.telemetry.ingest`, which writes them down.
"""

from typing import NamedTuple, TypeAlias
from uuid import UUID

from lms_protocol.batches import RECORD_2, remarks
from lms_protocol.births import BirthMetric
from lms_protocol.columns import Columns
from lms_protocol.messages import HostState, packed_payload
from lms_protocol.packing import PackedBatch, pack
from lms_protocol.reading import ClockRecord, Gap, Origin, Reading, TagDescription
from lms_protocol.topics import MessageType, NodeTopic


class NodeBorn(NamedTuple):
    """An edge node has announced itself.

    Attributes:
        stream: the identity of its log, None for a node without acknowledged delivery.
        acked: the highest batch number that it knows as acknowledged.
        tags, readings: what the birth says of the node itself (other makers' nodes).
        head: the number of its log's last batch; None if it does not say.
        metrics: all of the birth, with what is needed to decode data that refers to it.
    """

    group: str
    node: str
    stream: UUID | None
    acked: int
    bd_seq: int | None
    at_ms: int | None
    tags: tuple[TagDescription, ...]
    readings: tuple[Reading, ...]
    head: int | None = None
    metrics: tuple[BirthMetric, ...] = ()


class DeviceBorn(NamedTuple):
    """A device has announced itself, with all its tags.

    Attributes:
        readings: the values in the birth. Of a node with a stream they are repetitions of logged readings, to be shown
            perhaps but not to be stored; of another maker's node they are data.
        metrics: all of the birth, with what is needed to decode data that refers to it.
    """

    group: str
    node: str
    device: str
    stream: UUID | None
    at_ms: int | None
    tags: tuple[TagDescription, ...]
    readings: tuple[Reading, ...]
    metrics: tuple[BirthMetric, ...] = ()


class DataReceived(NamedTuple):
    """Readings have come.

    Attributes:
        device: None for readings of the node itself.
        stream, number, digest: identity of the batch; all None for a node without acknowledged delivery. Of a batch
            whose times could be corrected, `digest` is that of what was logged (`Batch.logged`): it stays the same
            whatever the times become.
        content: then the digest of what it says now.
        readings, gaps: `Reading.tag` is the number in the birth's `TagDescription`.
        historical: whether the batch was sent late.
        clock: the agent's clock from this batch on, if it has changed.
        packed: whether it came with others in one message; see `alone`.
        origin: where it was logged first, of a batch that was logged anew.
    """

    group: str
    node: str
    device: str | None
    stream: UUID | None
    number: int | None
    digest: bytes | None
    readings: Columns
    gaps: tuple[Gap, ...]
    historical: bool
    clock: ClockRecord | None = None
    packed: bool = False
    origin: Origin | None = None
    content: bytes | None = None

    def alone(self) -> tuple[str, bytes]:
        """Topic and payload of a message with this batch only, for whoever keeps one of many that came packed."""
        record = b"".join((RECORD_2, self.readings.data, remarks(self.gaps, self.clock, self.origin)))
        logged = None if self.content is None else self.digest
        return alone_in_a_message(
            self.group, self.node, PackedBatch(self.number or 0, self.device or "", record, logged)
        )


class NodeDied(NamedTuple):
    """An edge node is offline, and with it all its devices."""

    group: str
    node: str
    at_ms: int | None


class DeviceDied(NamedTuple):
    """A device is offline."""

    group: str
    node: str
    device: str
    at_ms: int | None


class RebirthWanted(NamedTuple):
    """Send `rebirth_command` to this node: something is unknown that only births can tell. Already rate-limited."""

    group: str
    node: str
    reason: str


class Malformed(NamedTuple):
    """A message that cannot be used; keep its bytes.

    Attributes:
        stream, number: of the batch, where they could still be read, so that it can be acknowledged.
    """

    topic: str
    payload: bytes
    reason: str
    group: str | None = None
    node: str | None = None
    device: str | None = None
    stream: UUID | None = None
    number: int | None = None


HostEvent: TypeAlias = (
    NodeBorn | DeviceBorn | DataReceived | NodeDied | DeviceDied | RebirthWanted | Malformed | HostState
)


def alone_in_a_message(group: str, node: str, batch: PackedBatch) -> tuple[str, bytes]:
    """One batch as a message of its device, which tells more of it than the node's that it came in."""
    logged = {} if batch.logged is None else {batch.number: batch.logged}
    payload = packed_payload(pack([batch]), 0, None, logged=logged)
    return str(NodeTopic(group, MessageType.DDATA, node, batch.device)), payload
