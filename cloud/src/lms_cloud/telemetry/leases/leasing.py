"""Which Sparkplug groups an ingest worker may take in, and whether it speaks for the host.

Used by `lms_cloud.telemetry.ingest.worker` (what to subscribe to), `committing` (what may be committed and
acknowledged) and `presence` (the host's STATE). `lms_cloud.telemetry.leases.postgres_leases` shares the groups
between workers.

    lease of a group   hears   holds   what happens
    ─────────────────  ──────  ──────  ─────────────────────────────────────────────────────────────────────
    another worker's   no      no      nothing is subscribed; what still comes is dropped
    held               yes     yes     taken in, committed, acknowledged
    leaving            no      yes     what is queued is committed and acknowledged, then `let_go`
    in doubt           yes     no      the database session broke: taken in, but nothing is committed or acknowledged
                                       until it is known who holds the group now

Whatever goes wrong here, no reading is stored twice: the ledger decides that, in the transaction that writes.
"""

import asyncio
from collections.abc import Collection, Iterable
from typing import Final, Protocol

BIRTHS_INTERVAL_S: Final = 10.0
"""Shortest time between two requests for births to one agent, over all workers."""

AgentName = tuple[str, str]
"""Wire ids of an agent: group and node."""


class Leases(Protocol):
    """What a worker may take in.

    Attributes:
        changed: set whenever something of the below may have changed; whoever acts on it clears it.
    """

    changed: asyncio.Event

    @property
    def groups(self) -> frozenset[str] | None:
        """The groups to subscribe to; None: all there are."""
        ...

    @property
    def leaving(self) -> frozenset[str]:
        """Groups that another worker is to have: finish what is queued of them, then call `let_go`."""
        ...

    @property
    def leading(self) -> bool:
        """Whether this worker is the one that holds the host's STATE."""
        ...

    @property
    def sure(self) -> bool:
        """Whether it is known what this worker holds."""
        ...

    @property
    def others(self) -> int:
        """How many more workers of this host are alive."""
        ...

    @property
    def epoch(self) -> int:
        """Changes whenever leases were in doubt: what is remembered of streams may be old then."""
        ...

    def hears(self, group: str) -> bool:
        """Whether new messages of a group are to be taken in."""
        ...

    def holds(self, group: str) -> bool:
        """Whether a group's batches may be committed and acknowledged now."""
        ...

    async def settled(self) -> None:
        """Wait until `sure`."""
        ...

    def let_go(self, groups: Iterable[str]) -> None:
        """All that was heard of these leaving groups is committed and acknowledged: another worker may have them."""
        ...

    def may_lead(self, ready: bool) -> None:
        """Say whether this worker could speak for the host: it hears the broker and is not about to stop."""
        ...

    async def may_ask(self, agents: Collection[AgentName]) -> list[AgentName]:
        """Those of some agents that may be asked for their births now; they count as asked from here on."""
        ...

    async def run(self) -> None:
        """Keep the leases, until cancelled; gives all of them back then."""
        ...


class LoneLeases:
    """Everything is this worker's: it is the only one of its host, wherever that is known from elsewhere.

    Args:
        monotonic_s: tells durations, in seconds.
    """

    groups = None
    leaving: frozenset[str] = frozenset()
    sure = True
    others = 0
    epoch = 0

    def __init__(self, monotonic_s: "Clock") -> None:
        self._monotonic_s = monotonic_s
        self._asked_s: dict[AgentName, float] = {}
        self.changed = asyncio.Event()
        self.leading = False

    def hears(self, group: str) -> bool:
        """Always."""
        return True

    def holds(self, group: str) -> bool:
        """Always."""
        return True

    async def settled(self) -> None:
        """At once."""

    def let_go(self, groups: Iterable[str]) -> None:
        """Nobody else is there to have them."""

    def may_lead(self, ready: bool) -> None:
        """It leads whenever it can."""
        self.leading = ready
        self.changed.set()

    async def may_ask(self, agents: Collection[AgentName]) -> list[AgentName]:
        """Those not asked in the last seconds."""
        now_s = self._monotonic_s()
        allowed = [each for each in agents if now_s - self._asked_s.get(each, -BIRTHS_INTERVAL_S) >= BIRTHS_INTERVAL_S]
        self._asked_s.update(dict.fromkeys(allowed, now_s))
        return allowed

    async def run(self) -> None:
        """Nothing has to be kept."""
        await asyncio.Event().wait()


class Clock(Protocol):
    """Tells durations."""

    def __call__(self) -> float:
        """Seconds since some moment."""
        ...
