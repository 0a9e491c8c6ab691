"""An Alicat mass-flow or pressure instrument on its serial line; read by `lms_agent.drivers.alicat`."""

from collections.abc import Iterator
from string import ascii_uppercase
from typing import Annotated, Literal

from lms_protocol.checked_toml.findings import Wrong, quoted, wrong
from lms_protocol.instruments.facts import CommandIdentity
from lms_protocol.instruments.points import AlicatField
from lms_protocol.reading import Datatype
from pydantic import AfterValidator, Field

from lms_agent.settings.dialects.instrument import Instrument
from lms_agent.settings.points import InstrumentPoint


class AlicatPoint(InstrumentPoint):
    """A value of the line that an Alicat instrument answers to a poll. Only the set point can be written."""

    field: AlicatField

    @property
    def datatype(self) -> Datatype:
        """Numbers are decimal; the gas is a name."""
        return Datatype.STRING if self.field == "gas" else Datatype.DOUBLE

    def _contradictions(self) -> Iterator[Wrong]:
        yield from super()._contradictions()
        if self.access == "write" and self.field != "set_point":
            yield "access", '"write"', '"read": only the set_point can be written'


def _check_letter(text: str) -> str:
    if len(text) != 1 or text not in ascii_uppercase:
        raise wrong(("", quoted(text), 'a letter, "A" to "Z", as the instrument is set'))
    return text


class AlicatInstrument(Instrument):
    """`[[instrument]] driver = "alicat"`: one of several on a serial bus, told apart by their unit letters."""

    driver: Literal["alicat"]
    identity: CommandIdentity | None = None
    unit: Annotated[str, AfterValidator(_check_letter)] = "A"
    points: Annotated[tuple[AlicatPoint, ...], Field(strict=False, alias="point", min_length=1)]
