"""An Atlas Scientific EZO circuit; read by `lms_agent.drivers.ezo`."""

from collections.abc import Iterator
from typing import Annotated, Literal

from lms_protocol.checked_toml.findings import Wrong, quoted
from lms_protocol.instruments.facts import CommandIdentity
from lms_protocol.instruments.points import EzoField
from lms_protocol.reading import Datatype
from pydantic import Field

from lms_agent.settings.dialects.instrument import Instrument
from lms_agent.settings.points import InstrumentPoint

READING_S = {"pH": 0.9, "DO": 0.6}
"""How long a circuit needs for a reading."""
SETTING_S = 0.3
"""And for anything else that it is asked or told."""


class EzoPoint(InstrumentPoint):
    """A value that an EZO circuit tells.

    `pH`; `DO.%` and `DO.mg`: dissolved oxygen in percent of saturation and in mg/L; `temperature`: the one that the
    circuit compensates for, in °C, which is told to it and not measured. Only that can be written.
    """

    field: EzoField

    @property
    def datatype(self) -> Datatype:
        """Circuits say decimal numbers."""
        return Datatype.DOUBLE

    def _contradictions(self) -> Iterator[Wrong]:
        yield from super()._contradictions()
        if self.access == "write" and self.field != "temperature":
            yield "access", '"write"', f'"read": {self.field} is measured; only the temperature can be written'


class EzoInstrument(Instrument):
    """`[[instrument]] driver = "ezo"`: a pH or DO circuit, alone on a serial bus.

    `temperature_c` is what it shall compensate for; it forgets that when its power fails, so it is told with every
    reading. Without it the circuit compensates for what it was told last, 25 °C after its power failed.
    """

    driver: Literal["ezo"]
    identity: CommandIdentity | None = None
    temperature_c: float | None = Field(None, ge=-20, le=130)
    points: Annotated[tuple[EzoPoint, ...], Field(strict=False, alias="point", min_length=1)]

    @property
    def measures(self) -> Literal["pH", "DO"]:
        """Which circuit it is."""
        return "pH" if any(point.field == "pH" for point in self.points) else "DO"

    def _contradictions(self) -> Iterator[Wrong]:
        yield from super()._contradictions()
        fields = [point.field for point in self.points]
        if "pH" in fields and any(field.startswith("DO") for field in fields):
            yield "point", "pH and dissolved oxygen", "one or the other: each has a circuit of its own"
        if set(fields) == {"temperature"}:
            yield "point", quoted("temperature") + " alone", "what the circuit measures as well"
        if self.temperature_c is not None and any(point.access == "write" for point in self.points):
            found = f"{self.temperature_c:g} beside a temperature that can be written"
            yield "temperature_c", found, "one of the two: this one is told with every reading"
        needed_s = READING_S[self.measures] + ("temperature" in fields) * SETTING_S
        if self.period_s < needed_s:
            yield "period_s", f"{self.period_s:g}", f"at least {needed_s:g}: so long the circuit needs to answer"
