"""Where a value that is known from a display lies, and how it is stored.

A number from a manual may count from 0 or from 1, and may be written 40001 or 30001; all these addresses are tried, and
those behind them that come in the same block, in both kinds of registers, with every interpretation. What fits in
each of several looks is told, the surest first: that four bytes happen to be 7.01 as a floating-point number is very
unlikely, that two happen to be 701 is not.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from lms_protocol.instruments.registers import WIDTHS

from lms_agent.buses.modbus_frames import READ_HOLDING, READ_INPUT
from lms_agent.scanning.interpreting import Interpretation, interpretations
from lms_agent.scanning.reach import Reach, Words

REGISTERS = {READ_HOLDING: "holding", READ_INPUT: "input"}
_FAMILIES = ((400_001, READ_HOLDING), (300_001, READ_INPUT), (40_001, READ_HOLDING), (30_001, READ_INPUT))


_CHANCE: dict[str, int] = {"float64": 0, "float32": 1, "int32": 2, "uint32": 2, "int16": 3, "uint16": 3}
"""How easily each kind fits by chance; less is surer."""


class Wanted(NamedTuple):
    """Between which bounds the value lies."""

    low: float
    high: float

    def has(self, value: float) -> bool:
        """Whether a value fits."""
        return self.low <= value <= self.high

    @classmethod
    def around(cls, value: float) -> "Wanted":
        """A value read from a display, which may have moved a little: 2 % of it, at least 0.02."""
        slack = max(0.02, 0.02 * abs(value))
        return cls(value - slack, value + slack)


class Match(NamedTuple):
    """A place and a way to read it that fit.

    Attributes:
        function: 3 for holding, 4 for input registers.
        address: on the wire, counted from 0.
        how: the interpretation, with the last value.
    """

    function: int
    address: int
    how: Interpretation

    @property
    def shares_with(self) -> frozenset[int]:
        """The registers that it takes."""
        return frozenset(range(self.address, self.address + WIDTHS[self.how.kind]))


def addresses_meant(number: int) -> list[tuple[int, int]]:
    """What a manual's register number may mean: (function, address on the wire), the likeliest first."""
    for base, function in _FAMILIES:
        if base <= number < base + 65_536 and number - base < 10_000 * (1 + 9 * (base > 100_000)):
            return [(function, number - base), *_plain(number)]
    return _plain(number)


def _plain(number: int) -> list[tuple[int, int]]:
    near = [address for address in (number - 1, number) if 0 <= address <= 65_535]
    return [(function, address) for function in REGISTERS for address in near]


async def seek(
    reach: Reach,
    wanted: Wanted,
    *,
    number: int | None,
    upto: int,
    looks: int,
    pause: Callable[[], Awaitable[None]],
) -> list[Match]:
    """Every place and interpretation that fits in each look.

    Args:
        number: the register's number as a manual has it; None: all addresses up to `upto`.
        looks: how often is looked.
        pause: waited for between two looks.

    Raises:
        InstrumentError: the unit does not answer, or not soundly.
    """
    words = {function: await _words(reach, function, number, upto) for function in REGISTERS}
    fitting = list(_matches(words, wanted))
    for _ in range(looks - 1):
        if fitting:
            await pause()
            fitting = await _still(reach, fitting, wanted)
    return sorted(fitting, key=partial(_rank, words, addresses_meant(number) if number is not None else []))


async def _still(reach: Reach, fitting: Sequence[Match], wanted: Wanted) -> list[Match]:
    """Which of them still fit, with the values of now."""
    words: dict[int, Words] = {}
    for function in REGISTERS:
        addresses = sorted({match.address for match in fitting if match.function == function})
        words[function] = await reach.around(function, addresses)
    keys = {_key(match) for match in fitting}
    return [match for match in _matches(words, wanted) if _key(match) in keys]


def _rank(words: Mapping[int, Words], meant: Sequence[tuple[int, int]], match: Match) -> tuple[object, ...]:
    """The surest first: by how unlikely it is to fit by chance, then by what the manual says, then by what is usual.

    The high word of a number, read with the low word of its neighbour, gives nearly the number. So of two numbers that
    share a register that one is surer which begins where numbers begin that fill the run of registers.
    """
    place = (match.function, match.address)
    start = match.address
    while start - 1 in words[match.function]:
        start -= 1
    out_of_step = (match.address - start) % WIDTHS[match.how.kind] != 0
    odd = 2 * (match.how.byte_order == "little") + (match.how.word_order == "little")
    said = meant.index(place) if place in meant else len(meant)
    return _CHANCE[match.how.kind], said, out_of_step, odd, match.how.scale != 1, match.address


async def _words(reach: Reach, function: int, number: int | None, upto: int) -> Words:
    if number is None:
        return await reach.words(function, 0, upto)
    return await reach.around(
        function, sorted({address for kind, address in addresses_meant(number) if kind == function})
    )


def _matches(words: dict[int, Words], wanted: Wanted) -> Iterator[Match]:
    for function, held in words.items():
        for address in sorted(held):
            for how in interpretations(held, address):
                if wanted.has(how.value):
                    yield Match(function, address, how)


def _key(match: Match) -> tuple[object, ...]:
    return (*match[:2], *match.how[:4])
