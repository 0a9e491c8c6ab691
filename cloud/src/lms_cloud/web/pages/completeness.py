"""The page of completeness: for each bioreactor, whether all that was logged is stored, hour by hour or day by day.

Before it: telemetry/completeness/service.py. After it: pages/data/completeness.html. Grey is normal; colour means
that something is missing or could not be stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import Query, Response

from lms_cloud.fleet.service import FleetService
from lms_cloud.telemetry.completeness.report import Bucket, Report, Unit
from lms_cloud.telemetry.completeness.service import CompletenessService
from lms_cloud.web.pages.context import CurrentViewer
from lms_cloud.web.pages.routing import page_router
from lms_cloud.web.pages.templates import render

router = page_router()
HEIGHT = 20.0
BELOW = 4.0
"""Height of the marks under the bars."""
LISTED = 50


@dataclass(frozen=True, slots=True)
class Window:
    """How far back the page looks; `name` is what the address says."""

    name: str
    label: str
    span: timedelta
    unit: Unit


WINDOWS = (
    Window("24h", "24 h", timedelta(hours=24), "hour"),
    Window("7d", "7 days", timedelta(days=7), "hour"),
    Window("30d", "30 days", timedelta(days=30), "day"),
    Window("1y", "1 year", timedelta(days=365), "day"),
)


@dataclass(frozen=True, slots=True)
class Bar:
    """One bucket in the strip: its place, the height of what was stored, and what is wrong with it.

    Attributes:
        x, width, y, height: in the strip's box, one unit wide for each bucket and 20 high.
        mark: under the bar: "missing", "dead", "gap" or "".
        says: the same in words.
    """

    x: float
    width: float
    y: float
    height: float
    mark: str
    says: str


@dataclass(frozen=True, slots=True)
class Row:
    """One bioreactor on the page."""

    id: UUID
    name: str
    report: Report
    bars: Sequence[Bar]

    @property
    def rank(self) -> tuple[int, str]:
        """Sorts rows: what is incomplete first, then by name."""
        return ({"incomplete": 0, "unknown": 1, "complete": 2}[self.report.verdict], self.name)


def bars(report: Report) -> list[Bar]:
    """Lay out the strip of a report."""
    most = max((bucket.batches for bucket in report.buckets), default=0) or 1
    return [_bar(index, bucket, most, report.unit) for index, bucket in enumerate(report.buckets)]


def _bar(index: int, bucket: Bucket, most: int, unit: Unit) -> Bar:
    height = round(HEIGHT * bucket.batches / most, 2)
    height = max(height, 1.0) if bucket.batches else 0.0
    mark = "missing" if bucket.missing else "dead" if bucket.dead else "gap" if bucket.gap_s > 0 else ""
    when = bucket.start.strftime("%Y-%m-%d %H:%M UTC" if unit == "hour" else "%Y-%m-%d UTC")
    told = [f"{bucket.batches} batches"]
    told += [f"{bucket.missing} missing"] if bucket.missing else []
    told += [f"{bucket.dead} not storable"] if bucket.dead else []
    told += [f"{bucket.gap_s / 60:.0f} min not read"] if bucket.gap_s else []
    return Bar(index + 0.1, 0.8, round(HEIGHT - height, 2), height, mark, f"{when}: {', '.join(told)}")


@router.get("/app/completeness")
async def page(viewer: CurrentViewer, window: Annotated[str, Query()] = WINDOWS[0].name) -> Response:
    """All bioreactors of the viewer's organization."""
    chosen = next((each for each in WINDOWS if each.name == window), WINDOWS[0])
    now: datetime = viewer.uow.now()
    fleet = FleetService(viewer.uow)
    service = CompletenessService(viewer.uow)
    rows = []
    for each in await fleet.list_bioreactors():
        report = await service.of_bioreactor(each.id, now - chosen.span, now, chosen.unit)
        rows.append(Row(each.id, each.name, report, bars(report)))
    context = viewer.context("data") | {
        "tab": "completeness",
        "rows": sorted(rows, key=lambda row: row.rank),
        "window": chosen,
        "windows": WINDOWS,
        "height": HEIGHT,
        "below": BELOW,
        "listed": LISTED,
        "agents": {agent.id: agent.name for agent in await fleet.list_agents()},
    }
    return render("pages/data/completeness.html", context)
