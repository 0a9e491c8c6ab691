"""Profiles of models that talk in lines of text, one for each dialect."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from lms_protocol.checked_toml.findings import Wrong
from lms_protocol.instruments.base import BaseProfile, facts_of_points, unfit_links, unfit_points
from lms_protocol.instruments.calibration import Procedure
from lms_protocol.instruments.facts import CommandIdentity, Fact
from lms_protocol.instruments.points import AlicatPoint, BalancePoint, EzoPoint, ProfilePoint, PumpPoint


class LinesProfile(BaseProfile):
    """What these profiles have in common: a serial line, points, and a question that shows which model it is."""

    identity: CommandIdentity | None = None
    points: Annotated[tuple[ProfilePoint, ...], Field(strict=False, alias="point", min_length=1)]

    def facts(self) -> Iterator[tuple[str, Fact | Procedure]]:
        """Every fact, with the path of its table."""
        yield from super().facts()
        if self.identity is not None:
            yield "identity", self.identity
        yield from facts_of_points(self.points)

    def _contradictions(self) -> Iterator[Wrong]:
        yield from super()._contradictions()
        yield from unfit_links(self.links, ("serial",))
        yield from unfit_points(self.points, writes=False)


class BalanceProfile(LinesProfile):
    """A balance that speaks MT-SICS."""

    driver: Literal["mt-sics"]
    points: Annotated[tuple[BalancePoint, ...], Field(strict=False, alias="point", min_length=1)]


class EzoProfile(LinesProfile):
    """An Atlas Scientific EZO circuit."""

    driver: Literal["ezo"]
    points: Annotated[tuple[EzoPoint, ...], Field(strict=False, alias="point", min_length=1)]


class AlicatDefaults(Fact):
    """`[instrument]` of an Alicat profile: the unit's letter."""

    unit: str = Field("A", pattern=r"^[A-Z]$")


class AlicatProfile(LinesProfile):
    """An Alicat meter or controller that talks in lines of ASCII."""

    driver: Literal["alicat"]
    instrument: AlicatDefaults
    points: Annotated[tuple[AlicatPoint, ...], Field(strict=False, alias="point", min_length=1)]

    def instrument_keys(self) -> dict[str, Any]:
        """What an instrument of this model is set to, as keys of the configuration's `[[instrument]]`."""
        return {"unit": self.instrument.unit}

    def facts(self) -> Iterator[tuple[str, Fact | Procedure]]:
        """Every fact, with the path of its table."""
        yield from super().facts()
        yield "instrument", self.instrument


class PumpDefaults(Fact):
    """`[instrument]` of a pump's profile: the pump's number."""

    unit: int = Field(1, ge=1, le=32)


class PumpProfile(LinesProfile):
    """A Watson-Marlow pump."""

    driver: Literal["watson-marlow"]
    instrument: PumpDefaults
    points: Annotated[tuple[PumpPoint, ...], Field(strict=False, alias="point", min_length=1)]

    def instrument_keys(self) -> dict[str, Any]:
        """What an instrument of this model is set to, as keys of the configuration's `[[instrument]]`."""
        return {"unit": self.instrument.unit}

    def facts(self) -> Iterator[tuple[str, Fact | Procedure]]:
        """Every fact, with the path of its table."""
        yield from super().facts()
        yield "instrument", self.instrument
