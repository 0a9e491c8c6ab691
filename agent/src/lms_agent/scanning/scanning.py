"""A scan of one place: every setting until something answers, then every unit with that one.

A line has one setting; once a unit has answered, no other is tried, unless all are asked for.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple

from lms_agent.buses.modbus import ModbusMaster
from lms_agent.scanning.places import Place
from lms_agent.scanning.settings_order import LineSetting
from lms_agent.scanning.units import Heard, find_units, open_line

Asking = Callable[[LineSetting | None, int], None]


class Found(NamedTuple):
    """A unit that answers, or noise where none does.

    Attributes:
        setting: of a serial line; None on TCP.
        heard: what came back.
    """

    place: Place
    setting: LineSetting | None
    heard: Heard


@asynccontextmanager
async def line(place: Place, setting: LineSetting | None, timeout_s: float) -> AsyncIterator[ModbusMaster]:
    """A master that is closed at the end."""
    master = open_line(place, setting, timeout_s)
    try:
        yield master
    finally:
        await master.close()


async def scan(
    place: Place,
    settings: Sequence[LineSetting],
    units: Sequence[int],
    *,
    timeout_s: float,
    every_setting: bool = False,
    asking: Asking = lambda _setting, _unit: None,
) -> AsyncGenerator[Found]:
    """What answers there. Noise is told once for a setting. Close it to give the line back before its end.

    Args:
        settings: what to try on a serial line, in this order.
        units: numbers to ask.
        timeout_s: how long each may take.
        every_setting: go on with the next setting after one was right.
        asking: told what is asked next.

    Raises:
        PortError: the place cannot be used.
    """
    for setting in settings if not place.host else (None,):
        answered = noisy = False
        async with line(place, setting, timeout_s) as master:
            async for heard in find_units(master, units, partial(asking, setting)):
                if heard.said or not noisy:
                    yield Found(place, setting, heard)
                answered, noisy = answered or bool(heard.said), noisy or heard.noise
        if answered and not every_setting:
            return
