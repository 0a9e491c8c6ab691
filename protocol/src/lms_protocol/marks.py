"""A mark of the stream on every live batch, at no metric's cost: the alias that `Sync/Batch` has under this stream.

A DDATA names its metrics by alias alone. An agent may send the batches of several logs in turn, each after births of
its stream, and a message may come after the next births. Were `Sync/Batch` known by the same alias in all of them, the
batch would be taken for one of the other stream. So its alias differs from stream to stream: to a host that has other
births of that device, the message refers to a metric of no birth, and any Sparkplug host then takes nothing and asks
for births. See SPEC.md, "Mark".

Neighbours: `lms_protocol.edge` sends under this alias; a host takes it from the birth, as it does every alias.
"""

from hashlib import blake2b
from typing import Final
from uuid import UUID

MARK_BYTES: Final = 4
NUMBER_BITS: Final = 17
"""Below the mark stands the tag's number in the log. Together 49 bits: seven bytes on the wire, and exact in hosts that
keep an alias as a floating-point number, as those written in JavaScript may."""


def mark(stream: UUID) -> int:
    """32 bits that tell a stream from the few others that one agent ever has."""
    return int.from_bytes(blake2b(stream.bytes, digest_size=MARK_BYTES).digest(), "little")


def marked_alias(stream: UUID, number: int) -> int:
    """The alias of the `Sync/Batch` that has this number in the log of that stream."""
    return (mark(stream) << NUMBER_BITS) + number
