"""What in an instrument's registers cannot all be true: two things in one place, or half of one in a block.

Used for profiles (`registers_profile.py`).
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from lms_protocol.checked_toml.findings import Wrong
from lms_protocol.instruments.registers import RegisterBlock, RegisterValue, RegisterWord


class Span(NamedTuple):
    """Registers that one thing takes.

    Attributes:
        key: where its address stands in the file.
        name: what it is, for people.
        register: which of the tables it lies in.
        first, width: its registers.
        coding: how it is coded; two names for one thing have the same.
    """

    key: str
    name: str
    register: str
    first: int
    width: int
    coding: tuple[str, ...]

    @property
    def end(self) -> int:
        """The address after the last."""
        return self.first + self.width

    @property
    def shown(self) -> str:
        """Its registers, for people."""
        return str(self.first) if self.width == 1 else f"{self.first} to {self.end - 1}"


def span_of(key: str, name: str, place: RegisterValue | RegisterWord) -> Span:
    """The registers of a value, or of a word beside one."""
    coding = (place.kind, place.word_order, place.byte_order)
    return Span(key, name, place.register_, place.address, place.width, coding)


def clashes(spans: Iterable[Span]) -> Iterator[Wrong]:
    """Registers that are two different things at once."""
    ordered = sorted(spans, key=lambda span: (span.register, span.first, span.end))
    for one, other in pairwise(ordered):
        is_other_thing = (one.first, one.coding) != (other.first, other.coding)
        if one.register == other.register and other.first < one.end and is_other_thing:
            found = f"{other.name} in registers {other.shown}"
            yield other.key, found, f"registers of its own; {one.name} has {one.shown} as {one.coding[0]}"


def cut_by_blocks(spans: Iterable[Span], blocks: Sequence[RegisterBlock]) -> Iterator[Wrong]:
    """Things that lie half in a block, of which the instrument gives nothing but the whole."""
    for span in spans:
        for block in blocks:
            end = block.address + block.count
            touches = span.register == block.register_ and span.first < end and block.address < span.end
            if touches and not (block.address <= span.first and span.end <= end):
                found = f"{span.name} in registers {span.shown}"
                yield span.key, found, f"all of it in the block of registers {block.address} to {end - 1}, or nothing"
