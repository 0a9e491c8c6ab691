"""Completeness: of what agents logged, what is committed, what is missing, and why.

Before it: `lms_cloud.telemetry.storage.tallies`, which counts in each commit. After it: REST, the page and the
command line. Beside it: `queries`, the statements; `counting`, the arithmetic; `reach`, how far is known what was
logged; `report`, what is told.

A log numbers its batches without holes, so a number that is not committed below one that is, or below the head that
the agent told at its birth, is a batch that is missing. Its time is between those of its neighbours in the log: that
much is certain, and it is what is shown. Which bioreactor it belongs to is known only when it arrives, if its agent
serves several.

    logged     1 … head                    what the agent told, or the highest number that came
    committed  streams.committed           in the ledger, readings written; or dead: set aside, see dead_letters
    missing    logged without committed    not arrived yet, or lost with a log; `why` says what can be told
    gaps       gap records                 due, but not read: nothing was logged, and the agent says why
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from lms_protocol.reading import NOT_RUNNING

from lms_cloud.fleet.service import FleetService
from lms_cloud.kernel.database import UnitOfWork
from lms_cloud.kernel.errors import Invalid
from lms_cloud.telemetry.completeness import queries
from lms_cloud.telemetry.completeness.counting import UNITS, floor, holes, in_a_row, with_buckets, without
from lms_cloud.telemetry.completeness.reach import LATELY, AgentState
from lms_cloud.telemetry.completeness.report import LoggedGap, Report, Span, StreamState, Unit
from lms_cloud.telemetry.instants import check_instant
from lms_cloud.telemetry.leases.lease_list import ingest_state

MAX_BUCKETS: Final = 800
HOURS_UP_TO: Final = timedelta(days=8)
DEFAULT_WINDOW: Final = timedelta(hours=24)
BEFORE_ALL: Final = datetime.min.replace(tzinfo=UTC)


class CompletenessService:
    """Tells completeness, in one unit of work."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    async def of_agent(
        self, agent_id: UUID, start: datetime | None = None, end: datetime | None = None, unit: Unit | None = None
    ) -> Report:
        """Everything that an agent logged.

        Args:
            start, end: the window, rounded outward to whole buckets; the last 24 h if left out.
            unit: how finely it is counted; hours up to 8 days if left out, else days.

        Raises:
            NotFound: there is no such agent in this organization.
            Invalid: the window is empty, or has too many buckets.
        """
        await FleetService(self._uow).get_agent(agent_id)
        start, end, unit = self._window(start, end, unit)
        streams = await self._streams([agent_id])
        values = {"start": start, "end": end, "unit": unit, "streams": [row.id for row in streams]}
        buckets = (await self._uow.session.execute(queries.OF_STREAMS, values)).all()
        gaps = (await self._uow.session.execute(queries.GAPS_OF_STREAMS, values)).all()
        report = await self._report([agent_id], streams, (start, end, unit), gaps)
        return with_buckets(report, buckets)

    async def of_bioreactor(
        self, bioreactor_id: UUID, start: datetime | None = None, end: datetime | None = None, unit: Unit | None = None
    ) -> Report:
        """What agents logged of a bioreactor, as `of_agent`. Missing batches are those of its agents."""
        await FleetService(self._uow).get_bioreactor(bioreactor_id)
        start, end, unit = self._window(start, end, unit)
        found = await self._uow.session.execute(queries.AGENTS_OF, {"bioreactor": bioreactor_id})
        agents = list(found.scalars())
        streams = await self._streams(agents)
        values = {"start": start, "end": end, "unit": unit, "bioreactor": bioreactor_id}
        buckets = (await self._uow.session.execute(queries.OF_BIOREACTOR, values)).all()
        gaps = (await self._uow.session.execute(queries.GAPS_OF_BIOREACTOR, values)).all()
        served = await self._uow.session.execute(queries.SERVED, {"agents": agents})
        shared = any(row.bioreactors > 1 for row in served)
        report = await self._report(agents, streams, (start, end, unit), gaps, bioreactor_id)
        return with_buckets(replace(report, shared=shared), buckets)

    def _window(
        self, start: datetime | None, end: datetime | None, unit: Unit | None
    ) -> tuple[datetime, datetime, Unit]:
        end = self._uow.now() if end is None else check_instant("end", end)
        start = end - DEFAULT_WINDOW if start is None else check_instant("start", start)
        if not start < end:
            raise Invalid("end", end.isoformat(), "an instant after start")
        unit = unit or ("hour" if end - start <= HOURS_UP_TO else "day")
        first, last = floor(start, unit), floor(end, unit)
        last = last if last == end else last + UNITS[unit]
        if (last - first) / UNITS[unit] > MAX_BUCKETS:
            raise Invalid("start", start.isoformat(), f"at most {MAX_BUCKETS} {unit}s before end")
        return first, last, unit

    async def _streams(self, agents: Sequence[UUID]) -> list[Any]:
        return list((await self._uow.session.execute(queries.STREAMS, {"agents": list(agents)})).all())

    async def _report(
        self,
        agents: Sequence[UUID],
        streams: Sequence[Any],
        window: tuple[datetime, datetime, Unit],
        gaps: Iterable[Any],
        bioreactor_id: UUID | None = None,
    ) -> Report:
        start, end, unit = window
        spans = [span for span in await self._spans(streams) if span.touches(start, end)]
        return Report(
            *(start, end, unit, self._uow.now()),
            await self._agents(agents, bioreactor_id),
            await ingest_state(self._uow),
            [StreamState(row.id, row.agent_id, _head(row), _committed(row), bool(row.current)) for row in streams],
            spans,
            [LoggedGap(*row) for row in gaps],
        )

    async def _agents(self, agents: Sequence[UUID], bioreactor_id: UUID | None) -> list[AgentState]:
        values = {"agents": list(agents), "bioreactor": bioreactor_id}
        rows = (await self._uow.session.execute(queries.AGENTS, values)).all()
        replaced: dict[UUID, datetime] = {}
        gone = [row.id for row in rows if row.replaced]
        if gone and bioreactor_id is not None:
            found = await self._uow.session.execute(queries.TAKEN_OVER, {**values, "agents": gone})
            replaced = {row.agent_id: row.hour + UNITS["hour"] for row in found}
        left_off: dict[UUID, list[tuple[datetime, datetime]]] = {}
        asked = {"agents": list(agents), "not_running": NOT_RUNNING}
        for row in await self._uow.session.execute(queries.LEFT_OFF, asked):
            told = zip(row.gaps_from, row.gaps_to, strict=True)
            parts = [span for span in without((row.until, row.begun), told) if span[1] - span[0] > LATELY]
            left_off.setdefault(row.agent_id, []).extend(parts)
        return [
            AgentState(
                *(row.id, row.name, row.online, row.since, row.numbers, row.until, replaced.get(row.id)),
                left_off.get(row.id, ()),
            )
            for row in rows
        ]

    async def _spans(self, streams: Sequence[Any]) -> list[Span]:
        """All batches that are not stored, with the times of their neighbours."""
        open_ = [
            (row, first, last, False) for row in streams for first, last in holes(row.firsts, row.lasts, _head(row))
        ]
        by_id = {row.id: row for row in streams}
        dead = await self._uow.session.execute(queries.DEAD, {"streams": list(by_id)})
        open_ += [(by_id[stream], first, last, True) for stream, first, last in in_a_row(dead)]
        if not open_:
            return []
        values = {
            "places": list(range(len(open_))),
            "streams": [row.id for row, *_ in open_],
            "firsts": [first for _, first, _, _ in open_],
            "lasts": [last for _, _, last, _ in open_],
        }
        times = (await self._uow.session.execute(queries.TIMES, values)).all()
        spans = [
            Span(row.agent_id, row.id, first, last, is_dead, at.after, at.before, _why(row, dead=is_dead))
            for (row, first, last, is_dead), at in zip(open_, times, strict=True)
        ]
        return sorted(spans, key=lambda span: (span.after or span.before or BEFORE_ALL, str(span.stream), span.first))


def _head(row: Any) -> int:
    return max(row.head or 0, row.lasts[-1] if row.lasts else 0)


def _committed(row: Any) -> int:
    return sum(last - first + 1 for first, last in zip(row.firsts, row.lasts, strict=True))


def _why(row: Any, *, dead: bool) -> str:
    if dead:
        return "it came, but could not be stored: its bytes are among the dead letters"
    if not row.current:
        return "the agent began a new log; it sends what it can still read of this one, or it is lost"
    if not row.online:
        return "the agent is offline; it sends what it has logged when it is back"
    return "it has not come yet; the agent is connected and sends it"
