"""`lms-cloud completeness`: is everything stored that agents logged, and if not, what is missing and why."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from lms_cloud.cli.operating import operate
from lms_cloud.cli.output import AsJson, show
from lms_cloud.fleet.service import FleetService
from lms_cloud.kernel.database import Database
from lms_cloud.kernel.errors import NotFound
from lms_cloud.organizations.service import OrganizationService
from lms_cloud.telemetry.completeness.reach import instant
from lms_cloud.telemetry.completeness.report import Report, Span
from lms_cloud.telemetry.completeness.service import CompletenessService

INCOMPLETE = 1
UNKNOWN = 3
SHOWN = 20
Found = list[tuple[str, str, Report]]
FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"]


def completeness(
    organization: Annotated[str | None, typer.Option(help="Wire id; all organizations if left out.")] = None,
    agent: Annotated[str | None, typer.Option(help="Wire id; all agents if left out.")] = None,
    from_: Annotated[
        datetime | None,
        typer.Option("--from", formats=FORMATS, help="Beginning, UTC; 24 h before the end if left out."),
    ] = None,
    to: Annotated[datetime | None, typer.Option(formats=FORMATS, help="End, UTC; now if left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Tell for each agent whether all that it logged is stored.

    Ends with 0 if all is, 1 if something is missing or could not be stored, 3 if nothing is missing as far as is known,
    but not all of the window is known; why is told.
    """
    start, end = (each and each.replace(tzinfo=UTC) for each in (from_, to))

    async def work(database: Database) -> Found:
        async with database.unit_of_work(None) as uow:
            organizations = await OrganizationService(uow).list_organizations()
        found: Found = []
        for each in organizations:
            if organization not in {None, each.typed.wire_id}:
                continue
            async with database.unit_of_work(each.id, snapshot=True) as uow:
                for known in await FleetService(uow).list_agents():
                    if agent in {None, known.typed.wire_id}:
                        report = await CompletenessService(uow).of_agent(known.id, start, end)
                        found.append((each.typed.wire_id, known.typed.wire_id, report))
        if not found and (organization or agent):
            raise NotFound("agent" if agent else "organization", agent or organization)
        return found

    found = operate(work)
    documents = [{"organization": group, "agent": node, **report.as_json()} for group, node, report in found]
    lines = [line for group, node, report in found for line in _lines(f"{group}/{node}", report)]
    show(documents, "\n".join(lines) or "No agents.", as_json=as_json)
    verdicts = {report.verdict for _, _, report in found}
    if "incomplete" in verdicts:
        raise typer.Exit(INCOMPLETE)
    if "unknown" in verdicts:
        raise typer.Exit(UNKNOWN)


def _lines(name: str, report: Report) -> list[str]:
    told: dict[str, Any] = {
        "complete": "complete",
        "incomplete": "INCOMPLETE",
        "unknown": _known(report),
    }
    counts = f"{report.batches} batches, {report.readings} readings stored, {report.late} batches of them late"
    lines = [f"{name}: {told[report.verdict]}; {counts}; {report.missing} missing, {report.dead} not storable"]
    lines += [_span(span) for span in report.spans[:SHOWN]]
    if len(report.spans) > SHOWN:
        lines.append(f"  and {len(report.spans) - SHOWN} more: see --json")
    lines += [
        f"  not read, {gap.tags} tags, {_instant(gap.began_at)} to {_instant(gap.ended_at)}: {gap.reason}"
        for gap in report.gaps[:SHOWN]
    ]
    if len(report.gaps) > SHOWN:
        lines.append(f"  and {len(report.gaps) - SHOWN} more gaps: see --json")
    return lines


def _known(report: Report) -> str:
    if report.known_until is None:
        return f"not known: {report.why}"
    if report.known_until <= report.start:
        return f"nothing is known of it: {report.why}"
    return f"complete until {instant(report.known_until)}, then not known: {report.why}"


def _span(span: Span) -> str:
    numbers = str(span.first) if span.count == 1 else f"{span.first} to {span.last}"
    between = f"between {_instant(span.after)} and {_instant(span.before)}"
    return f"  batch {numbers} of {span.stream}, logged {between}: {span.why}"


def _instant(at: datetime | None) -> str:
    return "?" if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
