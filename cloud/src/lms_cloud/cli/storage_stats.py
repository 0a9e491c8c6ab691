"""`lms-cloud storage stats`: what is stored, what it takes, and what waits."""

import dataclasses
from datetime import datetime
from typing import Annotated, Any

import typer

from lms_cloud.cli.operating import operate
from lms_cloud.cli.output import AsJson, show_rows
from lms_cloud.kernel.database import Database
from lms_cloud.organizations.service import OrganizationService
from lms_cloud.telemetry.storage.stats import StorageStats, extent, storage_pieces, storage_stats


def stats(
    pieces: Annotated[bool, typer.Option("--pieces", help="List every partition or chunk, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what is stored: readings, bytes a reading, pieces, the oldest and newest reading, and what waits."""

    async def work(database: Database) -> tuple[StorageStats, list[datetime], list[dict[str, Any]]]:
        async with database.unit_of_work(None) as uow:
            found = await storage_stats(uow)
            listed = await storage_pieces(uow, found.flavour) if pieces else []
            organizations = [each.id for each in await OrganizationService(uow).list_organizations()]
        times: list[datetime] = []
        for organization_id in organizations:
            async with database.unit_of_work(organization_id) as uow:
                times += [at for at in await extent(uow) if at is not None]
        return found, times, listed

    found, times, listed = operate(work)
    oldest, newest = (min(times), max(times)) if times else (None, None)
    if as_json:
        row = dataclasses.asdict(found) | {"oldest": _iso(oldest), "newest": _iso(newest)}
        row["oldest_mark"] = _iso(found.oldest_mark)
        rows = [piece | {"from_at": _iso(piece["from_at"]), "to_at": _iso(piece["to_at"])} for piece in listed]
        show_rows([row | ({"pieces": rows} if pieces else {})], empty="", as_json=True)
        return
    name = "plain PostgreSQL" if found.flavour == "plain" else f"TimescaleDB {found.version}"
    each = "" if found.bytes_per_reading is None else f", {found.bytes_per_reading:.1f} bytes each with their indexes"
    typer.echo(f"Storage:   {name}, {_size(found.bytes)}")
    typer.echo(f"Readings:  {found.readings:,}{each}")
    if found.removed:
        typer.echo(f"Removed:   {found.removed:,} by retention; `lms-cloud storage retention show` lists when")
    typer.echo(f"Oldest:    {_iso(oldest) or 'none'}")
    typer.echo(f"Newest:    {_iso(newest) or 'none'}")
    waiting = f"{found.marks:,} marks, the oldest since {_iso(found.oldest_mark)}" if found.marks else "nothing"
    typer.echo(f"Rollups:   {waiting} waiting to be computed\n")
    show_rows(
        [
            {
                "relation": row.relation,
                "pieces": row.pieces,
                "in columns": row.in_columns,
                "size": _size(row.bytes),
                "smaller by": None if row.compression is None else f"{row.compression:.1f} ×",
            }
            for row in found.relations
        ],
        empty="",
        as_json=False,
    )
    if pieces:
        typer.echo("")
        show_rows(
            [
                {
                    "piece": piece["piece"],
                    "from (UTC)": _iso(piece["from_at"]),
                    "to (UTC)": _iso(piece["to_at"]),
                    "size": _size(piece["bytes"]),
                    "columns": "yes" if piece["in_columns"] else "no",
                }
                for piece in listed
            ],
            empty="There are no pieces yet.",
            as_json=False,
        )


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat().replace("+00:00", "Z")


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
