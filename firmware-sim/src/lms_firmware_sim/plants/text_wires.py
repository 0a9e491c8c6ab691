"""The text instruments of a plant's file: a wire each, with the state of what hangs on it."""

from typing import ClassVar, Literal, TypedDict

from pydantic import Field

from lms_firmware_sim.plants.strict import Id, SerialDescription


class Shown(TypedDict):
    """What a client gets for a command: a tag, in a unit."""

    said: str
    tag: str
    unit: str


class TextWireDescription(SerialDescription):
    """A wire with one text instrument that serves one bioreactor.

    Attributes:
        kind: the dialect.
        tags: what a client gets for which command.
    """

    kind: str
    bioreactor: Id
    tags: ClassVar[tuple[Shown, ...]] = ()
    streaming_s: float = Field(default=1.0, ge=0, le=99)

    def bioreactors(self) -> set[str]:
        """Ids of the bioreactors that it leads to."""
        return {self.bioreactor}


class EzoPhDescription(TextWireDescription):
    """`[[wire]] kind = "ezo-ph"`: an EZO circuit with a pH electrode in the vessel; feels `pH/PV`.

    Attributes:
        streaming_s: time between two readings that nobody asked for; 0 does not stream.
        slope_percent, offset_mv: the electrode's age; 100 and 0 when new.
    """

    kind: Literal["ezo-ph"]
    tags: ClassVar[tuple[Shown, ...]] = ({"said": "R", "tag": "pH/PV", "unit": "pH"},)
    slope_percent: float = Field(default=100.0, ge=10, le=110)
    offset_mv: float = Field(default=0.0, ge=-100, le=100)


class EzoDoDescription(TextWireDescription):
    """`[[wire]] kind = "ezo-do"`: an EZO circuit with an oxygen probe in the vessel; feels `DO/PV`.

    Attributes:
        streaming_s: time between two readings that nobody asked for; 0 does not stream.
        gain, zero_percent: the probe's age; 1 and 0 when new.
    """

    kind: Literal["ezo-do"]
    tags: ClassVar[tuple[Shown, ...]] = ({"said": "R", "tag": "DO/PV", "unit": "mg/L, % when switched on"},)
    gain: float = Field(default=1.0, ge=0.1, le=2)
    zero_percent: float = Field(default=0.0, ge=-10, le=10)
