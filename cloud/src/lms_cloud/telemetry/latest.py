"""What is known now: the latest reading of each tag, and whether each bioreactor is connected."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from lms_protocol.reading import Value
from sqlalchemy import text

from lms_cloud.fleet.service import FleetService
from lms_cloud.kernel.database import UnitOfWork
from lms_cloud.telemetry.announcing import shown
from lms_cloud.telemetry.values import TagInfo, read_value

_LATEST: Final = """
select s.bioreactor_id, t.id, t.name, t.properties, s.id as series, l.taken_at, l.quality, l.value, l.text
from series s join entities t on t.id = s.tag_id and t.is_active
    join latest l on l.bioreactor_id = s.bioreactor_id and l.series_id = s.id
"""
_OF_ALL = text(f"{_LATEST} order by s.bioreactor_id, t.name")
_OF_SOME = text(f"{_LATEST} where s.bioreactor_id = any(:bioreactors) order by s.bioreactor_id, t.name")
_STATUS = text("select bioreactor_id, online, since, cursor from feeds")


@dataclass(frozen=True, slots=True)
class LatestReading:
    """The newest reading of a tag, by the time it was taken."""

    bioreactor_id: UUID
    tag: TagInfo
    taken_at: datetime
    value: Value
    quality: int

    @property
    def taken_at_ms(self) -> int:
        """When it was taken, ms UTC."""
        return round(self.taken_at.timestamp() * 1000)

    def as_json(self) -> dict[str, Any]:
        """As REST shows it."""
        return {
            "tag": self.tag.as_json(),
            "taken_at_ms": self.taken_at_ms,
            "value": shown(self.value),
            "quality": self.quality,
        }


@dataclass(frozen=True, slots=True)
class BioreactorStatus:
    """Whether a bioreactor's agent is connected.

    Attributes:
        since: of the last change; None if it was never heard.
        cursor: see docs/feed.md.
    """

    bioreactor_id: UUID
    online: bool
    since: datetime | None
    cursor: int

    @property
    def since_ms(self) -> int | None:
        """Of the last change, ms UTC."""
        return None if self.since is None else round(self.since.timestamp() * 1000)


class LatestService:
    """Latest readings and connection states, in one unit of work."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    async def of_bioreactor(self, bioreactor_id: UUID) -> list[LatestReading]:
        """The latest reading of each tag of one bioreactor, by name.

        Raises:
            NotFound: there is no such bioreactor in this organization.
        """
        await FleetService(self._uow).get_bioreactor(bioreactor_id)
        return await self.of_bioreactors([bioreactor_id])

    async def of_bioreactors(self, bioreactor_ids: Sequence[UUID]) -> list[LatestReading]:
        """The latest readings of several bioreactors; those not visible are left out."""
        found = await self._uow.session.execute(_OF_SOME, {"bioreactors": list(bioreactor_ids)})
        return [_reading(row) for row in found]

    async def of_fleet(self) -> list[LatestReading]:
        """The latest readings of all bioreactors of the organization."""
        return [_reading(row) for row in await self._uow.session.execute(_OF_ALL)]

    async def statuses(self) -> dict[UUID, BioreactorStatus]:
        """The connection states of all bioreactors that were ever heard, by id."""
        found = await self._uow.session.execute(_STATUS)
        return {row[0]: BioreactorStatus(row.bioreactor_id, row.online, row.since, row.cursor) for row in found}

    async def status(self, bioreactor_id: UUID) -> BioreactorStatus:
        """The connection state of one bioreactor: offline since None if it was never heard."""
        return (await self.statuses()).get(bioreactor_id) or BioreactorStatus(bioreactor_id, False, None, 0)


def _reading(row: Any) -> LatestReading:
    tag = TagInfo.from_row(row.id, row.name, row.properties, row.series)
    value = read_value(tag.datatype, row.value, row.text)
    return LatestReading(row.bioreactor_id, tag, row.taken_at, value, row.quality)
