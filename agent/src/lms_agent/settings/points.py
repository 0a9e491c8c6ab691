"""Points: one tag each, and how an instrument is asked for it.

Register points are read by `lms_agent.drivers.modbus_registers`, command points by `lms_agent.drivers.mt_sics`.
"""

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from lms_protocol.checked_toml.findings import STRICT, Wrong, quoted, wrong
from lms_protocol.reading import Datatype
from pydantic import AfterValidator, BaseModel, Field, model_validator

Register = Literal["coil", "discrete", "holding", "input"]
Kind = Literal["bool", "int16", "uint16", "int32", "uint32", "float32", "int64", "uint64", "float64"]
Order = Literal["big", "little"]

WIDTHS: dict[Kind, int] = {
    "bool": 1, "int16": 1, "uint16": 1, "int32": 2, "uint32": 2, "float32": 2, "int64": 4, "uint64": 4, "float64": 4,
}  # fmt: skip
"""Registers that a value of each kind takes."""

_RESERVED = ("Sync/", "Node Control/", "Device Control/", "Properties/")


def _check_tag(name: str) -> str:
    allowed = (
        'a name such as "pH/PV": printable, up to 128 characters, no + or #, no / at either end, no space around it'
    )
    parts = name.split("/")
    if not name or len(name) > 128 or not name.isprintable() or any(not part or part != part.strip() for part in parts):
        raise wrong(("", quoted(name), allowed))
    if "+" in name or "#" in name:
        raise wrong(("", quoted(name), allowed))
    if name == "bdSeq" or name.startswith(_RESERVED):
        raise wrong(("", quoted(name), "any name that Sparkplug and LMS evo do not keep for themselves"))
    return name


Tag = Annotated[str, AfterValidator(_check_tag)]


class Point(BaseModel):
    """What all points have: the tag, and what people need to know of its values.

    `low` and `high` are the normal range, shown beside the value. `minimum` and `maximum` are what the instrument can
    measure at all: a value outside is kept and flagged UNCERTAIN. So is one that changes faster than `max_rate_per_s`
    or has not changed for `stuck_after_s`. With a `dead_band` a value that changes by no more than that is logged once
    in `heartbeat_s` only.

    A point with `access = "write"` may be set between `set_low` and `set_high`, by at most `set_step` at a time, and
    not again within `set_interval_s`.
    """

    model_config = STRICT

    tag: Tag
    unit: str = Field("", max_length=32)
    low: float | None = None
    high: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    decimals: int | None = Field(None, ge=0, le=15)
    access: Literal["read", "write"] = "read"
    max_rate_per_s: float | None = Field(None, gt=0)
    stuck_after_s: float | None = Field(None, gt=0)
    dead_band: float | None = Field(None, ge=0)
    heartbeat_s: float | None = Field(None, gt=0)
    set_low: float | None = None
    set_high: float | None = None
    set_step: float | None = Field(None, gt=0)
    set_interval_s: float | None = Field(None, ge=0)

    @property
    def set_range(self) -> tuple[float | None, float | None]:
        """Between what it may be set: as it says; else what it can measure; else its normal range."""
        pairs = ((self.set_low, self.set_high), (self.minimum, self.maximum), (self.low, self.high))
        return next((pair for pair in pairs if pair != (None, None)), (None, None))

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        findings = tuple(self._contradictions())
        if findings:
            raise wrong(*findings)
        return self

    def _contradictions(self) -> Iterator[Wrong]:
        for lower, upper in (("low", "high"), ("minimum", "maximum"), ("set_low", "set_high")):
            a, b = getattr(self, lower), getattr(self, upper)
            if a is not None and b is not None and not a < b:
                yield upper, f"{b:g}", f"more than {lower} = {a:g}"
        if self.heartbeat_s is not None and self.dead_band is None:
            yield "heartbeat_s", f"{self.heartbeat_s:g}", "only with a dead_band: without one every reading is logged"
        for key in ("set_low", "set_high", "set_step", "set_interval_s"):
            value = getattr(self, key)
            if value is not None and self.access == "read":
                yield key, f"{value:g}", 'only with access = "write": this point is only read'


class RegisterPoint(Point):
    """A value in a Modbus instrument's coils, discrete inputs or registers.

    `address` is the address on the wire, counted from 0. value = raw × scale + offset.
    """

    register_: Register = Field("holding", alias="register")
    address: int = Field(ge=0, le=65535)
    kind: Kind = "uint16"
    word_order: Order = "big"
    byte_order: Order = "big"
    bit: int | None = Field(None, ge=0, le=15)
    scale: float = 1.0
    offset: float = 0.0
    alone: bool = False

    @property
    def width(self) -> int:
        """Registers (or bits, for coils and discrete inputs) that the value takes."""
        return WIDTHS[self.kind]

    @property
    def scaled(self) -> bool:
        """Whether the raw value is turned into another one."""
        return self.scale != 1.0 or self.offset != 0.0

    @property
    def datatype(self) -> Datatype:
        """The Sparkplug type that holds every value of this point exactly."""
        if self.kind == "bool":
            return Datatype.BOOLEAN
        if self.scaled or self.kind == "float64":
            return Datatype.DOUBLE
        if self.kind == "float32":
            return Datatype.FLOAT
        return Datatype.UINT64 if self.kind == "uint64" else Datatype.INT64

    def _contradictions(self) -> Iterator[Wrong]:
        yield from super()._contradictions()
        if self.address + self.width > 65536:
            taken = f"{self.kind} takes {self.width} registers, and the last one is 65535"
            yield "address", str(self.address), f"at most {65536 - self.width}: {taken}"
        if self.scale == 0:
            yield "scale", "0", "any number but 0, which would make every value the same"
        yield from self._unfit_kind()
        yield from self._unwritable()

    def _unwritable(self) -> Iterator[Wrong]:
        if self.access == "write" and self.register_ in ("discrete", "input"):
            yield "access", '"write"', f'"read": {self.register_} registers cannot be written, only coil and holding'
        elif self.access == "write" and self.bit is not None:
            yield "access", '"write"', '"read": a bit cannot be written without its neighbours in the register'

    def _unfit_kind(self) -> Iterator[Wrong]:
        bits = self.register_ in ("coil", "discrete")
        if bits and self.kind != "bool":
            yield "kind", f'"{self.kind}"', f'"bool": {self.register_}s hold single bits'
        if bits and self.bit is not None:
            yield "bit", str(self.bit), f"no bit: {self.register_}s are single bits already"
        if not bits and self.kind == "bool" and self.bit is None:
            yield "bit", "nothing", "0 to 15: which bit of the register (0 is the lowest)"
        if not bits and self.kind != "bool" and self.bit is not None:
            yield "bit", str(self.bit), f'a bit only with kind = "bool", not "{self.kind}"'
        if self.kind == "bool" and self.scaled:
            yield "scale", f"{self.scale:g}", "no scale or offset: a bool is true or false"
        for key in ("max_rate_per_s", "stuck_after_s"):
            if self.kind == "bool" and getattr(self, key) is not None:
                yield key, f"{getattr(self, key):g}", "only with a number: a bool is true or false"
        if self.width == 1 and self.word_order == "little":
            yield "word_order", '"little"', f"no word order: {self.kind} is a single register (see byte_order)"


class CommandPoint(Point):
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
