"""`lms-cloud storage`: look after the stored readings and their rollups."""

import asyncio

import typer
from sqlalchemy.exc import DBAPIError

from lms_cloud.cli.operating import operate
from lms_cloud.cli.output import AsJson, show
from lms_cloud.cli.storage_export import export_
from lms_cloud.cli.storage_retention import app as retention
from lms_cloud.cli.storage_stats import stats
from lms_cloud.kernel.database import Database
from lms_cloud.kernel.errors import DatabaseSetupError
from lms_cloud.kernel.migrating import connect, current_revision, first_line, lock_migrations, newest_revision
from lms_cloud.kernel.settings import load_settings
from lms_cloud.organizations.service import OrganizationService
from lms_cloud.telemetry.storage.flavours.conversion import convert, flavour
from lms_cloud.telemetry.storage.flavours.offering import Offer, offered
from lms_cloud.telemetry.storage.rollups.refreshing import refresh, waiting

BUSY_S = 0.2

app = typer.Typer(no_args_is_help=True, help="Look after the stored readings and their rollups.")
app.command()(stats)
app.command("export")(export_)
app.add_typer(retention, name="retention")


@app.command("convert")
def convert_(as_json: AsJson = False) -> None:
    """Move all readings and rollups from plain PostgreSQL into TimescaleDB. Ingest waits meanwhile; no way back."""
    with connect(load_settings().database_url.get_secret_value()) as connection:
        lock_migrations(connection)
        if current_revision(connection) != newest_revision():
            raise DatabaseSetupError("The database is not at the newest migration", "Run `lms-cloud migrate`")
        offering = offered(connection)
        if flavour(connection) == "timescaledb":
            show({"storage": "timescaledb", "converted": False}, "It is in TimescaleDB already.", as_json=as_json)
            return
        if offering.offer is not Offer.USABLE:
            raise DatabaseSetupError("The readings cannot be moved to TimescaleDB", offering.sentence())
        try:
            convert(connection, lambda sentence: typer.echo(sentence, err=True))
            connection.commit()
        except DBAPIError as error:
            raise DatabaseSetupError(
                f"The conversion was refused, nothing is changed: {first_line(error)}",
                "Convert with the account that owns the database",
            ) from error
    sentence = f"All readings are in TimescaleDB {offering.version} now."
    show({"storage": "timescaledb", "converted": True}, sentence, as_json=as_json)


@app.command("refresh")
def refresh_(as_json: AsJson = False) -> None:
    """Compute now, beside the ingest workers, every minute, hour and day whose rollup is older than its readings."""

    async def work(database: Database) -> int:
        async with database.unit_of_work(None) as uow:
            organizations = [each.id for each in await OrganizationService(uow).list_organizations()]
        series_minutes = 0
        for organization_id in organizations:
            while True:
                async with database.unit_of_work(organization_id) as uow:
                    done = await refresh(uow, at_once=True)
                series_minutes += done.series_minutes
                if done.bioreactors:
                    continue
                async with database.unit_of_work(organization_id) as uow:
                    if await waiting(uow) == 0:
                        break
                await asyncio.sleep(BUSY_S)  # an ingest worker has just taken them
        return series_minutes

    count = operate(work)
    sentence = f"Computed {count:,} series-minutes, and the hours and days that they lie in." if count else ""
    show({"series_minutes": count}, sentence or "Nothing to refresh: the rollups are up to date.", as_json=as_json)
