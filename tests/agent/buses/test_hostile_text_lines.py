"""Whatever an instrument on a text line does to its replies, none becomes the answer to another command.

The line is simulated, in virtual time, so that thousands of courses can be tried: replies that come late, in pieces,
not at all, with garbage, damaged, echoed, from several units. Each reply says to which command it belongs; an
instrument answers in the order in which it was asked.
"""

import random
import re
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lms_agent.buses.byte_stream import ByteStream
from lms_agent.buses.text_commands import Command
from lms_agent.buses.text_line import TextLine
from lms_agent.clock import SystemClock
from lms_agent.errors import InstrumentError
from simulation.loop import VirtualLoop

TIMEOUT_S = 1.0
END = b"\r"


@dataclass(frozen=True)
class Fate:
    """What becomes of one reply.

    Attributes:
        late_s: how long it takes.
        kind: what is done to it.
        pieces: into how many it is cut.
        piece_s: time between two pieces.
    """

    late_s: float = 0.01
    kind: str = "whole"
    pieces: int = 1
    piece_s: float = 0.0


KINDS = ("whole", "whole", "lost", "truncated", "garbage before", "garbage after", "damaged", "without end")
fates = st.builds(
    Fate,
    late_s=st.one_of(st.just(0.01), st.floats(0.0, 3.0 * TIMEOUT_S)),
    kind=st.sampled_from(KINDS),
    pieces=st.integers(1, 4),
    piece_s=st.sampled_from((0.0, 0.02, 0.4)),
)


@dataclass
class HostileStream(ByteStream):
    """A port whose instruments answer `Q<unit>` with the number of the command, and `P…<unit>` with something else."""

    fates: list[Fate]
    echoes: bool = False
    asked: int = 0
    said_at_s: dict[bytes, float] = field(default_factory=dict)

    def __init__(self, loop: VirtualLoop, fates: list[Fate], *, echoes: bool) -> None:
        super().__init__("hostile", SystemClock())
        self.loop, self.fates, self.echoes = loop, list(fates), echoes
        self.asked, self.said_at_s = 0, {}

    async def open(self) -> None:
        self._opened()

    def _release(self) -> None:
        pass

    def write(self, data: bytes) -> None:
        assert data.endswith(END)
        self.asked += 1
        command = data[:-1]
        kind, unit = command[:-1], command[-1:]
        value = b"%06d" % self.asked
        reply = unit + (b" value " + value if kind == b"Q" else b" is " + kind.lower() + b" " + value[:2]) + END
        if self.echoes:
            self.loop.call_later(0.001, self._feed, data)
        self._answer(unit, reply, self.fates.pop(0) if self.fates else Fate())

    def _answer(self, unit: bytes, reply: bytes, fate: Fate) -> None:
        garbage = b"\x80zz~ 7" + END
        match fate.kind:
            case "lost":
                return
            case "truncated":
                reply = reply[: len(reply) // 2] + END
            case "without end":
                reply = reply[:-1]
            case "damaged":
                reply = reply[:3] + b"#" + reply[4:]
            case "garbage before":
                reply = garbage + reply
            case "garbage after":
                reply += garbage
        at_s = max(self.loop.time() + fate.late_s, self.said_at_s.get(unit, 0.0))  # in the order asked
        size = -(-len(reply) // fate.pieces)
        for start in range(0, len(reply), size):
            self.loop.call_at(at_s, self._feed, reply[start : start + size])
            at_s += fate.piece_s or 1e-6  # timers of one moment may fire in any order, and bytes never do
        self.said_at_s[unit] = at_s + 0.001


def question(unit: bytes) -> Command:
    return Command(b"Q" + unit, re.compile(unit + rb" value (\d{6})"), end=END, unit=unit.decode(), prefix=unit + b" ")


def probes(unit: bytes, count: int) -> list[Command]:
    return [
        Command(name + unit, re.compile(unit + b" is " + name.lower() + rb" \d\d"), end=END, unit=unit.decode())
        for name in (b"PA", b"PB", b"PC")[:count]
    ]


def accepted(units: list[bytes], fates_: list[Fate], *, echoes: bool, probe_count: int = 3) -> list[tuple[int, int]]:
    """Ask, whatever comes; of each reply that was believed: which command it says it answers, and which it should."""
    loop = VirtualLoop(random.Random(1))
    stream = HostileStream(loop, fates_, echoes=echoes)
    line = TextLine(stream, timeout_s=TIMEOUT_S, silence_s=TIMEOUT_S, chance=random.Random(1))
    found: list[tuple[int, int]] = []

    async def ask_all() -> None:
        for number in range(8 * len(units)):
            unit = units[number % len(units)]
            try:
                answer = await line.ask(question(unit), probes(unit, probe_count))
            except InstrumentError:
                continue
            found.append((int(answer.match[1]), stream.asked))

    try:
        loop.run_until_complete(ask_all())
    finally:
        loop.close()
    return found


@settings(deadline=None, max_examples=600)
@given(st.lists(fates, max_size=16), st.booleans())
def test_no_reply_answers_another_command(course, echoes):
    for said, asked in accepted([b"A"], course, echoes=echoes):
        assert said == asked


@settings(deadline=None, max_examples=400)
@given(st.lists(fates, max_size=20), st.booleans())
@example([Fate(late_s=2.125, pieces=3, piece_s=0.4), Fate(late_s=0.5, pieces=3)], True)
def test_no_reply_of_a_unit_answers_for_its_neighbour_or_for_another_command(course, echoes):
    for said, asked in accepted([b"A", b"B", b"C"], course, echoes=echoes):
        assert said == asked


@settings(deadline=None, max_examples=200)
@given(st.lists(fates, max_size=12), st.integers(1, 3))
def test_line_finds_back_into_step_when_the_instrument_is_well_again(course, count):
    found = accepted([b"A", b"B"], course, echoes=False, probe_count=count)
    assert found, "nothing was believed any more"
    assert found[-1][0] == found[-1][1]


@pytest.mark.parametrize("seed", [20261125, 20261126])
def test_ten_thousand_commands_with_mostly_ill_replies_give_no_wrong_value(seed):
    chance = random.Random(seed)
    commands, found = 0, []
    while commands < 10_000:
        units = [b"A"] if chance.random() < 0.5 else [b"A", b"B", b"C"]
        course = [
            Fate(
                chance.choice((0.01, chance.uniform(0.0, 3.0 * TIMEOUT_S))),
                chance.choice(KINDS),
                chance.randint(1, 4),
                chance.choice((0.0, 0.02, 0.4)),
            )
            for _ in range(8 * len(units))
        ]
        found += accepted(units, course, echoes=chance.random() < 0.5)
        commands += len(course)
    assert len(found) > 500
    assert [pair for pair in found if pair[0] != pair[1]] == [], f"seed {seed}"


def test_dead_unit_costs_no_neighbour_a_reading():
    course = [fate for _ in range(8) for fate in (Fate(), Fate(kind="lost"))]
    assert accepted([b"A", b"B"], course, echoes=False) == [(asked, asked) for asked in range(1, 17, 2)]


def test_late_line_of_a_neighbour_is_passed_over():
    """A answers 2.2 s after it was asked: while B is being asked, which answers after that."""
    found = accepted([b"A", b"B"], [Fate(late_s=2.2), Fate(late_s=0.5)], echoes=False)
    assert (2, 2) in found


@pytest.mark.parametrize("lag", [1, 2])
def test_instrument_that_answers_with_the_reply_before_is_never_believed(lag):
    """As some gateways do, for ever: each reply is held back until so many more commands have come."""
    loop = VirtualLoop(random.Random(1))
    stream = HostileStream(loop, [], echoes=False)
    held: list[bytes] = []

    def hold(unit: bytes, reply: bytes, fate: Fate) -> None:
        held.append(reply)
        if len(held) > lag:
            loop.call_later(0.01, stream._feed, held.pop(0))

    stream._answer = hold
    line = TextLine(stream, timeout_s=TIMEOUT_S, silence_s=TIMEOUT_S, chance=random.Random(1))

    async def ask() -> None:
        for _ in range(40):
            with pytest.raises(InstrumentError):
                await line.ask(question(b"A"), probes(b"A", 3))

    loop.run_until_complete(ask())
    loop.close()
