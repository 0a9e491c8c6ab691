"""Which model a Modbus unit is, by what profiles know of them.

A profile with an identity is sure: the text in those registers is the maker's. One without can only be likely: every
value of the profile can be read, and lies where the instrument can measure.
"""

from collections.abc import Iterable
from typing import NamedTuple

from lms_protocol.instruments.model import Profile
from lms_protocol.instruments.points import ModbusProfilePoint
from lms_protocol.instruments.registers_profile import ModbusProfile

from lms_agent.buses.modbus_frames import FUNCTIONS
from lms_agent.drivers.register_coding import reader_of
from lms_agent.errors import InstrumentError, PortError
from lms_agent.scanning.reach import Reach
from lms_agent.settings.dialects.modbus import RegisterPoint

_CODING = {"register_", "address", "kind", "word_order", "byte_order", "scale", "offset"}
_LEAST_POINTS = 2
"""One value that can be read is no likeness."""


class Model(NamedTuple):
    """A model that an instrument is, or may be.

    Attributes:
        profile: its profile's id.
        name: maker and model.
        shown: what it says of itself; "" if nothing.
        sure: whether that proves it.
    """

    profile: str
    name: str
    shown: str
    sure: bool


def model_of(profile: Profile, shown: str, *, sure: bool) -> Model:
    """A profile as a model."""
    return Model(profile.id, f"{profile.maker} {profile.models[0]}", shown, sure)


async def identify(reach: Reach, profiles: Iterable[Profile]) -> Model | None:
    """The model of a unit that answers; None if no profile fits.

    Raises:
        PortError: the line cannot be used.
    """
    known = [profile for profile in profiles if isinstance(profile, ModbusProfile)]
    texts: dict[tuple[int, int, int], bytes] = {}
    for profile in known:
        identity = profile.identity
        if identity is None:
            continue
        key = (FUNCTIONS[identity.register_], identity.address, identity.count)
        if key not in texts:
            texts[key] = await _read(reach, *key)
        if texts[key] and identity.fits(texts[key]):
            return model_of(profile, identity.shown(texts[key]), sure=True)
    for profile in known:
        if profile.identity is None and len(profile.points) >= _LEAST_POINTS and await _is_like(reach, profile):
            return model_of(profile, "", sure=False)
    return None


async def _read(reach: Reach, function: int, address: int, count: int) -> bytes:
    """The bytes of registers; none if the unit does not have them."""
    try:
        words = await reach.block(function, address, count)
    except PortError:
        raise
    except InstrumentError:
        return b""
    return b"".join(word.to_bytes(2) for word in words.values())


async def _is_like(reach: Reach, profile: ModbusProfile) -> bool:
    for point in profile.points:
        if point.in_bits or point.kind == "bool":
            continue
        data = await _read(reach, FUNCTIONS[point.register_], point.address, point.width)
        if not data or not _makes_sense(point, data):
            return False
    return True


def _makes_sense(point: ModbusProfilePoint, data: bytes) -> bool:
    coding = RegisterPoint(tag="scan", **point.model_dump(include=_CODING, by_alias=True))
    value = reader_of(coding)(data, 0)
    if not isinstance(value, int | float) or value - value != 0 or 0 < abs(value) < 1e-6:
        return False
    return (point.minimum is None or value >= point.minimum) and (point.maximum is None or value <= point.maximum)
