"""Which instruments that talk in lines of text answer on a line.

Each is asked what it is, with the question of its profile: the circuits and balances that have a line for themselves
first, then, by letter and number, those that share one. Whatever else hears such a question does not understand it.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from typing import NamedTuple

from lms_protocol.instruments.facts import CommandIdentity, Link
from lms_protocol.instruments.model import Profile

from lms_agent.buses.serial_line import SerialLine
from lms_agent.clock import SystemClock
from lms_agent.scanning.models import Model, model_of

QUIET_S = 0.1
"""A reply has ended when nothing has come for so long."""
MOST_S, QUICK_S = 1.0, 0.2
"""How long an answer may take, of who is alone on its line, and of each of many."""
LONGEST_S = 0.6
_ENDS = {"mt-sics": b"\r\n"}
_MOST_PUMPS = 16


class Question(NamedTuple):
    """A question, and who answers it how.

    Attributes:
        ask: with its line end.
        unit: whom it is for; None: whoever is on the line.
        answers: for each profile that it may be, the pattern of its answer.
    """

    ask: bytes
    unit: int | str | None
    answers: tuple[tuple[Profile, re.Pattern[str]], ...]

    @property
    def patience_s(self) -> float:
        """How long the slowest of them may take; of many on one line each must be quick, or a scan takes for ever."""
        return min(max(profile.timing.reply_s for profile, _ in self.answers), MOST_S if self.unit is None else QUICK_S)


class TextFound(NamedTuple):
    """An instrument that said what it is.

    Attributes:
        unit: its letter or number; None if it has none.
        link: how its profile has it connected.
        model: what it is.
    """

    unit: int | str | None
    link: Link
    model: Model


def text_profiles(profiles: Iterable[Profile]) -> list[Profile]:
    """Those that can be asked so."""
    return [profile for profile in profiles if isinstance(profile.identity, CommandIdentity)]


def by_usual_baud(profiles: Iterable[Profile]) -> dict[int, list[Profile]]:
    """These, by the rate that they come with."""
    sorted_by: dict[int, list[Profile]] = {}
    for profile in profiles:
        sorted_by.setdefault(profile.links[0].baud or 9600, []).append(profile)
    return sorted_by


def questions(profiles: Sequence[Profile], numbers: Sequence[int]) -> list[Question]:
    """What is asked, those without a unit first.

    Args:
        numbers: units to ask; 1 is also the letter A.
    """
    asked: dict[tuple[bytes, int | str | None], list[tuple[Profile, re.Pattern[str]]]] = {}
    for profile in profiles:
        identity = profile.identity
        if not isinstance(identity, CommandIdentity):
            continue
        for unit in _units(profile, numbers) if "{unit}" in identity.ask else (None,):
            name = "" if unit is None else str(unit)
            text = identity.ask.replace("{unit}", name).encode() + _ENDS.get(profile.driver, b"\r")
            pattern = re.compile(identity.answer.replace("{unit}", re.escape(name)), re.IGNORECASE)
            asked.setdefault((text, unit), []).append((profile, pattern))
    found = [Question(text, unit, tuple(answers)) for (text, unit), answers in asked.items()]
    return sorted(found, key=lambda question: question.unit is not None)


def _units(profile: Profile, numbers: Sequence[int]) -> list[int | str]:
    if isinstance(profile.instrument_keys().get("unit"), str):
        return [chr(ord("A") + number - 1) for number in numbers if 1 <= number <= 26]
    return [number for number in numbers if 1 <= number <= _MOST_PUMPS]


async def ask_all(
    port: str, baud: int, asked: Sequence[Question], *, timeout_s: float, asking: Callable[[str], None] = lambda _: None
) -> AsyncGenerator[TextFound]:
    """Who answers on a line at one baud rate. Close it to give the line back before its end.

    Args:
        asking: told each question before it is asked.

    Raises:
        PortError: the line cannot be used.
    """
    line = SerialLine(port, baud=baud, data_bits=8, parity="none", stop_bits=2, clock=SystemClock())
    await line.open()
    try:
        for at, question in enumerate(asked):
            asking(question.ask.decode().strip())
            if not at or question.unit is None:  # end whatever was heard of a question in another dialect
                line.write(b"\r\n")
                await _hear(line, timeout_s)
            line.received.clear()
            line.write(question.ask)
            found = _judge(question, await _hear(line, max(timeout_s, question.patience_s)))
            if found is not None:
                yield found
                if question.unit is None:
                    return
    finally:
        line.close()


async def _hear(line: SerialLine, timeout_s: float) -> list[str]:
    """Lines that come until it is quiet."""
    loop = asyncio.get_running_loop()
    last_s = loop.time() + LONGEST_S + timeout_s
    until_s = loop.time() + timeout_s
    while loop.time() < last_s and await line.wait_for_bytes(min(until_s, last_s)):
        until_s = loop.time() + QUIET_S
    text = bytes(line.received).decode("ascii", "replace")
    return [part.strip() for part in re.split(r"[\r\n]+", text) if part.strip()]


def _judge(question: Question, lines: Sequence[str]) -> TextFound | None:
    for profile, pattern in question.answers:
        for line in lines:
            if pattern.search(line):
                shown = line if line.isprintable() else ""
                return TextFound(question.unit, profile.links[0], model_of(profile, shown, sure=True))
    return None
