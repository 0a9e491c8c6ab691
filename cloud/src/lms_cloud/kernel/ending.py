"""End tasks for certain. Used by every worker of the cloud that talks to the broker.

`asyncio.wait_for` of Python 3.11 swallows a cancellation that comes in the very moment when what it waits for is done
(CPython issue 86296, mended in 3.12). We use `asyncio.timeout` instead, but aiomqtt waits that way: a task cancelled
once may go on for ever. So we ask again.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

AGAIN_AFTER_S = 1.0


async def end(tasks: Iterable["asyncio.Future[Any]"]) -> None:
    """Cancel tasks and return when all have ended, however they end."""
    tasks = tuple(tasks)
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=AGAIN_AFTER_S)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # two that end at once for one reason, of which one is told: asyncio would complain
