"""What may be asked through the door, and who answers it.

    status          everything that the agent says of itself, as it is this moment
    read            instruments, now, on the agent's own buses
    tell            an instrument a part of a calibration that it keeps itself
    slope           how good a probe is, as its instrument says
    set             one tag; the answer comes when it is known what became of it
    calibrate       keep what was measured against references, and correct by it from now on
    calibrations    all that there ever were
    lock            a bioreactor against commands of hosts; `unlock` takes the lock away

Neighbours: `lms_agent.service.door` hands requests over; `lms_agent.health`, `lms_agent.bench`,
`lms_agent.commands` and `lms_agent.calibration` know the answers.
"""

import logging
from collections.abc import Mapping
from typing import Any

from lms_protocol.commands import MAX_ID, MAX_WORDS, Lock, SetPoint, Source, flaw_of

from lms_agent.bench import AFTER, BEFORE, Bench
from lms_agent.calibration.adjusting import BEGUN, Adjusting
from lms_agent.calibration.keeping import CalibrationKeeping
from lms_agent.calibration.making import Wish
from lms_agent.clock import Clock
from lms_agent.commands import Commands
from lms_agent.commands.telling import event_of
from lms_agent.health import Health
from lms_agent.service.door import Answer, Asked, BadRequest

LOGGER = logging.getLogger(__name__)

LONGEST_S = 600
"""How long a command from the bench may be valid."""


class Desk:
    """Answers for a running agent.

    Args:
        bench: asks the instruments of the settings in force; see `follow`.
    """

    def __init__(
        self, health: Health, commands: Commands, calibrations: CalibrationKeeping, clock: Clock, bench: Bench
    ) -> None:
        self._health = health
        self._commands = commands
        self._calibrations = calibrations
        self._clock = clock
        self._bench = bench

    def follow(self, bench: Bench) -> None:
        """Other settings are in force."""
        self._bench = bench

    @property
    def answers(self) -> Mapping[str, Answer]:
        """By what is asked."""
        return {
            "status": self._status,
            "read": self._read,
            "tell": self._tell,
            "slope": self._slope,
            "set": self._set,
            "lock": self._lock,
            "unlock": self._unlock,
            "calibrate": self._calibrate,
            "calibrations": self._told_calibrations,
        }

    async def _status(self, _: Asked) -> dict[str, Any]:
        return {"status": self._health.status()}

    async def _read(self, asked: Asked) -> dict[str, Any]:
        names = asked.what.get("instruments")
        if names is not None and (not isinstance(names, list) or not all(isinstance(name, str) for name in names)):
            raise BadRequest("instruments is a list of ids, or is left out")
        return {"visits": [visit.to_json() for visit in await self._bench.read(names)]}

    async def _tell(self, asked: Asked) -> dict[str, Any]:
        reference = asked.what.get("reference")
        if reference is not None and (isinstance(reference, bool) or not isinstance(reference, int | float)):
            raise BadRequest("reference is a number, or is left out")
        bioreactor, tag, part = (_words(asked, key, MAX_WORDS) for key in ("bioreactor", "tag", "part"))
        LOGGER.info("%s has %s of %s told %r", asked.account, tag, bioreactor, part)
        if part in (BEFORE, AFTER):
            await self._bench.tell(bioreactor, tag, part, reference)
            return {}
        one = Adjusting(BEGUN, bioreactor, tag, part, reference, self._clock.wall_ms(), asked.account)
        async with self._calibrations.adjusting(one):
            await self._bench.tell(bioreactor, tag, part, reference)
        return {}

    async def _slope(self, asked: Asked) -> dict[str, Any]:
        bioreactor, tag = (_words(asked, key, MAX_WORDS) for key in ("bioreactor", "tag"))
        return {"slope_percent": await self._bench.slope_percent(bioreactor, tag)}

    async def _set(self, asked: Asked) -> dict[str, Any]:
        now_ms = self._clock.wall_ms()
        value, lifetime_s = asked.what.get("value"), asked.what.get("lifetime_s")
        if value is not None and not isinstance(value, bool | int | float | str):
            raise BadRequest("value is a number, true, false or a text")
        if isinstance(lifetime_s, bool) or not isinstance(lifetime_s, int | float) or not 0 < lifetime_s <= LONGEST_S:
            raise BadRequest(f"lifetime_s is a number of seconds, at most {LONGEST_S}")
        command = SetPoint(
            id=_words(asked, "id", MAX_ID),
            device=_words(asked, "bioreactor", MAX_WORDS),
            tag=_words(asked, "tag", MAX_WORDS),
            value=value,
            by=_words(asked, "by", MAX_WORDS),
            reason=_words(asked, "reason", MAX_WORDS),
            source=Source.BENCH,
            issued_at_ms=now_ms,
            valid_until_ms=now_ms + round(1000 * lifetime_s),
        )
        record = await self._commands.set(command, asked.account)
        return {"event": event_of(record)[1]}

    async def _lock(self, asked: Asked) -> dict[str, Any]:
        by, why = _words(asked, "by", MAX_WORDS), _words(asked, "reason", MAX_WORDS)
        lock = Lock(by, why, self._clock.wall_ms())
        device = _words(asked, "bioreactor", MAX_WORDS)
        await self._commands.lock(device, lock, by=by, why=why, account=asked.account)
        return {}

    async def _unlock(self, asked: Asked) -> dict[str, Any]:
        by, why = _words(asked, "by", MAX_WORDS), _words(asked, "reason", MAX_WORDS)
        await self._commands.lock(_words(asked, "bioreactor", MAX_WORDS), None, by=by, why=why, account=asked.account)
        return {}

    async def _calibrate(self, asked: Asked) -> dict[str, Any]:
        made = await self._calibrations.keep(Wish.from_json(asked.what), asked.account)
        return {"calibration": made.to_json()}

    async def _told_calibrations(self, _: Asked) -> dict[str, Any]:
        return self._calibrations.held.to_json()


def _words(asked: Asked, key: str, longest: int) -> str:
    """A text that was to be said.

    Raises:
        BadRequest: it was not, or not in its form.
    """
    words = asked.what.get(key)
    if flaw := flaw_of(words, longest):
        raise BadRequest(f"{key} {flaw}")
    return str(words)
