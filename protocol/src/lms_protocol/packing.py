"""Several whole batches in one value: how a backlog travels to a host that has said that it can read this.

    1 │ count u32, lowest and highest number u64, size u32 │ zlib: each batch as number u64, device, record

Little-endian; device (UTF-8) and record each with their length before them (u32). The records are those of the log,
byte for byte, so neither end handles a reading; deflate finds what recurs from scan to scan.

Neighbours: `lms_agent.sending` packs what the log holds; `lms_protocol.host` takes it apart.
"""

import zlib
from collections.abc import Sequence
from struct import Struct
from typing import Final, NamedTuple

from lms_protocol.columns import sized, take_sized, utf8
from lms_protocol.errors import PayloadError

PACKED_1: Final = "packed-1"
"""What a host says in `Sync/Accepts` that can read this form."""
MAX_BYTES: Final = 256 * 1024
"""Of all batches of one value, inflated: a reader refuses more, so that no value can fill its memory."""

_VERSION: Final = b"\x01"
_HEAD: Final = Struct("<IQQI")
_NUMBER: Final = Struct("<Q")
_AROUND_A_RECORD: Final = 8 + 4 + 4
_LEVEL: Final = 1
"""Of deflate. Level 6 takes three times as long for a tenth less."""


class PackedBatch(NamedTuple):
    """A batch, still as the log keeps it.

    Attributes:
        logged: see `Batch`; travels beside the value, not in it.
    """

    number: int
    device: str
    record: bytes
    logged: bytes | None = None

    @property
    def size(self) -> int:
        """Bytes that it takes in a value before deflating, at most."""
        return _AROUND_A_RECORD + 4 * len(self.device) + len(self.record)


def pack(batches: Sequence[PackedBatch]) -> bytes:
    """Batches as one value.

    Raises:
        PayloadError: there are none, or they are too large for one value.
    """
    parts: list[bytes] = []
    for number, device, record, _ in batches:
        parts += (_NUMBER.pack(number), sized(device.encode()), sized(record))
    body = b"".join(parts)
    if not parts or len(body) > MAX_BYTES:
        raise PayloadError(f"{len(batches)} batches of {len(body)} bytes do not fit one value")
    numbers = [batch.number for batch in batches]
    head = _HEAD.pack(len(numbers), min(numbers), max(numbers), len(body))
    return b"".join((_VERSION, head, zlib.compress(body, _LEVEL)))


def unpack(value: bytes) -> list[PackedBatch]:
    """The batches of one value; what their records hold is not looked at.

    Raises:
        PayloadError: it is not such a value; the reason names the batches where they are known.
    """
    if value[:1] != _VERSION or len(value) < 1 + _HEAD.size:
        raise PayloadError("is not a pack of batches that this host can read")
    count, lowest, highest, size = _HEAD.unpack_from(value, 1)
    try:
        batches = _take_apart(_inflate(value[1 + _HEAD.size :], size))
    except PayloadError as error:
        raise PayloadError(f"batches {lowest} to {highest}: {error.reason}") from error
    numbers = [batch.number for batch in batches]
    if (len(numbers), min(numbers, default=0), max(numbers, default=0)) != (count, lowest, highest):
        raise PayloadError(f"batches {lowest} to {highest}: its head does not fit what is in it")
    return batches


def _inflate(data: bytes, size: int) -> bytes:
    if size > MAX_BYTES:
        raise PayloadError(f"{size} bytes are more than one value may hold")
    inflater = zlib.decompressobj()
    try:
        body = inflater.decompress(data, size + 1)  # with one more than promised: the end must have come before it
    except zlib.error as error:
        raise PayloadError(f"it cannot be inflated: {error}") from error
    if not inflater.eof or inflater.unused_data or len(body) != size:
        raise PayloadError(f"it does not inflate to the {size} bytes promised")
    return body


def _take_apart(body: bytes) -> list[PackedBatch]:
    batches: list[PackedBatch] = []
    at = 0
    while at < len(body):
        if len(body) < at + _NUMBER.size:
            raise PayloadError("a batch has no number")
        (number,) = _NUMBER.unpack_from(body, at)
        device, at = take_sized(body, at + _NUMBER.size)
        record, at = take_sized(body, at)
        batches.append(PackedBatch(number, utf8(device), record))
    return batches
