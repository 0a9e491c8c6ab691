"""What a batch is to the ledger: new, the same again, or another one under a number that is taken.

`lms_cloud.telemetry.storage.transaction` asks inside its transaction, with the rows that it found; nothing here knows
a database.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

from lms_cloud.telemetry.incoming import DeadLetter, Incoming, StreamBatch


class LedgerEntry(NamedTuple):
    """What the ledger holds under a batch's number.

    Attributes:
        digest: of the batch that is committed.
        dead: it could not be stored; its bytes are a dead letter, and whatever comes under its number is settled.
    """

    digest: bytes
    dead: bool = False


class Verdict(NamedTuple):
    """What numbered batches come to.

    Attributes:
        settled: numbers that are committed with this content, or dead: to be acknowledged.
        refused: batches whose number is committed with other content.
    """

    settled: list[StreamBatch]
    refused: list[Incoming]


def first_of_each(incoming: Iterable[Incoming]) -> list[Incoming]:
    """Each numbered batch once, the first that came; batches without a number all."""
    kept: dict[object, Incoming] = {}
    for batch in incoming:
        kept.setdefault(batch.key or id(batch), batch)
    return list(kept.values())


def judge(incoming: Sequence[Incoming], ledger: Mapping[StreamBatch, LedgerEntry]) -> Verdict:
    """Tell what is committed with its content from what is not.

    Args:
        incoming: all batches that came, also several of one number.
        ledger: what it holds now, with what was just inserted, of every number in `incoming`.
    """
    verdict = Verdict([], [])
    for batch in incoming:
        if batch.key is None:
            continue
        entry = ledger[batch.key]
        if entry.dead or entry.digest == batch.digest:
            verdict.settled.append(batch.key)
        else:
            verdict.refused.append(batch)
    return verdict


def conflict_letter(batch: Incoming) -> DeadLetter:
    """What is kept of a refused batch."""
    home = batch.bioreactor
    number = batch.key.number if batch.key else 0
    reason = f"batch {number} of this stream is already committed with other content"
    return DeadLetter(
        *("conflict", *batch.kept, reason, home.organization_id, home, batch.key, batch.node),
        birth=batch.birth,
        digest=batch.digest,
    )


def fingerprint(payload: bytes) -> bytes:
    """What tells two dead letters apart: 16 bytes (BLAKE2b)."""
    return blake2b(payload, digest_size=16).digest()
