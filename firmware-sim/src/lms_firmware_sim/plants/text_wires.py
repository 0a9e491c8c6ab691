"""The wires of a plant's file on which instruments speak text, alone or several with an address each."""

from collections.abc import Iterable
from typing import Literal, NamedTuple, Self

from pydantic import Field, model_validator

from lms_firmware_sim.plants.strict import Baud, Id, SerialDescription, Strict


class Shown(NamedTuple):
    """What a client gets for a command: a tag, in a unit."""

    said: str
    tag: str
    unit: str


class TextWireDescription(SerialDescription):
    """A wire with one or more text instruments.

    Attributes:
        kind: the dialect.
        echo: sends back every byte that comes.
    """

    kind: str
    echo: bool = False

    def bioreactors(self) -> set[str]:
        """Ids of the bioreactors that it leads to."""
        raise NotImplementedError

    def shown(self) -> list[Shown]:
        """What a client can ask for."""
        raise NotImplementedError


class _EzoDescription(TextWireDescription):
    bioreactor: Id
    streaming_s: float = Field(default=1.0, ge=0, le=99)

    def bioreactors(self) -> set[str]:
        """Ids of the bioreactors that it leads to."""
        return {self.bioreactor}


class EzoPhDescription(_EzoDescription):
    """`[[wire]] kind = "ezo-ph"`: an EZO circuit with a pH electrode in the vessel; feels `pH/PV`.

    Attributes:
        streaming_s: time between two readings that nobody asked for; 0 does not stream.
        slope_percent, offset_mv: the electrode's age; 100 and 0 when new.
    """

    kind: Literal["ezo-ph"]
    slope_percent: float = Field(default=100.0, ge=10, le=110)
    offset_mv: float = Field(default=0.0, ge=-100, le=100)

    def shown(self) -> list[Shown]:
        """What a client can ask for."""
        return [Shown("R", "pH/PV", "pH")]


class EzoDoDescription(_EzoDescription):
    """`[[wire]] kind = "ezo-do"`: an EZO circuit with an oxygen probe in the vessel; feels `DO/PV`.

    Attributes:
        streaming_s: time between two readings that nobody asked for; 0 does not stream.
        gain, zero_percent: the probe's age; 1 and 0 when new.
    """

    kind: Literal["ezo-do"]
    gain: float = Field(default=1.0, ge=0.1, le=2)
    zero_percent: float = Field(default=0.0, ge=-10, le=10)

    def shown(self) -> list[Shown]:
        """What a client can ask for."""
        return [Shown("R", "DO/PV", "mg/L, and % when switched on")]


class FlowControllerDescription(Strict):
    """`[[wire.controller]]`: one Alicat on the line; acts on `AirFlow/SP`, feels `AirFlow/PV`.

    Attributes:
        unit: its letter.
        full_scale_l_min: largest set point.
        zero_l_min: what it shows without flow, until it is tared.
    """

    unit: str = Field(default="A", pattern=r"^[A-Z]$")
    bioreactor: Id
    full_scale_l_min: float = Field(default=20.0, gt=0, le=5000)
    zero_l_min: float = Field(default=0.0, ge=-1, le=1)


class AlicatDescription(TextWireDescription):
    """`[[wire]] kind = "alicat"`: Alicat mass-flow controllers, ASCII dialect."""

    kind: Literal["alicat"]
    baud: Baud = 19_200
    controller: tuple[FlowControllerDescription, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _addresses(self) -> Self:
        _unique("unit", [each.unit for each in self.controller])
        return self

    def bioreactors(self) -> set[str]:
        """Ids of the bioreactors that it leads to."""
        return {each.bioreactor for each in self.controller}

    def shown(self) -> list[Shown]:
        """What a client can ask for."""
        return [
            shown
            for each in self.controller
            for shown in (Shown(each.unit, "AirFlow/PV", "SLPM"), Shown(f"{each.unit}S1.5", "AirFlow/SP", "SLPM"))
        ]


class PumpDescription(Strict):
    """`[[wire.pump]]`: one Watson-Marlow pump on the line. It stands for itself: no bioreactor drinks from it.

    Attributes:
        number: its address; a 323 has none but 1.
        max_rpm: its fastest.
    """

    number: int = Field(default=1, ge=1, le=16)
    bioreactor: Id
    model: Literal["520Du", "323Du"] = "520Du"
    ml_per_revolution: float = Field(default=15.84, gt=0, le=99.99)
    head: str = Field(default="520R", pattern=r"^[!-~]{1,10}$")
    tube: str = Field(default="9.6MM", pattern=r"^[!-~]{1,10}$")
    max_rpm: float = Field(default=220.0, gt=0, le=400)


class WatsonMarlowDescription(TextWireDescription):
    """`[[wire]] kind = "watson-marlow"`: Watson-Marlow pumps."""

    kind: Literal["watson-marlow"]
    pump: tuple[PumpDescription, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _addresses(self) -> Self:
        _unique("number", [each.number for each in self.pump])
        if len(self.pump) > 1 and any(each.model == "323Du" for each in self.pump):
            raise ValueError("a 323Du must be alone on its wire: it speaks RS232")
        return self

    def bioreactors(self) -> set[str]:
        """Ids of the bioreactors that it leads to."""
        return {each.bioreactor for each in self.pump}

    def shown(self) -> list[Shown]:
        """What a client can ask for."""
        return [Shown(f"{each.number}RS", "speed, direction, running", "rpm") for each in self.pump]


def _unique(what: str, addresses: Iterable[object]) -> None:
    listed = [str(each) for each in addresses]
    doubled = sorted({each for each in listed if listed.count(each) > 1})
    if doubled:
        raise ValueError(f"{what} {', '.join(doubled)} is given more than once")
