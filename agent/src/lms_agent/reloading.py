"""Reading the settings again while the agent runs: a broken file changes nothing, a good one costs no scan.

    broken, or not to be taken over now   the agent goes on with the last good settings, and says why
    good                                  instruments are read to the end of their scan, then those of the new settings;
                                          the broker hears deaths and births, as what a bioreactor has may have changed

Neighbours: `lms_agent.cli.run` asks on SIGHUP; `lms_agent.app` takes the settings over.
"""

import asyncio
import logging
from collections.abc import Callable

from lms_agent.errors import SettingsError
from lms_agent.settings import AgentSettings

LOGGER = logging.getLogger(__name__)


class Reloading:
    """Where fresh settings come from, and the wish to have them.

    Args:
        load: reads and checks the file; raises `SettingsError`.

    Attributes:
        refused: whether the settings that came last could not be taken over, so that older ones hold.
    """

    def __init__(self, load: Callable[[], AgentSettings] | None = None) -> None:
        self.asked = asyncio.Event()
        self.refused = False
        self._load = load

    def ask(self) -> None:
        """Read the settings again, soon."""
        self.asked.set()

    async def fresh(self, running: AgentSettings) -> AgentSettings | None:
        """The settings as they are now; None if they cannot be used, or change nothing. Says so."""
        self.asked.clear()
        self.refused = False
        if self._load is None:
            return None
        try:
            fresh = await asyncio.to_thread(self._load)
        except SettingsError as error:
            self.refuse(str(error))
            return None
        if fresh == running:
            LOGGER.info("The settings are read again: nothing has changed")
            return None
        if fresh.agent != running.agent:
            self.refuse("[agent] says who the agent is and where its log lies; restart the agent to change that.")
            return None
        return fresh

    def refuse(self, why: str) -> None:
        """Say why settings are not taken over, in a sentence."""
        self.refused = True
        LOGGER.error("The new settings are not taken over, the agent goes on with the last good ones. %s", why)
