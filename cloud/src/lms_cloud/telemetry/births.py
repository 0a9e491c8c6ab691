"""What a device's birth tells becomes tags (entities, with their events) and series (what readings hang on).

Called by `lms_cloud.telemetry.resolving` before any reading of that birth is stored. A birth that tells nothing new
costs one query the first time and none after that.
"""

import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import structlog
from lms_protocol.reading import Datatype, TagDescription
from sqlalchemy import text

from lms_cloud.fleet.models import Tag
from lms_cloud.kernel.actors import Actor
from lms_cloud.kernel.database import Database, UnitOfWork
from lms_cloud.kernel.entities import EntityJournal
from lms_cloud.kernel.errors import Invalid
from lms_cloud.telemetry.incoming import Bioreactor, DeviceTags

_log = structlog.get_logger()
_REASON = "told by the agent's birth"
_KNOWN = text("""
select t.id as tag_id, t.name, s.id as series, s.described from entities t left join series s on s.tag_id = t.id
where t.entity_type = 'tag' and t.is_active and t.organization_id = :organization_id
    and t.properties ->> 'bioreactor_id' = :bioreactor_id
""")
_INSERT = text("""
insert into series (organization_id, bioreactor_id, tag_id, datatype, described)
values (:organization_id, :bioreactor_id, :tag_id, :datatype, cast(:described as jsonb))
on conflict (tag_id) do update set datatype = excluded.datatype, described = excluded.described
returning id
""")


class _Known(NamedTuple):
    """What is stored of one tag."""

    tag_id: UUID
    series: int | None
    described: dict[str, Any] | None


class TagRegister:
    """Finds or makes the tags and series that births name.

    Args:
        database: as `lms_ingest`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[UUID, dict[str, _Known]] = {}

    async def register(self, bioreactor: Bioreactor, node: str, tags: Sequence[TagDescription]) -> DeviceTags:
        """The series of a birth's tags, made where they are missing. Tags with an impossible name are left out."""
        described = {tag.name: _describe(tag) for tag in tags}
        if not self._all_known(bioreactor, described):
            actor = Actor.agent(node)
            async with self._database.unit_of_work(bioreactor.organization_id, actor=actor) as uow:
                known = await _read(uow, bioreactor)
                for tag in tags:
                    if known.get(tag.name) is None or known[tag.name].described != described[tag.name]:
                        await _write(uow, bioreactor, tag, described[tag.name], known)
            self._known[bioreactor.id] = known
        known = self._known[bioreactor.id]
        usable = {tag.number: (tag, known[tag.name].series) for tag in tags if tag.name in known}
        series = {number: id_ for number, (_, id_) in usable.items() if id_ is not None}
        return DeviceTags(
            series,
            {number: tag.name for number, (tag, _) in usable.items()},
            frozenset(series[number] for number, (tag, _) in usable.items() if tag.datatype is Datatype.STRING),
        )

    def forget(self) -> None:
        """Read everything anew when it is next needed."""
        self._known.clear()

    def _all_known(self, bioreactor: Bioreactor, described: dict[str, dict[str, Any]]) -> bool:
        known = self._known.get(bioreactor.id, {})
        return all(name in known and known[name].described == value for name, value in described.items())


def _describe(tag: TagDescription) -> dict[str, Any]:
    """The tag's properties as an entity takes them; what no entity takes is left out."""
    low, high = _finite(tag.low), _finite(tag.high)
    if low is not None and high is not None and low > high:
        low = high = None
    return {
        "unit": tag.unit[:32],
        "low": low,
        "high": high,
        "decimals": tag.decimals if tag.decimals is not None and 0 <= tag.decimals <= 12 else None,
        "datatype": tag.datatype.name.lower(),
        "access": tag.access,
        "alias": tag.number if tag.number < 1 << 63 else None,
    }


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


async def _read(uow: UnitOfWork, bioreactor: Bioreactor) -> dict[str, _Known]:
    values = {"organization_id": bioreactor.organization_id, "bioreactor_id": str(bioreactor.id)}
    rows = await uow.session.execute(_KNOWN, values)
    return {row.name: _Known(row.tag_id, row.series, row.described) for row in rows}


async def _write(
    uow: UnitOfWork, bioreactor: Bioreactor, tag: TagDescription, described: dict[str, Any], known: dict[str, _Known]
) -> None:
    """Make or change one tag and its series, and note it in `known`."""
    journal = EntityJournal(uow)
    before = known.get(tag.name)
    try:
        if before is None:
            made = await journal.create(
                Tag,
                organization_id=bioreactor.organization_id,
                name=tag.name,
                properties={"bioreactor_id": str(bioreactor.id), **described},
                reason=_REASON,
            )
            tag_id = made.id
        else:
            tag_id = before.tag_id
            await _update(uow, journal, before, described)
    except Invalid as error:
        _log.error("tag refused", bioreactor=str(bioreactor.id), node=bioreactor.device, tag=tag.name, why=str(error))
        return
    values = {
        "organization_id": bioreactor.organization_id,
        "bioreactor_id": bioreactor.id,
        "tag_id": tag_id,
        "datatype": int(tag.datatype),
        "described": json.dumps(described),
    }
    series = (await uow.session.execute(_INSERT, values)).scalar_one()
    known[tag.name] = _Known(tag_id, series, described)


async def _update(uow: UnitOfWork, journal: EntityJournal, before: _Known, described: dict[str, Any]) -> None:
    """Change what the birth tells otherwise than the birth before it; what people changed meanwhile stays."""
    entity = await journal.get(Tag, before.tag_id)
    # A tag that people made before any birth told of it keeps their unit and range.
    told = before.described or {name: described[name] for name in ("unit", "low", "high", "decimals")}
    changed = {name: value for name, value in described.items() if name not in told or told[name] != value}
    await journal.update(entity, properties={**entity.properties, **changed}, reason=_REASON)
