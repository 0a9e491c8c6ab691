"""The profile of an instrument model: everything that has to be known of it, in one strict, frozen model per dialect.

Between the TOML file (`catalogue.py` reads it) and everybody who asks: the agent's configuration, `scan`, `calibrate`,
the pages in docs/instruments (`describing.py`).
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from lms_protocol.checked_toml.findings import Checked, Wrong
from lms_protocol.instruments.calibration import Procedure, Step
from lms_protocol.instruments.facts import (
    MODBUS_LINKS,
    CommandIdentity,
    Evidence,
    Fact,
    Link,
    RegisterIdentity,
    Source,
    Timing,
)
from lms_protocol.instruments.points import AlicatPoint, BalancePoint, EzoPoint, ModbusProfilePoint, PumpPoint
from lms_protocol.instruments.registers import (
    Order,
    RegisterBlock,
    StatusMeaning,
    StatusWord,
    UnitCode,
    UnitName,
    WordKind,
)


class BaseProfile(Checked):
    """What every profile has, whatever its dialect."""

    id: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60)
    maker: str = Field(min_length=1, max_length=60)
    models: Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
    words: str = Field(min_length=1, max_length=200)
    sources: Annotated[tuple[Source, ...], Field(strict=False, alias="source", min_length=1)]
    links: Annotated[tuple[Link, ...], Field(strict=False, alias="link", min_length=1)]
    timing: Timing
    notes: Annotated[tuple[str, ...], Field(strict=False)] = ()

    def source_of(self, fact: Fact | Procedure) -> Source:
        """Where a fact of this profile comes from."""
        return next(source for source in self.sources if source.id == fact.source)

    def evidence_of(self, fact: Fact | Procedure) -> Evidence:
        """Whether a fact is verified or only reported."""
        return self.source_of(fact).evidence

    def facts(self) -> Iterator[tuple[str, Fact | Procedure]]:
        """Every fact, with the path of its table."""
        for at, link in enumerate(self.links):
            yield f"link.{at}", link
        yield "timing", self.timing

    def instrument_keys(self) -> dict[str, Any]:
        """What an instrument of this model is set to, as keys of the configuration's `[[instrument]]`."""
        return {}

    @property
    def evidence(self) -> Evidence:
        """Whether its readings rest on the maker's word: `verified` if all that is said of points is."""
        said = [self.evidence_of(fact) for path, fact in self.facts() if _is_of_readings(path)]
        return "verified" if said and set(said) == {"verified"} else "reported"

    def _contradictions(self) -> Iterator[Wrong]:
        yield from super()._contradictions()
        ids = [source.id for source in self.sources]
        for at, source in enumerate(ids):
            if source in ids[:at]:
                yield f"source.{at}.id", f'"{source}" a second time', "an id that no other source has"
        known = ", ".join(f'"{source}"' for source in ids)
        for path, fact in self.facts():
            if fact.source not in ids:
                yield f"{path}.source", f'"{fact.source}"', f"the id of a [[source]]: {known}"


class NamedStatus(Fact, StatusMeaning):
    """`[[status]]`: status words that mean the same, wherever they lie; points name it.

    `address` is where all points find it; without it, each point says where its own lies (`status_address`).
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")
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
        yield from _facts_of_points(self.points)

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
        yield from _unfit_links(self.links, MODBUS_LINKS)
        yield from _unfit_points(self.points, writes=True)
        for at, point in enumerate(self.points):
            yield from self._unfit_status(f"point.{at}", point)
            yield from self._unfit_unit(f"point.{at}", point)

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


class BalanceProfile(BaseProfile):
    """A balance that speaks MT-SICS."""

    driver: Literal["mt-sics"]
    identity: CommandIdentity | None = None
    points: Annotated[tuple[BalancePoint, ...], Field(strict=False, alias="point", min_length=1)]

    def facts(self) -> Iterator[tuple[str, Fact | Procedure]]:
        """Every fact, with the path of its table."""
        yield from super().facts()
        yield from _facts_of_talk(self.identity, self.points)

    def _contradictions(self) -> Iterator[Wrong]:
        yield from super()._contradictions()
        yield from _unfit_links(self.links, ("serial",))
        yield from _unfit_points(self.points, writes=False)


class EzoProfile(BaseProfile):
    """An Atlas Scientific EZO circuit."""

    driver: Literal["ezo"]
    identity: CommandIdentity | None = None
    points: Annotated[tuple[EzoPoint, ...], Field(strict=False, alias="point", min_length=1)]

    def facts(self) -> Iterator[tuple[str, Fact | Procedure]]:
        """Every fact, with the path of its table."""
        yield from super().facts()
        yield from _facts_of_talk(self.identity, self.points)

    def _contradictions(self) -> Iterator[Wrong]:
        yield from super()._contradictions()
        yield from _unfit_links(self.links, ("serial",))
        yield from _unfit_points(self.points, writes=False)


class AlicatDefaults(Fact):
    """`[instrument]` of an Alicat profile: the unit's letter."""

    unit: str = Field("A", pattern=r"^[A-Z]$")


class AlicatProfile(BaseProfile):
    """An Alicat meter or controller that talks in lines of ASCII."""

    driver: Literal["alicat"]
    instrument: AlicatDefaults
    identity: CommandIdentity | None = None
    points: Annotated[tuple[AlicatPoint, ...], Field(strict=False, alias="point", min_length=1)]

    def instrument_keys(self) -> dict[str, Any]:
        """What an instrument of this model is set to, as keys of the configuration's `[[instrument]]`."""
        return self.instrument.model_dump(by_alias=True, exclude={"source", "page"})

    def facts(self) -> Iterator[tuple[str, Fact | Procedure]]:
        """Every fact, with the path of its table."""
        yield from super().facts()
        yield "instrument", self.instrument
        yield from _facts_of_talk(self.identity, self.points)

    def _contradictions(self) -> Iterator[Wrong]:
        yield from super()._contradictions()
        yield from _unfit_links(self.links, ("serial",))
        yield from _unfit_points(self.points, writes=False)


class PumpDefaults(Fact):
    """`[instrument]` of a pump's profile: the pump's number."""

    unit: int = Field(1, ge=1, le=32)


class PumpProfile(BaseProfile):
    """A Watson-Marlow pump."""

    driver: Literal["watson-marlow"]
    instrument: PumpDefaults
    identity: CommandIdentity | None = None
    points: Annotated[tuple[PumpPoint, ...], Field(strict=False, alias="point", min_length=1)]

    def instrument_keys(self) -> dict[str, Any]:
        """What an instrument of this model is set to, as keys of the configuration's `[[instrument]]`."""
        return self.instrument.model_dump(by_alias=True, exclude={"source", "page"})

    def facts(self) -> Iterator[tuple[str, Fact | Procedure]]:
        """Every fact, with the path of its table."""
        yield from super().facts()
        yield "instrument", self.instrument
        yield from _facts_of_talk(self.identity, self.points)

    def _contradictions(self) -> Iterator[Wrong]:
        yield from super()._contradictions()
        yield from _unfit_links(self.links, ("serial",))
        yield from _unfit_points(self.points, writes=False)


Profile: TypeAlias = ModbusProfile | BalanceProfile | EzoProfile | AlicatProfile | PumpProfile
AnyPoint: TypeAlias = ModbusProfilePoint | BalancePoint | EzoPoint | AlicatPoint | PumpPoint


class ProfileFile(Checked):
    """A file that is one profile; wraps the choice among dialects, which `driver` makes."""

    profile: Profile = Field(discriminator="driver")


def _is_of_readings(path: str) -> bool:
    return path.split(".", maxsplit=1)[0] in ("point", "status", "unit_codes") and not path.endswith("calibration")


def _words_of(point: ModbusProfilePoint) -> Literal["holding", "input"]:
    """The registers in which the words beside a value lie: the same as the value's."""
    return "input" if point.register_ == "input" else "holding"


def _facts_of_points(points: tuple[AnyPoint, ...]) -> Iterator[tuple[str, Fact | Procedure]]:
    for at, point in enumerate(points):
        yield f"point.{at}", point
        if point.calibration is not None:
            yield f"point.{at}.calibration", point.calibration


def _facts_of_talk(
    identity: CommandIdentity | None, points: tuple[AnyPoint, ...]
) -> Iterator[tuple[str, Fact | Procedure]]:
    if identity is not None:
        yield "identity", identity
    yield from _facts_of_points(points)


def _unfit_links(links: tuple[Link, ...], kinds: tuple[str, ...]) -> Iterator[Wrong]:
    for at, link in enumerate(links):
        if link.kind not in kinds:
            allowed = " or ".join(f'"{kind}"' for kind in kinds)
            yield f"link.{at}.kind", f'"{link.kind}"', f"{allowed} for this driver"


def _unfit_points(points: tuple[AnyPoint, ...], *, writes: bool) -> Iterator[Wrong]:
    """Names and tags are there once; steps of a calibration speak the dialect."""
    for key in ("name", "tag"):
        seen: set[str] = set()
        for at, point in enumerate(points):
            text = getattr(point, key)
            if text in seen:
                yield f"point.{at}.{key}", f'"{text}" a second time', f"a {key} that no other point has"
            seen.add(text)
    for at, point in enumerate(points):
        procedure = point.calibration
        if procedure is None:
            continue
        for path, step in _steps(procedure):
            if (step.write is not None) != writes:
                found, allowed = ("a command", "registers to write") if writes else ("registers to write", "a command")
                yield f"point.{at}.calibration.{path}", found, f"{allowed}, for this driver"


def _steps(procedure: Procedure) -> Iterator[tuple[str, Step]]:
    yield from ((f"before.{at}", step) for at, step in enumerate(procedure.before))
    yield from ((f"after.{at}", step) for at, step in enumerate(procedure.after))
    for which, reference in enumerate(procedure.references):
        yield from ((f"reference.{which}.step.{at}", step) for at, step in enumerate(reference.steps))
