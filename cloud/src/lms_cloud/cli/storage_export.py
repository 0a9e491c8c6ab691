"""`lms-cloud storage export`: readings as a file for other programs."""

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from lms_cloud.cli.operating import OrganizationOption, operate, organization_named
from lms_cloud.cli.output import AsJson, show
from lms_cloud.cli.storage_retention import InstantOption, parse_instant
from lms_cloud.kernel.database import Database
from lms_cloud.kernel.errors import Conflict, Invalid, SettingsError
from lms_cloud.telemetry.history.exporting import CsvWriter, ParquetWriter, Writer, export


class Format(StrEnum):
    """How to write."""

    CSV = "csv"
    PARQUET = "parquet"


def export_(
    *,
    organization: OrganizationOption,
    bioreactor: Annotated[list[str] | None, typer.Option(help="Wire id, may be repeated; all if left out.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Name, may be repeated; all if left out.")] = None,
    start: InstantOption,
    end: InstantOption,
    output: Annotated[Path, typer.Option(help="The file to make; - for standard output (CSV only).")],
    format_: Annotated[
        Format | None, typer.Option("--format", help="As the file's name ends (.csv, .parquet) if left out.")
    ] = None,
    time_zone: Annotated[str, typer.Option(help="In which times are written, such as Europe/Berlin.")] = "UTC",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write an organization's readings from start (included) to end (not included) as CSV or Parquet.

    Sorted by bioreactor, tag and time, with unit, quality and the offset of each time. The file appears when whole.
    """
    from_at, to_at, zone = parse_instant("start", start), parse_instant("end", end), _zone(time_zone)
    kind = format_ or _kind_of(output)
    to_stdout = str(output) == "-"
    if to_stdout and (kind is Format.PARQUET or as_json):
        raise SettingsError("--output", "- takes CSV only, without --json", "Name a file.")
    if output.exists() and not force and not to_stdout:
        raise Conflict("file", output, "is there already; --force replaces it")

    async def work(database: Database) -> int:
        organization_id = (await organization_named(database, organization)).id
        facts = {
            "organization": organization,
            "start": from_at.isoformat(),
            "end": to_at.isoformat(),
            "time_zone": time_zone,
        }
        async with database.unit_of_work(organization_id, snapshot=True) as uow:
            with _writing(output, kind, zone, facts) as writer:
                return await export(
                    uow, writer, start=from_at, end=to_at, bioreactors=bioreactor or None, tags=tag or None
                )

    count = operate(work)
    if not to_stdout:
        row = {"readings": count, "file": str(output), "bytes": output.stat().st_size, "format": kind.value}
        show(row, f"Wrote {count:,} readings to {output} ({row['bytes']:,} bytes).", as_json=as_json)


@contextmanager
def _writing(output: Path, kind: Format, zone: ZoneInfo, facts: dict[str, str]) -> Iterator[Writer]:
    """A writer to a file beside `output`, which takes its place once it is whole."""
    if str(output) == "-":
        yield CsvWriter(sys.stdout, zone)
        sys.stdout.flush()
        return
    part = output.with_name(f".{output.name}.{secrets.token_hex(4)}.part")
    try:
        if kind is Format.PARQUET:
            yield ParquetWriter(str(part), str(zone), facts)
        else:
            with part.open("x", encoding="utf-8", newline="") as file:
                yield CsvWriter(file, zone)
        part.replace(output)
    except OSError as error:
        raise SettingsError(
            "--output", f"{output} cannot be written ({error.strerror})", "Check path and space."
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _kind_of(output: Path) -> Format:
    if output.suffix == ".parquet":
        return Format.PARQUET
    if output.suffix == ".csv" or str(output) == "-":
        return Format.CSV
    raise SettingsError("--format", f"is missing, and {output.name!r} does not tell it", "It is: csv or parquet.")


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise Invalid("time_zone", name, "a name of the IANA database, such as UTC or Europe/Berlin") from error
