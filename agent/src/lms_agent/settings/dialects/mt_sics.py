"""A Mettler Toledo balance; read by `lms_agent.drivers.mt_sics`."""

from typing import Annotated, Literal

from lms_protocol.instruments.facts import CommandIdentity
from lms_protocol.reading import Datatype
from pydantic import Field

from lms_agent.settings.dialects.instrument import Instrument
from lms_agent.settings.points import InstrumentPoint


class CommandPoint(InstrumentPoint):
    """A weight that a balance tells on command.

    `SI`: the weight now, stable or not. `S`: the next stable weight. `unit` must be what the balance sends.
    """

    unit: str = Field(min_length=1, max_length=8)
    command: Literal["SI", "S"] = "SI"
    access: Literal["read"] = "read"

    @property
    def datatype(self) -> Datatype:
        """Weights are doubles."""
        return Datatype.DOUBLE


class MtSicsInstrument(Instrument):
    """`[[instrument]] driver = "mt-sics"`: a Mettler Toledo balance, alone on a serial bus."""

    driver: Literal["mt-sics"]
    identity: CommandIdentity | None = None
    points: Annotated[tuple[CommandPoint, ...], Field(strict=False, alias="point", min_length=1)]
