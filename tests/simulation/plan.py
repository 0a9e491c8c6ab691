"""What a seed means: who takes part, which scans are made, what goes wrong when. A list, so that it can be shortened.

Everything about a run is drawn here or from generators named after who draws, so that a fault taken out of the list
changes as little of the rest as can be.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from random import Random
from typing import NamedTuple

from lms_agent.log.limits.retention import Limits

UNLIMITED = Limits()
CATCH_UP_SHARE = 0.03
"""Share of seeds that have no faults but an outage, a slow line, and a backlog which live batches must overtake."""
IMAGES_SHARE = 0.1
"""Share of seeds in which old images come back several times, while messages are lost and late: logs that were set
aside then take turns with the present one, each under its own stream."""
COPIES_SHARE = 0.03
"""Share of seeds in which an old image comes back while the database is slow, so that what the disk before has sent is
committed, and told, when the copy has sent other batches under the same numbers."""
OUTAGE_S = 40.0
LIVE_FROM_S = 52.0
"""By then the agent is connected again for sure."""
FAULTS_END_S = 60.0
"""Faults begin before that; what lasts is over a moment later, and then calm must bring everything home."""


class Fault(NamedTuple):
    """Something that goes wrong.

    Attributes:
        at_s: when it begins.
        kind: see `simulation.faults`, whose methods have these names.
        target: of which agent (`agent-0`) or worker (`ingest-0`); "" where there is nothing to choose.
        for_s: how long it lasts, or until who was killed starts again.
        amount: how much of it, in the kind's own measure.
    """

    at_s: float
    kind: str
    target: str = ""
    for_s: float = 0.0
    amount: float = 0.0

    def __str__(self) -> str:
        """As in a trace."""
        target = f" {self.target}" if self.target else ""
        return f"{self.at_s:8.3f} s  {self.kind}{target} for {self.for_s:.1f} s, amount {self.amount:.4g}"


class Scan(NamedTuple):
    """A scan to be made: when, by which agent, of which of its bioreactors, and how many readings it brings."""

    at_s: float
    agent: str
    device: str
    readings: int


class ClockPlan(NamedTuple):
    """What an agent's computer knows of the time when it starts.

    Attributes:
        well_at_start: at the first start it is synchronised; later starts find it as the rest says.
        synchronised_after_s: how long after a start a time server is heard.
        has_chip: the system clock goes on without power.
        asleep_at_ms: else it begins with that.
    """

    well_at_start: bool = True
    synchronised_after_s: float = 0.0
    has_chip: bool = True
    asleep_at_ms: int = 0


@dataclass(frozen=True)
class Plan:
    """One run.

    Attributes:
        agents: bioreactors by agent.
        groups: each agent's organization.
        workers: ingest workers, all of the one host.
        live_limit, backlog_limit, packed_limit: of the agents' sending windows.
        room: readings that may wait in an agent's memory while its disk refuses.
        clock_ms: what each agent's clock is wrong by at the start.
        clocks: what else is to be said of it.
        limits: of the agents' logs.
        bite: batches that a first bite of upkeep takes.
        text_length: of the longest text value.
        live_within_s: batches logged from `LIVE_FROM_S` on must be committed within that; None: nothing is asked.
    """

    seed: int
    agents: dict[str, tuple[str, ...]]
    groups: dict[str, str]
    workers: tuple[str, ...]
    scans: tuple[Scan, ...]
    faults: tuple[Fault, ...]
    live_limit: int = 4
    backlog_limit: int = 6
    packed_limit: int = 8
    room: int = 60
    clock_ms: dict[str, int] = field(default_factory=dict)
    clocks: dict[str, ClockPlan] = field(default_factory=lambda: defaultdict(ClockPlan))
    limits: Limits = UNLIMITED
    bite: int = 1
    text_length: int = 40
    live_within_s: float | None = None

    @property
    def of_one_time(self) -> list[str]:
        """The agents whose clocks are well throughout, and whose disks are never exchanged."""
        moved = {fault.target for fault in self.faults if fault.kind in {"step_clock", "bring_back"}}
        return [agent for agent in self.agents if self.clocks[agent] == ClockPlan() and agent not in moved]

    def without(self, index: int) -> "Plan":
        """The same with one fault less."""
        return replace(self, faults=self.faults[:index] + self.faults[index + 1 :])


_OF_AGENT = (
    ("kill_agent", 4),
    ("cut_power", 4),
    ("kill_agent_in_disk", 3),
    ("cut_power_in_disk", 3),
    ("fill_disk", 2),
    ("cut_link", 3),
    ("hang_link", 3),
    ("slow_link", 2),
    ("step_clock", 2),
    ("bring_back", 2),
    ("stop_agent", 1),
)
_OF_WORKER = (
    ("kill_worker", 4),
    ("stop_worker", 1),
    ("cut_link", 2),
    ("hang_link", 2),
    ("step_clock", 1),
    ("end_lease", 2),
    ("cut_off_lease", 2),
)
_OF_ALL = (
    ("lose_messages", 3),
    ("double_messages", 2),
    ("delay_messages", 2),
    ("restart_broker", 3),
    ("lose_database", 3),
    ("slow_database", 1),
    ("break_before_commit", 2),
    ("break_after_commit", 3),
)


def draw_plan(seed: int) -> Plan:
    """The run of a seed."""
    rng = Random(f"{seed}:plan")
    share = rng.random()
    if share < CATCH_UP_SHARE:
        return _draw_catch_up(seed, rng)
    if share < CATCH_UP_SHARE + COPIES_SHARE:
        return draw_copies(seed, rng)
    many_images = rng.random() < IMAGES_SHARE
    agents = {f"agent-{n}": tuple(f"R{n}{m}" for m in range(rng.choice((1, 1, 2)))) for n in range(rng.choice((1, 2)))}
    workers = tuple(f"ingest-{n}" for n in range(rng.choice((1, 1, 2, 2, 3))))
    faults = sorted(_draw_fault(rng, agents, workers) for _ in range(rng.randint(0, 9)))
    if many_images:
        faults = sorted((*faults, *_draw_images(rng, agents)))
    together = rng.random() < 0.3
    limits = _draw_limits(rng)
    return Plan(
        seed=seed,
        agents=agents,
        groups={agent: "acme" if together else f"org-{agent}" for agent in agents},
        workers=workers,
        scans=tuple(sorted(_draw_scans(rng, agents))),
        faults=tuple(faults),
        live_limit=rng.choice((1, 2, 4, 16)),
        backlog_limit=rng.choice((1, 3, 8, 32)),
        packed_limit=rng.choice((1, 4, 16, 64)),
        room=rng.choice((4, 12, 60)),
        clock_ms={agent: rng.choice((0, 0, 0, -3_600_000, 86_400_000)) for agent in agents},
        clocks={agent: _draw_clock(rng) for agent in agents},
        limits=limits,
        bite=rng.choice((1, 2, 5)),
        text_length=40 if limits.max_bytes is None else 2500,
    )


def _draw_clock(rng: Random) -> ClockPlan:
    if rng.random() < 0.6:
        return ClockPlan()
    return ClockPlan(
        well_at_start=rng.random() < 0.5,
        synchronised_after_s=rng.choice((0.5, 5.0, 15.0, 1e9)),
        has_chip=rng.random() < 0.3,
        asleep_at_ms=rng.choice((0, 1_795_435_200_000 - 5_000, 1_795_435_200_000 - 86_400_000)),
    )


def _draw_limits(rng: Random) -> Limits:
    """Of age, as short as scans are apart; or of size, so that a log is full after a dozen batches; or none."""
    if rng.random() < 0.2:
        return Limits(max_bytes=rng.choice((105_000, 125_000)), drop_oldest=rng.random() < 0.5)
    return rng.choice((UNLIMITED, *(Limits(keep_days=age_s / 86_400) for age_s in (0.5, 5, 20))))


def _draw_catch_up(seed: int, rng: Random) -> Plan:
    """An agent was cut off, and comes back on a slow line with what it logged meanwhile, while scans go on."""
    backlog = [Scan(round(rng.uniform(0, OUTAGE_S), 3), "agent-0", "R00", 3) for _ in range(rng.randint(100, 200))]
    live = [Scan(LIVE_FROM_S + n, "agent-0", "R00", 2) for n in range(20)]
    return Plan(
        seed=seed,
        agents={"agent-0": ("R00",)},
        groups={"agent-0": "acme"},
        workers=("ingest-0",),
        scans=tuple(sorted((*backlog, *live))),
        faults=(
            Fault(0.5, "cut_link", "agent-0", OUTAGE_S, 0),
            Fault(OUTAGE_S + 0.6, "slow_link", "agent-0", 200.0, rng.choice((1000, 1500))),
        ),
        live_limit=rng.choice((2, 4, 16)),
        backlog_limit=rng.choice((3, 8, 16)),
        live_within_s=6.0,
    )


def draw_copies(seed: int, rng: Random) -> Plan:
    """A plan of `COPIES_SHARE`."""
    back_s = rng.uniform(10, 40)

    def fault(at_s: float, kind: str, target: str, for_s: float, amount: float) -> Fault:
        return Fault(round(at_s, 3), kind, target, round(for_s, 3), amount)

    return Plan(
        seed=seed,
        agents={"agent-0": ("R00",)},
        groups={"agent-0": "acme"},
        workers=("ingest-0",),
        scans=tuple(sorted(Scan(round(rng.uniform(0, 55), 3), "agent-0", "R00", rng.randint(1, 3)) for _ in range(60))),
        faults=tuple(
            sorted(
                (
                    fault(rng.uniform(2, back_s - 3), "kill_agent", "agent-0", 0.1, 0),  # leaves an image
                    fault(back_s - rng.uniform(0.3, 6), "slow_database", "", rng.uniform(3, 15), 0),
                    fault(back_s, "bring_back", "agent-0", rng.uniform(0.05, 1), 0),
                    fault(back_s + rng.uniform(0, 1), "lose_messages", "", rng.uniform(2, 15), 0.5),
                    fault(back_s - rng.uniform(0, 1), "delay_messages", "", rng.uniform(1, 10), 0.5),
                )
            )
        ),
        live_limit=16,
        backlog_limit=8,
        packed_limit=16,
    )


def _draw_scans(rng: Random, agents: dict[str, tuple[str, ...]]) -> list[Scan]:
    scans = []
    for agent, devices in agents.items():
        count = rng.choice((6, 12, 12, 24, 40))
        bursts = rng.random() < 0.4
        for index in range(count):
            at_s = rng.uniform(0, 5) + (index // 6) * 10 if bursts else rng.uniform(0, FAULTS_END_S + 5)
            scans.append(Scan(round(min(at_s, FAULTS_END_S + 5), 3), agent, rng.choice(devices), rng.randint(1, 4)))
    return scans


def _draw_fault(rng: Random, agents: dict[str, tuple[str, ...]], workers: tuple[str, ...]) -> Fault:
    at_s = round(rng.uniform(0, FAULTS_END_S), 3)
    for_s = round(rng.choice((rng.uniform(0.01, 1), rng.uniform(1, 10), rng.uniform(10, 50))), 3)
    whom = rng.choice((_OF_AGENT, _OF_AGENT, _OF_WORKER, _OF_ALL))
    kind = rng.choices([name for name, _ in whom], [weight for _, weight in whom])[0]
    target = "" if whom is _OF_ALL else rng.choice(list(agents) if whom is _OF_AGENT else workers)
    return Fault(at_s, kind, target, for_s, _draw_amount(rng, kind))


def _draw_images(rng: Random, agents: dict[str, tuple[str, ...]]) -> Iterator[Fault]:
    """Old images that come back, and a network that mixes up what is then sent under several streams."""
    for _ in range(rng.randint(2, 4)):
        for_s = rng.choice((rng.uniform(0.01, 1), rng.uniform(1, 10), rng.uniform(10, 40)))
        yield Fault(round(rng.uniform(0, 55), 3), "bring_back", rng.choice(list(agents)), round(for_s, 3))
    for kind, amounts in (("delay_messages", (0.5, 5.0, 5.0)), ("delay_messages", (5.0,)), ("lose_messages", (0.5,))):
        if rng.random() < 0.7:
            yield Fault(round(rng.uniform(0, 50), 3), kind, "", round(rng.uniform(5, 50), 3), rng.choice(amounts))


def _draw_amount(rng: Random, kind: str) -> float:
    if kind in {"kill_agent", "cut_power", "kill_worker"}:
        return rng.choice((0, rng.randint(1, 10), rng.randint(1, 200)))  # steps until it happens
    if kind in {"kill_agent_in_disk", "cut_power_in_disk"}:
        return rng.randint(1, 12)  # operations of the disk until it happens
    if kind == "step_clock":
        return rng.choice((-86_400_000, -5_000, -50, 50, 5_000, 3_600_000))  # ms
    if kind == "slow_link":
        return rng.choice((500, 2_000, 8_000))  # bytes a second
    if kind in {"lose_messages", "double_messages"}:
        return rng.choice((0.1, 0.5, 0.9))
    if kind == "delay_messages":
        return rng.choice((0.05, 0.5, 5.0))  # s
    if kind == "restart_broker":
        return rng.randint(0, 1)  # whether it forgets what it retained
    if kind in {"break_before_commit", "break_after_commit"}:
        return rng.randint(1, 3)
    return 0.0
