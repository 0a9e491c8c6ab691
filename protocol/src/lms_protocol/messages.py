"""What both ends of a session put on the broker: messages, the names of control metrics, and a host's STATE.

Neighbours: `lms_protocol.edge` and `lms_protocol.host`, the two ends.
"""

import json
from collections.abc import Mapping
from struct import Struct
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from uuid import UUID

from lms_protocol.batches import BATCH_NAME, CLOCK_NAME, GAP_NAME, LOGGED_NAME, ORIGIN_NAME
from lms_protocol.errors import PayloadError
from lms_protocol.reading import Datatype
from lms_protocol.sparkplug import PAYLOAD
from lms_protocol.topics import StateTopic

REBIRTH_NAME: Final = "Node Control/Rebirth"
BD_SEQ_NAME: Final = "bdSeq"
STREAM_NAME: Final = "Sync/Stream"
ACKED_NAME: Final = "Sync/Acked"
HEAD_NAME: Final = "Sync/Head"
ACKED_RANGES_NAME: Final = "Sync/AckedRanges"
SETTLED_NAME: Final = "Sync/Settled"
SETTLED_DIGESTS_NAME: Final = "Sync/SettledDigests"
REFUSED_NAME: Final = "Sync/Refused"
REFUSED_DIGEST_NAME: Final = "Sync/RefusedDigest"
ACCEPTS_NAME: Final = "Sync/Accepts"
PACKED_NAME: Final = "Sync/Packed"
COMMAND_NAME: Final = "Sync/Command"
SYNC_TAGS: Final[Mapping[str, Datatype]] = {
    BATCH_NAME: Datatype.UINT64,
    GAP_NAME: Datatype.STRING,
    CLOCK_NAME: Datatype.STRING,
    ORIGIN_NAME: Datatype.STRING,
    LOGGED_NAME: Datatype.STRING,
}
"""The metrics that acknowledged delivery adds to each device; the agent's log numbers them like any tag."""


class Publish(NamedTuple):
    """A message to publish."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False


class HostState(NamedTuple):
    """A host application said whether it is online."""

    host: str
    online: bool
    timestamp_ms: int


_LOGGED: Final = Struct("<Q16s")


def packed_payload(
    value: bytes,
    now_ms: int,
    seq: int | None,
    stream: UUID | None = None,
    logged: Mapping[int, bytes] = MappingProxyType({}),
) -> bytes:
    """The payload of an NDATA with packed batches (see `lms_protocol.packing`).

    Args:
        seq: None where it is only kept.
        stream: whose batches they are; None where that is known.
        logged: `Batch.logged` of those that have one, by number.
    """
    message = PAYLOAD()
    message.timestamp = now_ms
    metric = message.metrics.add()
    metric.name = PACKED_NAME
    metric.timestamp = now_ms
    metric.is_historical = True
    metric.bytes_value = value
    if stream is not None:
        metric = message.metrics.add()
        metric.name = STREAM_NAME
        metric.timestamp = now_ms
        metric.is_historical = True
        metric.string_value = str(stream)
    if logged:
        metric = message.metrics.add()
        metric.name = LOGGED_NAME
        metric.timestamp = now_ms
        metric.is_historical = True
        metric.bytes_value = b"".join(_LOGGED.pack(*each) for each in logged.items())
    if seq is not None:
        message.seq = seq
    return bytes(message.SerializeToString())


def packed_logged(message: Any) -> dict[int, bytes]:
    """What a message with packed batches says under `Sync/Logged`, by number.

    Raises:
        PayloadError: it is not in its form.
    """
    for metric in message.metrics:
        if metric.name == LOGGED_NAME:
            if len(metric.bytes_value) % _LOGGED.size:
                raise PayloadError(f"{len(metric.bytes_value)} bytes are no fingerprints", metric=LOGGED_NAME)
            return dict(_LOGGED.iter_unpack(metric.bytes_value))
    return {}


def state_message(host: str, *, online: bool, timestamp_ms: int) -> Publish:
    """A host's STATE, as birth (online) or as will (offline).

    Source: Sparkplug 3.0.0, section 4.4 (topic) and 6.4.12 (JSON payload, QoS 1, retained).
    """
    payload = json.dumps({"online": online, "timestamp": timestamp_ms}, separators=(",", ":"))
    return Publish(str(StateTopic(host)), payload.encode(), qos=1, retain=True)


def state_from_bytes(host: str, payload: bytes) -> HostState:
    """Read a STATE message.

    Raises:
        PayloadError: it is not the JSON that Sparkplug 3 prescribes.
    """
    try:
        data = json.loads(payload)
        online, timestamp_ms = data["online"], data["timestamp"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise PayloadError(f"STATE of host {host!r} is not {{online, timestamp}}: {payload[:80]!r}") from error
    if type(online) is not bool or type(timestamp_ms) is not int:
        raise PayloadError(f"STATE of host {host!r} has fields of the wrong type: {payload[:80]!r}")
    return HostState(host, online, timestamp_ms)
