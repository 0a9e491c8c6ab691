"""A Watson-Marlow pump; read by `lms_agent.drivers.watson_marlow`."""

from collections.abc import Iterator
from typing import Annotated, Literal

from lms_protocol.checked_toml.findings import Wrong
from lms_protocol.instruments.facts import CommandIdentity
from lms_protocol.instruments.points import PumpField
from lms_protocol.reading import Datatype
from pydantic import Field

from lms_agent.settings.dialects.instrument import Instrument
from lms_agent.settings.points import InstrumentPoint

_DATATYPES: dict[PumpField, Datatype] = {
    "speed": Datatype.DOUBLE,
    "running": Datatype.BOOLEAN,
    "direction": Datatype.STRING,
    "tacho": Datatype.INT64,
}


class PumpPoint(InstrumentPoint):
    """A value that a pump tells of itself.

    `speed` in rpm, as it is set, also while the pump stands; `running`; `direction`: "CW" or "CCW"; `tacho`: counts of
    its tachometer. All but that can be written.
    """

    field: PumpField

    @property
    def datatype(self) -> Datatype:
        """Of the field."""
        return _DATATYPES[self.field]

    def _contradictions(self) -> Iterator[Wrong]:
        yield from super()._contradictions()
        if self.access == "write" and self.field == "tacho":
            yield "access", '"write"', '"read": the tacho is counted'


class WatsonMarlowInstrument(Instrument):
    """`[[instrument]] driver = "watson-marlow"`: one of several pumps on a serial bus, told apart by their numbers."""

    driver: Literal["watson-marlow"]
    identity: CommandIdentity | None = None
    unit: int = Field(1, ge=1, le=32)
    points: Annotated[tuple[PumpPoint, ...], Field(strict=False, alias="point", min_length=1)]
