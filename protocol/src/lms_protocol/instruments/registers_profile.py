"""The profile of a model whose values lie in Modbus registers."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from lms_protocol.checked_toml.findings import Wrong
from lms_protocol.instruments.base import BaseProfile, facts_of_points, unfit_links, unfit_points
from lms_protocol.instruments.calibration import Procedure
from lms_protocol.instruments.facts import MODBUS_LINKS, Fact, RegisterIdentity
from lms_protocol.instruments.layout import Span, clashes, cut_by_blocks, span_of
from lms_protocol.instruments.names import Slug
from lms_protocol.instruments.points import ModbusProfilePoint
from lms_protocol.instruments.registers import (
    Order,
    RegisterBlock,
    StatusMeaning,
    StatusWord,
    UnitCode,
    UnitName,
    WordKind,
)


class NamedStatus(Fact, StatusMeaning):
    """`[[status]]`: status words that mean the same, wherever they lie; points name it.

    `address` is where all points find it; without it, each point says where its own lies (`status_address`).
    """

    name: Slug
    kind: WordKind = "uint16"
    word_order: Order = "big"
    byte_order: Order = "big"
    address: int | None = Field(None, ge=0, le=65535)


class UnitCodes(Fact):
    """`[unit_codes]`: which number in a unit word stands for which unit."""

    kind: WordKind = "uint16"
    word_order: Order = "big"
    byte_order: Order = "big"
    names: Annotated[tuple[UnitName, ...], Field(strict=False, alias="name", min_length=1)]


class ModbusDefaults(Fact):
    """`[instrument]` of a Modbus profile: what the configuration's `[[instrument]]` says if it says nothing else."""

    unit: int = Field(1, ge=0, le=255)
    largest_block: int = Field(125, ge=1, le=125)
    largest_bit_block: int = Field(2000, ge=1, le=2000)
    largest_gap: int = Field(8, ge=0, le=124)
    single_writes: bool = True
    blocks: Annotated[tuple[RegisterBlock, ...], Field(strict=False, alias="block")] = ()


class ModbusProfile(BaseProfile):
    """A model whose values lie in Modbus registers."""

    driver: Literal["modbus"]
    instrument: ModbusDefaults
    identity: RegisterIdentity | None = None
    statuses: Annotated[tuple[NamedStatus, ...], Field(strict=False, alias="status")] = ()
    unit_codes: UnitCodes | None = None
    points: Annotated[tuple[ModbusProfilePoint, ...], Field(strict=False, alias="point")] = ()

    def instrument_keys(self) -> dict[str, Any]:
        """What an instrument of this model is set to, as keys of the configuration's `[[instrument]]`."""
        return self.instrument.model_dump(by_alias=True, exclude={"source", "page"})

    def facts(self) -> Iterator[tuple[str, Fact | Procedure]]:
        """Every fact, with the path of its table."""
        yield from super().facts()
        yield "instrument", self.instrument
        if self.identity is not None:
            yield "identity", self.identity
        if self.unit_codes is not None:
            yield "unit_codes", self.unit_codes
        yield from ((f"status.{at}", status) for at, status in enumerate(self.statuses))
        yield from facts_of_points(self.points)

    def status_of(self, point: ModbusProfilePoint) -> StatusWord | None:
        """The status word of a point; None if it has none."""
        named = next((status for status in self.statuses if status.name == point.status), None)
        address = point.status_address if point.status_address is not None else named.address if named else None
        if named is None or address is None:
            return None
        said = {key: getattr(named, key) for key in ("kind", "word_order", "byte_order", "mask", "otherwise")}
        return StatusWord(register=_words_of(point), address=address, condition=named.conditions, **said)

    def unit_code_of(self, point: ModbusProfilePoint, unit: str) -> UnitCode | None:
        """The unit word of a point whose values are wanted in `unit`; None if it has none, or there is no such unit."""
        codes = self.unit_codes
        expected = next((name.code for name in codes.names if name.unit == unit), None) if codes else None
        if codes is None or point.unit_address is None or expected is None:
            return None
        said = {key: getattr(codes, key) for key in ("kind", "word_order", "byte_order")}
        return UnitCode(
            register=_words_of(point), address=point.unit_address, expected=expected, name=codes.names, **said
        )

    def _contradictions(self) -> Iterator[Wrong]:
        yield from super()._contradictions()
        yield from unfit_links(self.links, MODBUS_LINKS)
        yield from unfit_points(self.points, writes=True)
        for at, point in enumerate(self.points):
            yield from self._unfit_status(f"point.{at}", point)
            yield from self._unfit_unit(f"point.{at}", point)
        spans = list(self._spans())
        yield from clashes(spans)
        yield from cut_by_blocks(spans, self.instrument.blocks)

    def _spans(self) -> Iterator[Span]:
        """The registers of all values and of the words beside them; single bits may be looked at beside any."""
        for at, point in enumerate(self.points):
            if point.kind != "bool":
                yield span_of(f"point.{at}.address", point.name, point)
            status, unit_code = self.status_of(point), self.unit_code_of(point, point.unit)
            if status is not None:
                key = "status" if point.status_address is None else "status_address"
                yield span_of(f"point.{at}.{key}", f"the status of {point.name}", status)
            if unit_code is not None:
                yield span_of(f"point.{at}.unit_address", f"the unit of {point.name}", unit_code)

    def _unfit_status(self, path: str, point: ModbusProfilePoint) -> Iterator[Wrong]:
        if point.status is None:
            if point.status_address is not None:
                yield f"{path}.status", "nothing", "the name of the [[status]] that lies at status_address"
            return
        named = next((status for status in self.statuses if status.name == point.status), None)
        if named is None:
            known = ", ".join(f'"{status.name}"' for status in self.statuses) or "there is none"
            yield f"{path}.status", f'"{point.status}"', f"the name of a [[status]]: {known}"
        elif point.status_address is None and named.address is None:
            allowed = f'where the status lies for this point, as [[status]] "{named.name}" has no address'
            yield f"{path}.status_address", "nothing", allowed

    def _unfit_unit(self, path: str, point: ModbusProfilePoint) -> Iterator[Wrong]:
        if point.unit_address is None:
            return
        if self.unit_codes is None:
            yield f"{path}.unit_address", str(point.unit_address), "no unit_address without [unit_codes]"
            return
        units = [name.unit for name in self.unit_codes.names]
        if point.unit not in units:
            known = ", ".join(f'"{unit}"' for unit in units)
            yield f"{path}.unit", f'"{point.unit}"', f"a unit of [unit_codes]: {known}"


def _words_of(point: ModbusProfilePoint) -> Literal["holding", "input"]:
    """The registers in which the words beside a value lie: the same as the value's."""
    return "input" if point.register_ == "input" else "holding"
