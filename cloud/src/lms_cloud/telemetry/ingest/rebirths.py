"""Asking agents for their births: gathered, limited over all workers, sent.

Before it: `lms_cloud.telemetry.ingest.worker` (an unknown alias, data before birth, an agent that counts as online
but is silent) and `committing` (births that found no room). After it: the agent, by an NCMD. An agent that several
workers want births of, as when its group moves, is asked by one of them only.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from lms_cloud.telemetry.ingest.committing import DATABASE_ERRORS
from lms_cloud.telemetry.leases.leasing import AgentName, Leases

GATHER_S: Final = 0.05
MAX_AT_ONCE: Final = 1_000

_log = structlog.get_logger(__name__)


class Rebirths:
    """Who is to be asked.

    Args:
        leases: limits how often, over all workers.
        ask: sends the command to one agent.
    """

    def __init__(self, leases: Leases, ask: Callable[[AgentName], None]) -> None:
        self._leases = leases
        self._ask = ask
        self._wanted: dict[AgentName, str] = {}
        self._wake = asyncio.Event()

    def want(self, group: str, node: str, reason: str) -> None:
        """Ask this agent soon, unless it was asked just now."""
        if len(self._wanted) < MAX_AT_ONCE or (group, node) in self._wanted:
            self._wanted[group, node] = reason
            self._wake.set()

    async def run(self) -> None:
        """Ask, until cancelled. While the database is away nobody is asked: nothing could be stored."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(GATHER_S)
            self._wake.clear()
            wanted, self._wanted = self._wanted, {}
            try:
                allowed = await self._leases.may_ask(sorted(wanted))
            except DATABASE_ERRORS as error:
                _log.warning("agents cannot be asked for births now", agents=len(wanted), why=str(error))
                continue
            for agent in allowed:
                _log.info("asks for births", group=agent[0], agent=agent[1], why=wanted[agent])
                self._ask(agent)
