"""The points of a profile: what each quantity of an instrument is called, how it is asked for, what it is worth.

Neighbours: `registers.py` for Modbus; the other dialects name a field or a command, which their drivers in
`lms_agent.drivers` know.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from lms_protocol.checked_toml.findings import Wrong, quoted, wrong
from lms_protocol.instruments.calibration import Procedure
from lms_protocol.instruments.facts import Fact
from lms_protocol.instruments.names import PointName
from lms_protocol.instruments.registers import RegisterValue

_RESERVED = ("Sync/", "Events/", "Node Control/", "Device Control/", "Properties/")

BalanceCommand = Literal["SI", "S", "TA"]
EzoField = Literal["pH", "DO.%", "DO.mg", "temperature"]
AlicatField = Literal["pressure", "temperature", "volumetric_flow", "mass_flow", "set_point", "gas"]
PumpField = Literal["speed", "running", "direction", "tacho"]


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


TagName = Annotated[str, AfterValidator(_check_tag)]
"""A tag's name, such as `pH/PV`."""


class ProfilePoint(Fact):
    """`[[point]]`: one quantity of the instrument.

    `name` is what configurations call it, `tag` what it becomes there if they say nothing else. A point with
    `default = false` is there for who asks for it by name. `minimum` and `maximum` are what the instrument can measure
    at all, `set_low` and `set_high` between what it may be set. `unit_varies`: the instrument can be set to other units
    than `unit`, and does not say in its registers which one it gives.
    """

    name: PointName
    tag: TagName
    words: str = Field(min_length=1, max_length=200)
    unit: str = Field("", max_length=32)
    unit_varies: bool = False
    low: float | None = None
    high: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    decimals: int | None = Field(None, ge=0, le=15)
    access: Literal["read", "write"] = "read"
    set_low: float | None = None
    set_high: float | None = None
    default: bool = True
    calibration: Procedure | None = None

    def _contradictions(self) -> Iterator[Wrong]:
        yield from super()._contradictions()
        for lower, upper in (("low", "high"), ("minimum", "maximum"), ("set_low", "set_high")):
            a, b = getattr(self, lower), getattr(self, upper)
            if a is not None and b is not None and not a < b:
                yield upper, f"{b:g}", f"more than {lower} = {a:g}"


class ModbusProfilePoint(ProfilePoint, RegisterValue):
    """A point in registers.

    `status` names the `[[status]]` that says how far to trust it, `status_address` where it lies for this point, if the
    status has no address of its own. `unit_address` is where the instrument says the unit of the value, in the numbers
    of `[unit_codes]`.
    """

    status: str | None = None
    status_address: int | None = Field(None, ge=0, le=65535)
    unit_address: int | None = Field(None, ge=0, le=65535)

    def _contradictions(self) -> Iterator[Wrong]:
        yield from super()._contradictions()
        if self.access == "write":
            yield from self.unwritable()


class BalancePoint(ProfilePoint):
    """A weight. `SI`: the weight now, stable or not; `S`: the next stable weight; `TA`: the tare."""

    command: BalanceCommand = "SI"


class EzoPoint(ProfilePoint):
    """A quantity of an Atlas Scientific EZO circuit."""

    field: EzoField


class AlicatPoint(ProfilePoint):
    """A quantity of an Alicat data frame."""

    field: AlicatField


class PumpPoint(ProfilePoint):
    """A quantity of a Watson-Marlow pump."""

    field: PumpField
