"""What is known of a model besides its points: where from, how it is connected, how it is recognised.

Neighbours: `model.py` puts it together.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from lms_protocol.checked_toml.findings import Checked, Wrong
from lms_protocol.instruments.names import Slug
from lms_protocol.instruments.wording import Pattern, Template, fits, worded

Evidence = Literal["verified", "reported"]
Parity = Literal["none", "even", "odd"]
MODBUS_LINKS = ("modbus-rtu", "modbus-tcp")


class Source(Checked):
    """`[[source]]`: where facts come from. `verified`: the maker's manual says so; `reported`: others do.

    Facts name a source by `id`, and the page or section in `page`.
    """

    id: Slug
    title: str = Field(min_length=1, max_length=200)
    evidence: Evidence


class Fact(Checked):
    """Something that is known from somewhere: the id of a `[[source]]`, and the page or section in it."""

    source: str
    page: str = Field("", max_length=60)


class Link(Fact):
    """`[[link]]`: one way to connect the instrument: what it is set to in its box, and what else it can be set to.

    The choices are there to be tried (`lms-agent scan`), and for people; nobody is held to them.
    """

    kind: Literal["modbus-rtu", "modbus-tcp", "serial"]
    baud: int | None = Field(None, ge=300, le=4_000_000)
    bauds: Annotated[tuple[int, ...], Field(strict=False)] = ()
    parity: Parity = "none"
    parities: Annotated[tuple[Parity, ...], Field(strict=False)] = ()
    stop_bits: Literal[1, 2] = 1
    stop_bits_choices: Annotated[tuple[Literal[1, 2], ...], Field(strict=False)] = ()
    data_bits: Literal[7, 8] = 8
    port: int | None = Field(None, ge=1, le=65535)

    def all_bauds(self) -> tuple[int, ...]:
        """The rates to try, the usual one first."""
        return tuple(dict.fromkeys((*((self.baud,) if self.baud else ()), *self.bauds)))

    def _contradictions(self) -> Iterator[Wrong]:
        yield from super()._contradictions()
        if self.kind == "modbus-tcp":
            if self.baud is not None or self.bauds:
                yield "baud", "a rate", "no rate: a TCP endpoint has none"
        elif self.baud is None:
            yield "baud", "nothing", "the rate that the instrument is set to in its box"
        elif self.bauds and self.baud not in self.bauds:
            yield "baud", str(self.baud), f"one of bauds: {', '.join(map(str, self.bauds))}"
        if self.kind != "modbus-tcp" and self.port is not None:
            yield "port", str(self.port), "no port: it is a serial line"


class Timing(Fact):
    """`[timing]`: how long the instrument takes to answer at most, how often it can be asked, what it wants between."""

    reply_s: float = Field(gt=0, le=60)
    period_s: float = Field(1.0, ge=0.05, le=86_400)
    pause_s: float = Field(0.0, ge=0, le=10)


class RegisterIdentity(Fact):
    """`[identity]` of a Modbus instrument: text in its registers (two characters each) that must hold one of `texts`.

    Makers differ in which character of a register comes first, so the text is looked for in both orders.
    """

    register_: Literal["holding", "input"] = Field("holding", alias="register")
    address: int = Field(ge=0, le=65535)
    count: int = Field(ge=1, le=125)
    texts: Annotated[tuple[str, ...], Field(strict=False, min_length=1)]

    def fits(self, data: bytes) -> bool:
        """Whether the bytes of the registers, as they came, are those of this model."""
        return any(text.encode("ascii", "replace") in order for text in self.texts for order in _orders(data))

    def shown(self, data: bytes) -> str:
        """The text in the registers, for people: in both orders of characters if none is ours; "" if it is no text."""
        for text in self.texts:
            for order in _orders(data):
                if text.encode("ascii", "replace") in order:
                    return _readable(order)
        return " or ".join(dict.fromkeys(text for text in map(_readable, _orders(data)) if text))


def _orders(data: bytes) -> tuple[bytes, bytes]:
    swapped = bytearray(data)
    swapped[0::2], swapped[1::2] = data[1::2], data[0::2]
    return data, bytes(swapped)


def _readable(data: bytes) -> str:
    text = data.rstrip(b"\0").decode("ascii", "replace").strip()
    return text if text.isprintable() and "\ufffd" not in text else ""


class CommandIdentity(Fact):
    """`[identity]` of an instrument that talks in lines: a question, and a regular expression that its answer matches.

    `ask` may hold `{unit}`, the instrument's address on its line.
    """

    ask: Template
    answer: Pattern

    def question(self, unit: object = "") -> str:
        """What is sent, without the line end, to an instrument of this address."""
        return worded(self.ask, unit=unit)

    def fits(self, answer: str, unit: object = "") -> bool:
        """Whether an answer, without its line end, is that of this model."""
        return fits(self.answer, answer, unit=unit)
