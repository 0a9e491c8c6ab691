"""What a whole map of registers looks like: which can be read, and in which word order they make sense.

Floating-point numbers of a process lie between a thousandth and a million. Read in the wrong word order they nearly
never do, so the order that gives the most such numbers is the instrument's.
"""

from collections.abc import Mapping
from typing import NamedTuple

from lms_protocol.instruments.registers import Order

from lms_agent.scanning.interpreting import ORDERS, Interpretation, interpretations

PLAUSIBLE = (1e-3, 1e6)
_LEAST_CERTAIN = 2


class Survey(NamedTuple):
    """What was found in one kind of registers.

    Attributes:
        spans: first and last address of each run of readable registers.
        order: word and byte order in which its numbers make sense; None if none stands out.
        numbers: by address, floating-point numbers in that order.
        counts: by address, whole numbers other than 0 that belong to no such number.
    """

    spans: list[tuple[int, int]]
    order: tuple[Order, Order] | None
    numbers: dict[int, Interpretation]
    counts: dict[int, int]


def survey(words: Mapping[int, int]) -> Survey:
    """Judge what was read.

    Args:
        words: registers by address.
    """
    by_order = {order: _floats(words, order) for order in ORDERS}
    ranked = sorted(ORDERS, key=lambda order: -len(by_order[order]))
    best, second = by_order[ranked[0]], by_order[ranked[1]]
    order = ranked[0] if len(best) >= _LEAST_CERTAIN and len(best) > len(second) else None
    if order is None and len(best) == 1 and not second:
        order = ranked[0]
    numbers = {} if order is None else best
    inside = {address + step for address in numbers for step in range(2)}
    counts = {address: word for address, word in words.items() if word and address not in inside}
    return Survey(_spans(words), order, numbers, counts)


def _floats(words: Mapping[int, int], order: tuple[Order, Order]) -> dict[int, Interpretation]:
    """Numbers that make sense, none sharing a register with another, from the lowest address on."""
    found: dict[int, Interpretation] = {}
    next_free = 0
    for address in sorted(words):
        if address < next_free:
            continue
        for how in interpretations(words, address):
            if (how.kind, how.word_order, how.byte_order) == ("float32", *order) and _is_plausible(how.value):
                found[address] = how
                next_free = address + 2
    return found


def _is_plausible(value: float) -> bool:
    return PLAUSIBLE[0] <= abs(value) <= PLAUSIBLE[1]


def _spans(words: Mapping[int, int]) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    for address in sorted(words):
        if spans and spans[-1][1] == address - 1:
            spans[-1] = (spans[-1][0], address)
        else:
            spans.append((address, address))
    return spans
