"""The calibrations of a running agent: kept in their file, in force from the next scan on, told through the log.

    file    written and on the disk; of an instrument that adjusts itself also, before, that it is about to; then
    scans   corrected by it, then
    log     a reading of `Events/Calibration`; one that a crash kept from being told is told at the next start

Neighbours: the agent's door brings calibrations; `lms_agent.processing` corrects; `lms_agent.log.keeping` takes events.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from lms_protocol.errors import LmsError
from lms_protocol.reading import Reading

from lms_agent.bench import NotObeyed
from lms_agent.calibration import store
from lms_agent.calibration.adjusting import Adjusting
from lms_agent.calibration.fitting import CalibrationError
from lms_agent.calibration.making import Wish, maker
from lms_agent.calibration.record import EVENT_TAG, Calibration
from lms_agent.calibration.standing import standings
from lms_agent.calibration.store import Calibrations, StoreUnavailable
from lms_agent.log.keeping import Keeping
from lms_agent.sampling.scan import Scan
from lms_agent.settings import AgentSettings
from lms_agent.settings.derived import Key
from lms_agent.timekeeping.discipline import Trust
from lms_agent.timekeeping.timekeeper import Timekeeper

LOGGER = logging.getLogger(__name__)

NO_TIME = "the computer's clock was not known to be right: the dates of this calibration may be wrong"


class Corrects(Protocol):
    """Who corrects readings."""

    def follow(self, calibrations: Calibrations) -> None:
        """From the next scan on these hold."""
        ...


class CalibrationKeeping:
    """Keeps the calibrations of one agent.

    Args:
        log_path: the log that the file lies beside.
        clock: the agent's time, for people; `stamps` is that of readings.

    Attributes:
        held: all that there are.
        trouble: why the file cannot be read, or which of its lines; "" if it can.
    """

    def __init__(self, log_path: Path, keeping: Keeping, clock: Timekeeper) -> None:
        self.held = Calibrations()
        self.trouble = ""
        self._log_path = log_path
        self._keeping = keeping
        self._clock = clock
        self._settings: AgentSettings | None = None
        self._corrects: Corrects | None = None
        self._events: dict[str, int] = {}
        self._one_at_a_time = asyncio.Lock()

    async def load(self) -> None:
        """Read the file. If that cannot be, every calibrated tag is in doubt, and readings go on."""
        try:
            self.held = await asyncio.to_thread(store.load, self._log_path)
        except StoreUnavailable as error:
            self.held, self.trouble = Calibrations.unreadable(), str(error)
        else:
            self.trouble = self.held.trouble(store.store_path(self._log_path))
        if self.trouble:
            LOGGER.error(
                "%s Readings of the tags concerned are uncertain until they are calibrated again.", self.trouble
            )

    def follow(self, settings: AgentSettings, corrects: Corrects, numbers: Mapping[Key, int]) -> None:
        """Other settings are in force, others correct from now on, and these are the numbers of all tags."""
        self._settings = settings
        self._corrects = corrects
        self._events = {device: number for (device, tag), number in numbers.items() if tag == EVENT_TAG}

    async def keep(self, wish: Wish, account: str) -> Calibration:
        """Write a calibration down, put it in force, and tell it.

        Args:
            account: whose process asks.

        Raises:
            CalibrationError: it is none that can be kept; NotPlausible: nobody has accepted its figures.
            StoreUnavailable: the disk refuses; nothing has changed.
        """
        if self._settings is None:
            raise CalibrationError("the agent is starting; try again in a moment")
        if self._clock.state.trust in (Trust.WRONG, Trust.WAITING):
            wish = replace(wish, remarks=(*wish.remarks, NO_TIME))
        make = maker(self._settings, wish, now_ms=self._clock.wall_ms(), account=account)
        async with self._one_at_a_time:
            made, self.held = await asyncio.to_thread(store.append, self._log_path, make)
            self.trouble = self.held.trouble(store.store_path(self._log_path))
            if self._corrects is not None:
                self._corrects.follow(self.held)
            LOGGER.info("Calibration %d of %s %s holds, by %s", made.number, made.bioreactor, made.tag, made.by)
            await self._tell(made)
            return made

    @asynccontextmanager
    async def adjusting(self, one: Adjusting) -> AsyncIterator[None]:
        """Around the telling of a reference: what holds for the tag is in doubt until a calibration is kept, or the
        instrument has certainly not taken it.

        Raises:
            StoreUnavailable: the disk refuses; nothing was told.
        """
        await self._note(store.begin, one)
        try:
            yield
        except NotObeyed:
            raise
        except LmsError:
            with suppress(StoreUnavailable):
                await self._note(store.withdraw, one)
            raise

    async def _note(self, write: Callable[[Path, Adjusting], Calibrations], one: Adjusting) -> None:
        async with self._one_at_a_time:
            self.held = await asyncio.to_thread(write, self._log_path, one)
            self.trouble = self.held.trouble(store.store_path(self._log_path))
            if self._corrects is not None:
                self._corrects.follow(self.held)

    def state(self) -> dict[str, Any]:
        """For the status: what is overdue or in doubt, by name, and what is wrong with the file."""
        found = [] if self._settings is None else standings(self._settings, self.held, self._clock.wall_ms())
        return {
            "overdue": [one.name for one in found if one.overdue],
            "in_doubt": [one.name for one in found if one.in_doubt],
            "error": self.trouble,
        }

    async def tell_untold(self, latest: Mapping[int, Reading]) -> None:
        """Tell what the log does not have yet: of a command that ran without the agent, or before a crash.

        Args:
            latest: the newest reading of each tag in the log.
        """
        for calibration in self.held.history:
            tag = self._events.get(calibration.bioreactor)
            if tag is not None and calibration.number > _told(latest.get(tag)):
                await self._tell(calibration)

    async def _tell(self, calibration: Calibration) -> None:
        tag = self._events.get(calibration.bioreactor)
        if tag is not None:
            reading = Reading(tag, self._clock.stamps.wall_ms(), calibration.to_text())
            await self._keeping.take(Scan(calibration.bioreactor, (reading,)))


def _told(reading: Reading | None) -> int:
    """The number of the calibration that a reading of `Events/Calibration` tells of; 0 if there is none."""
    try:
        return int(json.loads(str(reading.value))["number"]) if reading is not None else 0
    except (ValueError, TypeError, KeyError):
        return 0
