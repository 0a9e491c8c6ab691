"""The calibrations of a running agent: kept in their file, in force from the next scan on, told through the log.

    file    written and on the disk, then
    scans   corrected by it, then
    log     a reading of `Events/Calibration`; one that a crash kept from being told is told at the next start

Neighbours: the agent's door brings calibrations; `lms_agent.processing` corrects; `lms_agent.log.keeping` takes events.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from lms_protocol.reading import Reading

from lms_agent.calibration import store
from lms_agent.calibration.record import EVENT_TAG, Calibration
from lms_agent.calibration.store import Calibrations, StoreUnavailable
from lms_agent.clock import Clock
from lms_agent.log.keeping import Keeping
from lms_agent.sampling.scan import Scan
from lms_agent.settings.derived import Key

LOGGER = logging.getLogger(__name__)


class Corrects(Protocol):
    """Who corrects readings."""

    def follow(self, calibrations: Calibrations) -> None:
        """From the next scan on these hold."""
        ...


class CalibrationKeeping:
    """Keeps the calibrations of one agent.

    Args:
        log_path: the log that the file lies beside.
        stamps: the clock of readings.

    Attributes:
        held: all that there are.
        trouble: why the file cannot be read, or which of its lines; "" if it can.
    """

    def __init__(self, log_path: Path, keeping: Keeping, stamps: Clock) -> None:
        self.held = Calibrations()
        self.trouble = ""
        self._log_path = log_path
        self._keeping = keeping
        self._stamps = stamps
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

    def follow(self, corrects: Corrects, numbers: Mapping[Key, int]) -> None:
        """Others correct from now on, and these are the numbers of all tags."""
        self._corrects = corrects
        self._events = {device: number for (device, tag), number in numbers.items() if tag == EVENT_TAG}

    async def keep(self, make: Callable[[Calibrations], Calibration]) -> Calibration:
        """Write a calibration down, put it in force, and tell it.

        Args:
            make: makes it, knowing those before it.

        Raises:
            StoreUnavailable: the disk refuses; nothing has changed.
            whatever `make` raises.
        """
        async with self._one_at_a_time:
            made, self.held = await asyncio.to_thread(store.append, self._log_path, make)
            self.trouble = self.held.trouble(store.store_path(self._log_path))
            if self._corrects is not None:
                self._corrects.follow(self.held)
            LOGGER.info("Calibration %d of %s %s holds, by %s", made.number, made.bioreactor, made.tag, made.by)
            await self._tell(made)
            return made

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
            reading = Reading(tag, self._stamps.wall_ms(), calibration.to_text())
            await self._keeping.take(Scan(calibration.bioreactor, (reading,)))


def _told(reading: Reading | None) -> int:
    """The number of the calibration that a reading of `Events/Calibration` tells of; 0 if there is none."""
    try:
        return int(json.loads(str(reading.value))["number"]) if reading is not None else 0
    except (ValueError, TypeError, KeyError):
        return 0
