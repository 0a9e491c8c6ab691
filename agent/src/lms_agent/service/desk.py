"""What may be asked through the door, and who answers it.

    status    everything that the agent says of itself, as it is this moment
    read      instruments, now, on the agent's own buses

Neighbours: `lms_agent.service.door` hands requests over; `lms_agent.health` and `lms_agent.bench` know the answers.
"""

from collections.abc import Mapping
from typing import Any

from lms_agent.bench import Bench
from lms_agent.health import Health
from lms_agent.service.door import Answer, Asked, BadRequest


class Desk:
    """Answers for a running agent.

    Args:
        bench: asks the instruments of the settings in force; see `follow`.
    """

    def __init__(self, health: Health, bench: Bench) -> None:
        self._health = health
        self._bench = bench

    def follow(self, bench: Bench) -> None:
        """Other settings are in force."""
        self._bench = bench

    @property
    def answers(self) -> Mapping[str, Answer]:
        """By what is asked."""
        return {"status": self._status, "read": self._read}

    async def _status(self, _: Asked) -> dict[str, Any]:
        return {"status": self._health.status()}

    async def _read(self, asked: Asked) -> dict[str, Any]:
        names = asked.what.get("instruments")
        if names is not None and (not isinstance(names, list) or not all(isinstance(name, str) for name in names)):
            raise BadRequest("instruments is a list of ids, or is left out")
        return {"visits": [visit.to_json() for visit in await self._bench.read(names)]}
