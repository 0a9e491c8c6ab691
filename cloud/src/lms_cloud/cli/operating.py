"""What the operator's commands share: the database that LMS_DATABASE_URL names, and the organization they speak of.

Operators connect as the database's owner. Row security holds for the owner too: he sees the organizations' names, and
the rows of the one that a unit of work enters.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import psycopg
import typer
from sqlalchemy.exc import OperationalError, ProgrammingError

from lms_cloud.kernel.database import Database
from lms_cloud.kernel.errors import DatabaseSetupError, NotFound
from lms_cloud.kernel.logging import configure_logging
from lms_cloud.kernel.migrating import first_line
from lms_cloud.kernel.settings import load_settings
from lms_cloud.organizations.models import Organization
from lms_cloud.organizations.service import OrganizationService

T = TypeVar("T")

WireIdOption = Annotated[str | None, typer.Option(help="Its id in MQTT topics; made from the name if left out.")]
OrganizationOption = Annotated[str, typer.Option(help="The organization's wire id.")]


def operate(work: Callable[[Database], Awaitable[T]]) -> T:
    """Run `work` on the database.

    Raises:
        DatabaseSetupError: the database does not answer, or is not migrated.
    """
    settings = load_settings()
    configure_logging("warning")

    async def run() -> T:
        async with Database.from_settings(settings, application_name="lms-cloud operator") as database:
            return await work(database)

    try:
        return asyncio.run(run())
    except (OperationalError, psycopg.OperationalError) as error:
        raise _unusable(error, "Check that it runs, and LMS_DATABASE_URL") from error
    except (ProgrammingError, psycopg.ProgrammingError) as error:  # the driver's, where it is asked directly
        raise _unusable(error, "Run `lms-cloud migrate`, and use the account that owns the database") from error


def _unusable(error: Exception, remedy: str) -> DatabaseSetupError:
    return DatabaseSetupError(f"The database refused: {first_line(error)}", remedy)


async def organization_named(database: Database, wire_id: str) -> Organization:
    """The organization with that wire id.

    Raises:
        NotFound: there is none.
    """
    async with database.unit_of_work(None) as uow:
        organization = await OrganizationService(uow).find_organization(wire_id)
    if organization is None:
        raise NotFound("organization", wire_id)
    return organization
