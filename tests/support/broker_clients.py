"""Clients of a broker for tests: somebody with an account, who publishes what a test wants to be heard."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

import aiomqtt


@asynccontextmanager
async def someone(broker: Any, account: str, **more: Any) -> AsyncIterator[aiomqtt.Client]:
    """A connection with one of the broker's accounts.

    Args:
        broker: the fixture `broker`, or one of its kind.
        more: for `aiomqtt.Client`.
    """
    url = urlsplit(broker.url(account))
    async with aiomqtt.Client(
        url.hostname, url.port, username=unquote(url.username), password=unquote(url.password), **more
    ) as client:
        yield client
