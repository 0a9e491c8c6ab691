"""Two terminals joined back to back: what goes into one comes out of the other, as on a null-modem cable."""

import asyncio
import os
import tty
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def joined_terminals() -> AsyncIterator[tuple[str, str]]:
    """Gives the paths of the two ends; the running loop carries the bytes."""
    ends = [os.openpty(), os.openpty()]
    loop = asyncio.get_running_loop()
    for (master, slave), (other, _) in zip(ends, reversed(ends), strict=True):
        tty.setraw(slave)
        os.set_blocking(master, False)
        loop.add_reader(master, lambda here=master, there=other: os.write(there, os.read(here, 4096)))
    try:
        yield os.ttyname(ends[0][1]), os.ttyname(ends[1][1])
    finally:
        for master, slave in ends:
            loop.remove_reader(master)
            os.close(master)
            os.close(slave)
