"""Which flavour a database has, decided when it is migrated: TimescaleDB where a new one can, else plain.

A database that holds readings already stays as it is until `lms-cloud storage convert`, because converting locks out
ingest for as long as it takes to write all of them again.
"""

from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import Connection, text

from lms_cloud.telemetry.storage.flavours.conversion import convert, flavour
from lms_cloud.telemetry.storage.flavours.offering import Offer, offered

# The ledger is under forced row security, which hides it from the owner: ask what has no tenant.
_USED = text("select exists (select from readings) or exists (select from readings_text)")


class Settled(NamedTuple):
    """The flavour of a database, and a sentence that says so, and why."""

    flavour: str
    sentence: str


def settle(connection: Connection, tell: Callable[[str], None]) -> Settled:
    """Convert a database without readings to TimescaleDB where that can be used; say what it is now. Commits.

    Args:
        connection: as the owner, at the newest migration; nobody else migrates.
        tell: called with a sentence about each thing that is done.
    """
    offering = offered(connection)
    if flavour(connection) == "timescaledb":
        return Settled("timescaledb", f"Storage: TimescaleDB {offering.version}.")
    if offering.offer is not Offer.USABLE:
        return Settled("plain", f"Storage: plain PostgreSQL. {offering.sentence()}")
    if connection.execute(_USED).scalar_one():
        return Settled(
            "plain",
            f"Storage: plain PostgreSQL, as it was when its first readings came. {offering.sentence()} To move all"
            " readings there, while ingest waits: lms-cloud storage convert",
        )
    convert(connection, tell)
    connection.commit()
    return Settled("timescaledb", f"Storage: TimescaleDB {offering.version}.")
