"""Instruments that are asked several questions in a scan, each of which answers some of their points.

Used by the drivers of text dialects; `modbus_registers.py` has its blocks.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from lms_agent.drivers.driver import Failure, Outcome
from lms_agent.errors import InstrumentError, PortError, ReplyOutOfStep, ReplyTimeout


class Question(NamedTuple):
    """One question.

    Attributes:
        tags: numbers of the tags that it answers.
        ask: asks it; raises InstrumentErrors.
    """

    tags: tuple[int, ...]
    ask: Callable[[], Awaitable[Outcome]]


async def ask_all(questions: Sequence[Question]) -> Outcome:
    """Ask one after another. A silent instrument is not asked the rest; a refused answer does not hide the others."""
    together = Outcome([], [])
    for position, question in enumerate(questions):
        try:
            outcome = await question.ask()
        except (PortError, ReplyTimeout, ReplyOutOfStep) as error:
            rest = tuple(tag for later in questions[position:] for tag in later.tags)
            together.failures.append(Failure(rest, error))
            break
        except InstrumentError as error:
            together.failures.append(Failure(question.tags, error))
            continue
        together.readings.extend(outcome.readings)
        together.failures.extend(outcome.failures)
    return together
