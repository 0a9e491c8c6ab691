"""What a PostgreSQL server offers beyond plain tables, found by asking it."""

import re
from enum import Enum
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, text

NEEDED: Final = (2, 18)
"""The first TimescaleDB with the commands of the columnstore that are used here."""

_EXTENSION = text("select installed_version from pg_available_extensions where name = 'timescaledb'")
_LICENCE = text("select current_setting('timescaledb.license', true)")


class Offer(Enum):
    """Whether TimescaleDB can be used in a database."""

    ABSENT = "absent"
    NOT_CREATED = "not created"
    TOO_OLD = "too old"
    APACHE = "apache"
    USABLE = "usable"


class Offering(NamedTuple):
    """What the server offers.

    Attributes:
        version: TimescaleDB's, where the database has it.
    """

    offer: Offer
    version: str | None = None

    def sentence(self) -> str:
        """What there is, and what would be needed to use TimescaleDB."""
        remedies = {
            Offer.ABSENT: "This PostgreSQL has no TimescaleDB.",
            Offer.NOT_CREATED: (
                "This PostgreSQL has TimescaleDB, but the database does not: to use it, let a superuser run CREATE"
                " EXTENSION timescaledb in it (the server needs shared_preload_libraries = 'timescaledb')."
            ),
            Offer.TOO_OLD: (
                f"TimescaleDB {self.version} is too old: {'.'.join(map(str, NEEDED))} or newer is needed;"
                " ALTER EXTENSION timescaledb UPDATE after installing it."
            ),
            Offer.APACHE: (
                f"TimescaleDB {self.version} runs under its Apache licence, which has no columnstore: to use it,"
                " install the build with the Timescale licence and set timescaledb.license = 'timescale'."
            ),
            Offer.USABLE: f"TimescaleDB {self.version} can be used.",
        }
        return remedies[self.offer]


def offered(connection: Connection) -> Offering:
    """Ask the server that `connection` is connected to."""
    found: Any = connection.execute(_EXTENSION).one_or_none()
    if found is None:
        return Offering(Offer.ABSENT)
    version: str | None = found.installed_version
    if version is None:
        return Offering(Offer.NOT_CREATED)
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < NEEDED:
        return Offering(Offer.TOO_OLD, version)
    if connection.execute(_LICENCE).scalar_one() != "timescale":
        return Offering(Offer.APACHE, version)
    return Offering(Offer.USABLE, version)
