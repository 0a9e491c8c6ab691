"""Waiting in tests: as long as a slow machine with others on it may need, and with a word of what never came.

async with awaiting("the agent is acknowledged"):
    while agent.window.acked < 1: ...

await until(lambda: worker.online, "the worker is online")
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

PATIENCE_S = 60.0
"""No machine that works needs it; one that shares two cores with others may come near."""


@asynccontextmanager
async def awaiting(what: str | Callable[[], str], within_s: float = PATIENCE_S) -> AsyncIterator[None]:
    """What is awaited inside must come in time.

    Args:
        what: in words; a function is asked for them when it did not come.

    Raises:
        AssertionError: it does not; names what was awaited.
    """
    limit = asyncio.timeout(within_s)
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        words = what if isinstance(what, str) else what()
        raise AssertionError(f"not within {within_s:.0f} s: {words}") from error


async def until(fact: Callable[[], object], what: str = "", within_s: float = PATIENCE_S) -> None:
    """Wait until `fact` holds.

    Args:
        what: it says; the line in which it stands, if not given.

    Raises:
        AssertionError: it does not in time; names what was awaited.
    """
    async with awaiting(what or line_of(fact), within_s):
        while not fact():
            await asyncio.sleep(0.02)


def line_of(fact: Callable[[], object]) -> str:
    """The line of a test in which a condition stands."""
    try:
        return " ".join(inspect.getsource(fact).split())
    except (OSError, TypeError):
        return repr(fact)
