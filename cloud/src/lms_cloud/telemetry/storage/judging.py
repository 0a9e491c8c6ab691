"""What a batch is to the ledger: new, the same again, or another one under a number that is taken.

A batch that an agent has logged anew is new to the ledger, whose readings may be in the database all the same: an old
image of the disk was brought back, the agent forgot that it had logged the batch anew, and did so once more. Hence its
origin: of equal readings with one origin only the first are stored.

`lms_cloud.telemetry.storage.transaction` asks inside its transaction, with the rows that it found; nothing here knows
a database.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import NamedTuple
from uuid import UUID

from lms_protocol.columns import Columns

from lms_cloud.telemetry.incoming import DeadLetter, Incoming, StreamBatch


class LedgerEntry(NamedTuple):
    """What the ledger holds under a batch's number.

    Attributes:
        digest: of the batch that is committed.
        dead: it could not be stored; its bytes are a dead letter, and whatever comes under its number is settled.
    """

    digest: bytes
    dead: bool = False


class OriginKey(NamedTuple):
    """What is taken in once, in however many streams it was logged anew.

    Attributes:
        bioreactor_id: whose readings.
        stream, number: where they were logged first.
        content: fingerprint of series, times, qualities and values (16 bytes): two copies of one log may have gone on
            differently, and then hold different readings under one number. Of a batch whose times could be corrected
            it is that of what was logged, as each copy may have corrected them otherwise.
    """

    bioreactor_id: UUID
    stream: UUID
    number: int
    content: bytes


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
        if entry.dead or entry.digest in (batch.digest, batch.content):
            verdict.settled.append(batch.key)
        else:
            verdict.refused.append(batch)
    return verdict


def origins_of(batches: Iterable[Incoming]) -> dict[OriginKey, Incoming]:
    """The batches with readings that were logged anew; of several with one key the first."""
    found: dict[OriginKey, Incoming] = {}
    for batch in batches:
        if batch.origin is not None and batch.key is not None and batch.readings:
            stream, number, logged = batch.origin
            found.setdefault(OriginKey(batch.bioreactor.id, stream, number, logged or _content(batch)), batch)
    return found


def _content(batch: Incoming) -> bytes:
    columns = batch.columns
    state = blake2b(batch.tags.series_of(bytes(columns.tags)), digest_size=16)
    state.update(columns.data[4 + 8 * columns.size :])  # all but the tag numbers, which are each log's own
    return state.digest()


def without_repeated(batches: Sequence[Incoming], first: Iterable[Incoming]) -> list[Incoming]:
    """The batches, those whose readings are in the database already without them.

    Args:
        first: of the batches that were logged anew, those that are the first with their origin and readings.
    """
    wanted = {batch.key for batch in first}
    return [
        batch
        if batch.origin is None or not batch.readings or batch.key in wanted
        else replace(batch, readings=Columns.of(()))
        for batch in batches
    ]


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


def letter_key(letter: DeadLetter) -> tuple[str, bytes]:
    """What tells a dead letter from others: its topic, and a fingerprint of what came."""
    return letter.topic, letter.digest or fingerprint(letter.payload)
