"""What a device's birth tells becomes tags (entities, with their events) and series (what readings hang on).

Called by `lms_cloud.telemetry.ingest.resolving` before any reading of that birth is stored; the tags themselves are
kept by `lms_cloud.fleet.directory`. A birth that tells nothing new costs one query the first time, and none after
that. A tag in another unit is another tag, with a series of its own. What people change of a tag stays as they want
it until the agent tells something else of that tag.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple
from uuid import UUID

import structlog
from lms_protocol.reading import Datatype, TagDescription
from sqlalchemy import text

from lms_cloud.fleet.directory import BioreactorEntry, FleetDirectory
from lms_cloud.kernel.database import Database, UnitOfWork
from lms_cloud.kernel.entities import check_name
from lms_cloud.kernel.errors import Invalid
from lms_cloud.telemetry.incoming import DeviceTags

MAX_UNIT_LENGTH = 32
MAX_DECIMALS = 12

_log = structlog.get_logger(__name__)
_KNOWN = text("""
select t.name, s.id, s.described from series s join entities t on t.id = s.tag_id
where s.bioreactor_id = :bioreactor_id and t.is_active
""")
_UPSERT = text("""
insert into series (organization_id, bioreactor_id, tag_id, datatype, described)
values (:organization_id, :bioreactor_id, :tag_id, :datatype, cast(:described as jsonb))
on conflict (tag_id) do update set datatype = excluded.datatype, described = excluded.described
returning id
""")


class _Series(NamedTuple):
    """A series, and the tag as the birth before told it."""

    id: int
    described: dict[str, Any]


class TagRegister:
    """Finds or makes the tags and series that births name.

    Args:
        database: as `lms_ingest`.
        fleet: keeps the tags.
    """

    def __init__(self, database: Database, fleet: FleetDirectory) -> None:
        self._database = database
        self._fleet = fleet
        self._known: dict[UUID, dict[str, _Series]] = {}

    async def register(self, bioreactor: BioreactorEntry, tags: Sequence[TagDescription]) -> DeviceTags:
        """The series of a birth's tags, made where they are missing. Tags with an impossible name are left out."""
        usable = [_presentable(tag) for tag in tags if _has_possible_name(tag)]
        known = self._known.get(bioreactor.bioreactor_id, {})
        if any(_is_news(tag, known) for tag in usable):
            known = await self._write(bioreactor, usable)
            self._known[bioreactor.bioreactor_id] = known
        series = {tag.number: known[tag.name].id for tag in usable}
        return DeviceTags(
            series,
            {tag.number: tag.name for tag in usable},
            frozenset(series[tag.number] for tag in usable if tag.datatype is Datatype.STRING),
        )

    async def _write(self, bioreactor: BioreactorEntry, tags: Sequence[TagDescription]) -> dict[str, _Series]:
        async with self._database.unit_of_work(bioreactor.organization_id) as uow:
            known = await _read(uow, bioreactor.bioreactor_id)
        news = [tag for tag in tags if _is_news(tag, known)]
        if not news:
            return known

        async def told_units(uow: UnitOfWork) -> dict[str, str]:
            told = await _read(uow, bioreactor.bioreactor_id)
            return {name: str(series.described["unit"]) for name, series in told.items()}

        ids = await self._fleet.keep_tags(bioreactor, news, told_units)
        async with self._database.unit_of_work(bioreactor.organization_id) as uow:
            # In one order everywhere: another worker may write the same birth.
            for tag in sorted(news, key=lambda tag: tag.name):
                values = {
                    "organization_id": bioreactor.organization_id,
                    "bioreactor_id": bioreactor.bioreactor_id,
                    "tag_id": ids[tag.name],
                    "datatype": int(tag.datatype),
                    "described": json.dumps(_describe(tag)),
                }
                id_ = (await uow.session.execute(_UPSERT, values)).scalar_one()
                known[tag.name] = _Series(id_, _describe(tag))
        _log.info("tags told by a birth", device=bioreactor.device, node=bioreactor.node, tags=len(news))
        return known


async def _read(uow: UnitOfWork, bioreactor_id: UUID) -> dict[str, _Series]:
    rows = await uow.session.execute(_KNOWN, {"bioreactor_id": bioreactor_id})
    return {name: _Series(id_, described) for name, id_, described in rows}


def _is_news(tag: TagDescription, known: dict[str, _Series]) -> bool:
    return tag.name not in known or known[tag.name].described != _describe(tag)


def _describe(tag: TagDescription) -> dict[str, Any]:
    return {
        "number": tag.number,
        "datatype": int(tag.datatype),
        "unit": tag.unit,
        "low": tag.low,
        "high": tag.high,
        "decimals": tag.decimals,
        "access": tag.access,
    }


def _presentable(tag: TagDescription) -> TagDescription:
    """The description without what no tag takes: other makers' births tell all sorts of things."""
    low, high = _finite(tag.low), _finite(tag.high)
    if low is not None and high is not None and low > high:
        low = high = None
    decimals = tag.decimals if tag.decimals is not None and 0 <= tag.decimals <= MAX_DECIMALS else None
    return replace(tag, unit=tag.unit.replace("\x00", "")[:MAX_UNIT_LENGTH], low=low, high=high, decimals=decimals)


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


def _has_possible_name(tag: TagDescription) -> bool:
    try:
        possible = check_name(tag.name) == tag.name and "\x00" not in tag.name and tag.number < 1 << 63
    except Invalid:
        possible = False
    if not possible:
        _log.error("tag left out: its name cannot be a tag's name", device=tag.device, tag=tag.name[:200])
    return possible
