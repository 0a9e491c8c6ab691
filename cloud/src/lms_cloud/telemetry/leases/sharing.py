"""How ingest workers share the Sparkplug groups of a host: shards of groups, and what is a worker's fair share. Pure.

Before it: `lms_cloud.telemetry.leases.postgres_leases`, which sees who holds what and asks here what to take and to
let go.

A lease is on a shard of groups, not on a group: thousands of organizations would need thousands of advisory locks, and
those live in a table of PostgreSQL's that holds about 64 for each connection and that everything else locks in, too.
Shards without an organization are nobody's, so that three organizations are spread over three workers.
"""

from collections.abc import Collection, Mapping
from hashlib import blake2b
from typing import Final

SHARDS: Final = 256


def shard_of(group: str) -> int:
    """The shard, 0 to 255, that an organization's wire id falls into; the same in every worker of every version."""
    return int.from_bytes(blake2b(group.encode(), digest_size=8).digest(), "big") % SHARDS


def lock_class(host_id: str) -> int:
    """The first key (31 bits) of all advisory locks of a host's workers: hosts on one database do not meet."""
    named = blake2b(f"lms.ingest {host_id}".encode(), digest_size=4).digest()
    return int.from_bytes(named, "big") & 0x7FFFFFFF


def fair_share(me: int, holdings: Mapping[int, int], shards: int) -> int:
    """How many of the occupied shards a worker should hold.

    The shares of all workers add up to `shards` and differ by at most one. Those who hold most already have the
    larger ones, so that nothing moves without need.

    Args:
        me: the worker's key in `holdings`.
        holdings: how many shards each live worker holds, by any key that all of them see alike.
        shards: how many are occupied.
    """
    least, larger = divmod(shards, len(holdings))
    ranked = sorted(holdings, key=lambda worker: (-holdings[worker], worker))
    return least + (ranked.index(me) < larger)


def to_take(count: int, free: Collection[int], before: Collection[int], *, start: int) -> list[int]:
    """Which free shards to try for, best first: those held before, then round from `start`: workers rarely meet.

    Args:
        count: how many are missing to the fair share.
        free: occupied shards that nobody holds.
        before: shards that this worker held until its session broke.
        start: any number that differs between workers.
    """
    ordered = sorted(free, key=lambda shard: (shard not in before, (shard - start) % SHARDS))
    return ordered[: max(0, count)]
