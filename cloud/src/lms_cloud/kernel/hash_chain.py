"""The hash chain of the events: pure functions, no database.

    hash(n) = SHA-256( hash(n − 1) ‖ canonical JSON of event n )        hash(0) = 32 zero bytes

Each organization has a chain of its own, numbered 1, 2, 3 … without holes. Whoever changes, removes or inserts an
event without redoing all hashes after it is found by `first_break`; whoever redoes them all, or cuts the tail, is
found by an anchor: a number and hash that were written down outside the database.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

GENESIS = bytes(32)


class Link(NamedTuple):
    """One event as the chain sees it.

    Attributes:
        sequence: 1, 2, 3 … in the organization.
        previous_hash: the hash of the event before it.
        hash: its own, as stored.
        content: everything else that is stored of it.
    """

    sequence: int
    previous_hash: bytes
    hash: bytes
    content: Mapping[str, Any]


class Break(NamedTuple):
    """The first event that does not fit, and why."""

    sequence: int
    reason: str


def canonical_json(value: Any) -> bytes:
    """The one way to write `value` as JSON, the same before and after a trip through a jsonb column.

    Keys sorted, no spaces, UTF-8; numbers without a fraction as integers, because jsonb forgets whether 1e22 was
    written as a float. Instants are written in UTC with microseconds, UUIDs in lower case.

    Raises:
        ValueError: a number is not finite, or a text holds NUL or half a surrogate pair, which jsonb cannot hold.
    """
    return json.dumps(
        _plain(value), ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
    ).encode()


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is not a finite number")
        return int(value) if value.is_integer() else value
    if isinstance(value, str):
        if "\x00" in value:
            raise ValueError("text may not hold the character NUL")
        return value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Mapping):
        return {_plain(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    raise TypeError(f"{type(value).__name__} has no canonical JSON")


def link_hash(previous_hash: bytes, sequence: int, content: Mapping[str, Any]) -> bytes:
    """The hash of event `sequence` with `content` (32 bytes)."""
    return hashlib.sha256(previous_hash + canonical_json({"sequence": sequence, **content})).digest()


def first_break(links: Iterable[Link], anchor: tuple[int, bytes] | None = None) -> Break | None:
    """Check one organization's chain from its first event on.

    Args:
        links: its events in order of their number.
        anchor: number and hash of an event, written down earlier and kept elsewhere.

    Returns:
        The first event that does not fit; None where all fit.
    """
    previous = GENESIS
    sequence = 0
    for sequence, link in enumerate(links, start=1):
        if link.sequence != sequence:
            return Break(sequence, f"is missing: number {link.sequence} follows {sequence - 1}")
        if link.previous_hash != previous:
            return Break(sequence, "does not continue the event before it")
        if link_hash(previous, sequence, link.content) != link.hash:
            return Break(sequence, "was altered: its content does not give its hash")
        if anchor is not None and anchor[0] == sequence and anchor[1] != link.hash:
            return Break(sequence, "is not the one that the anchor names: the chain was written anew")
        previous = link.hash
    if anchor is not None and sequence < anchor[0]:
        return Break(sequence + 1, f"is missing: the chain ends at {sequence}, the anchor names {anchor[0]}")
    return None
