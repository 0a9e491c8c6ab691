"""A scan of one place: every setting until something answers, then every unit with that one, and what each of them is.

A line has one setting; once a unit has answered, no other is tried, unless all are asked for. After the likeliest
settings for Modbus come the instruments that talk in lines of text, and then the rest.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import NamedTuple

from lms_protocol.instruments.model import Profile

from lms_agent.buses.modbus import ModbusMaster
from lms_agent.scanning.models import Model, identify
from lms_agent.scanning.places import Place
from lms_agent.scanning.reach import Reach
from lms_agent.scanning.settings_order import LineSetting
from lms_agent.scanning.text_questions import ask_all, by_usual_baud, questions, text_profiles
from lms_agent.scanning.units import Heard, find_units, open_line

Asking = Callable[[LineSetting | None, str], None]
PATIENT_S = 1.0
"""How long a unit that is known to be there may take."""
LIKELY = 3
"""Settings for Modbus that are tried before lines of text."""


class Found(NamedTuple):
    """An instrument that answers, or noise where none does.

    Attributes:
        setting: of a serial line; None on TCP.
        heard: what came back.
        model: what it is; None if no profile knows it.
    """

    place: Place
    setting: LineSetting | None
    heard: Heard
    model: Model | None = None


class Survey(NamedTuple):
    """What a scan asks for.

    Attributes:
        settings: what to try on a serial line, in this order.
        units: numbers to ask.
        timeout_s: how long each may take.
        profiles: the models that are known.
        every_setting: go on with the next setting after one was right.
        texts: whether to ask for instruments that talk in lines of text, too.
    """

    settings: Sequence[LineSetting]
    units: Sequence[int]
    timeout_s: float
    profiles: Sequence[Profile] = ()
    every_setting: bool = False
    texts: bool = True


@asynccontextmanager
async def line(place: Place, setting: LineSetting | None, timeout_s: float) -> AsyncIterator[ModbusMaster]:
    """A master that is closed at the end."""
    master = open_line(place, setting, timeout_s)
    try:
        yield master
    finally:
        await master.close()


async def scan(place: Place, survey: Survey, asking: Asking = lambda _setting, _what: None) -> AsyncGenerator[Found]:
    """What answers there. Noise is told once for a setting. Close it to give the line back before its end.

    Args:
        asking: told what is asked next.

    Raises:
        PortError: the place cannot be used.
    """
    if place.host:
        async with aclosing(_units(place, None, survey, asking)) as units:  # each holds the line open until its end
            async for found in units:
                yield found
        return
    answered = False
    for at, setting in enumerate(survey.settings):
        if at == min(LIKELY, len(survey.settings) - 1) and survey.texts and not answered:
            async with aclosing(_texts(place, survey, asking)) as texts:
                async for found in texts:
                    answered = True
                    yield found
        if answered and not survey.every_setting:
            return
        async with aclosing(_units(place, setting, survey, asking)) as units:
            async for found in units:
                answered = answered or bool(found.heard.said)
                yield found


async def _units(place: Place, setting: LineSetting | None, survey: Survey, asking: Asking) -> AsyncGenerator[Found]:
    """Modbus units at one setting."""
    heard: list[Heard] = []
    noisy = False
    async with line(place, setting, survey.timeout_s) as master:
        async for one in find_units(master, survey.units, lambda unit: asking(setting, f"unit {unit}")):
            if one.said:
                heard.append(one)
            elif not noisy:
                noisy = True
                yield Found(place, setting, one)
        master.timeout_s = PATIENT_S
        for one in heard:
            asking(setting, f"what unit {one.unit} is")
            reach = Reach(master, one.unit if isinstance(one.unit, int) else 0)
            yield Found(place, setting, one, await identify(reach, survey.profiles))


async def _texts(place: Place, survey: Survey, asking: Asking) -> AsyncGenerator[Found]:
    """Instruments that talk in lines, at the rates that they come with, or at those that are asked for."""
    asked_for = {setting.baud for setting in survey.settings}
    for baud, profiles in by_usual_baud(text_profiles(survey.profiles)).items():
        if baud not in asked_for:
            continue
        told = partial(asking, LineSetting(baud, "none", 1))
        heard = ask_all(place.name, baud, questions(profiles, survey.units), timeout_s=survey.timeout_s, asking=told)
        answered = False
        async with aclosing(heard):
            async for one in heard:
                answered = True
                setting = LineSetting(baud, one.link.parity, one.link.stop_bits)
                yield Found(place, setting, Heard(one.unit, "says what it is"), one.model)
        if answered and not survey.every_setting:
            return
