"""A Mettler Toledo balance; read by `lms_agent.drivers.mt_sics`."""

from collections.abc import Iterator
from typing import Annotated, Literal

from lms_protocol.checked_toml.findings import Wrong
from lms_protocol.instruments.facts import CommandIdentity
from lms_protocol.instruments.points import BalanceCommand
from lms_protocol.reading import Datatype
from pydantic import Field

from lms_agent.settings.dialects.instrument import Instrument
from lms_agent.settings.points import InstrumentPoint


class CommandPoint(InstrumentPoint):
    """A weight that a balance tells on command.

    `SI`: the weight now, stable or not. `S`: the next stable weight. `TA`: the tare, which alone can be written. `unit`
    must be what the balance sends.
    """

    unit: str = Field(min_length=1, max_length=8)
    command: BalanceCommand = "SI"

    @property
    def datatype(self) -> Datatype:
        """Weights are doubles."""
        return Datatype.DOUBLE

    def _contradictions(self) -> Iterator[Wrong]:
        yield from super()._contradictions()
        if self.access == "write" and self.command != "TA":
            yield "access", '"write"', '"read": what lies on the pan is weighed; only the tare (TA) can be written'


class MtSicsInstrument(Instrument):
    """`[[instrument]] driver = "mt-sics"`: a Mettler Toledo balance, alone on a serial bus."""

    driver: Literal["mt-sics"]
    identity: CommandIdentity | None = None
    points: Annotated[tuple[CommandPoint, ...], Field(strict=False, alias="point", min_length=1)]
