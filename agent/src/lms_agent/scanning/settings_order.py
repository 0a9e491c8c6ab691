"""Which baud rates and parities are tried, the likeliest first.

Sent with two stop bits and no parity, a request is understood by units with one stop bit, too: they take the second
for a pause; and a receiver looks at one stop bit only. So 8N1 need not be tried beside 8N2.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

Parity = Literal["none", "even", "odd"]
BAUDS = (19200, 9600, 38400, 115200, 57600, 4800, 2400)
PARITIES: tuple[Parity, ...] = ("none", "even", "odd")


class LineSetting(NamedTuple):
    """How characters are sent on a serial line."""

    baud: int
    parity: Parity
    stop_bits: Literal[1, 2]

    def __str__(self) -> str:
        """As people write it, such as `19200 baud 8N2`."""
        return f"{self.baud} baud 8{self.parity[0].upper()}{self.stop_bits}"


def to_try(bauds: Sequence[int] = BAUDS, parities: Sequence[Parity] = PARITIES) -> Iterator[LineSetting]:
    """Every combination: all baud rates without parity, then all with even, then with odd."""
    for parity in parities:
        for baud in bauds:
            yield LineSetting(baud, parity, 2 if parity == "none" else 1)
