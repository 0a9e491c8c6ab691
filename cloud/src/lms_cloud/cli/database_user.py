"""`lms-cloud database-user`: make the logins that the web and ingest workers connect with."""

import sys
from enum import StrEnum
from typing import Annotated

import psycopg
import typer
from psycopg import sql

from lms_cloud.cli.output import AsJson, show
from lms_cloud.kernel.errors import DatabaseSetupError
from lms_cloud.kernel.migrating import connect
from lms_cloud.kernel.settings import load_settings
from lms_cloud.kernel.tenancy import INGEST, WEB

MIN_PASSWORD_LENGTH = 16


class Purpose(StrEnum):
    """What the login is for."""

    WEB = "web"
    INGEST = "ingest"


_GROUPS = {Purpose.WEB: WEB, Purpose.INGEST: INGEST}


def database_user(
    purpose: Annotated[Purpose, typer.Argument(help="Whose grants it gets.")],
    name: Annotated[str, typer.Option(help="The login's name.")],
    as_json: AsJson = False,
) -> None:
    """Make a login (or give an existing one a new password), member of lms_web or lms_ingest. Password from stdin."""
    password = sys.stdin.readline().rstrip("\n")
    if len(password) < MIN_PASSWORD_LENGTH:
        raise DatabaseSetupError(
            f"The password on standard input has {len(password)} characters",
            f"Give at least {MIN_PASSWORD_LENGTH} on its first line",
        )
    created = create_login(load_settings().database_url.get_secret_value(), name, password, _GROUPS[purpose])
    sentence = f"{'Created' if created else 'Renewed'} the database login {name!r} as a member of {_GROUPS[purpose]}."
    show({"name": name, "role": _GROUPS[purpose], "created": created}, sentence, as_json=as_json)


def create_login(owner_url: str, name: str, password: str, group: str) -> bool:
    """Make the login, or renew its password. Returns whether it is new.

    Raises:
        DatabaseSetupError: the group is missing (migrate first), or the owner may not make roles.
    """
    with connect(owner_url, autocommit=True) as connection:
        driver = connection.connection.driver_connection
        assert driver is not None  # noqa: S101 - the connection is open
        # The server sees only the verifier, so that no log of statements can hold the password.
        verifier = driver.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
        with driver.cursor() as cursor:
            row = cursor.execute("select rolsuper or rolbypassrls from pg_roles where rolname = %s", [name]).fetchone()
            if row is not None and row[0]:
                raise DatabaseSetupError(f"The role {name!r} passes by row security", "Choose another name")
            statement = sql.SQL("{verb} role {name} login password {verifier}").format(
                verb=sql.SQL("create" if row is None else "alter"),
                name=sql.Identifier(name),
                verifier=sql.Literal(verifier),
            )
            try:
                cursor.execute(statement)
                cursor.execute(sql.SQL("grant {} to {}").format(sql.Identifier(group), sql.Identifier(name)))
            except psycopg.Error as error:
                raise DatabaseSetupError(
                    f"The login {name!r} cannot be made: {str(error).partition(chr(10))[0]}",
                    "Run `lms-cloud migrate` first, and use an owner that may create roles",
                ) from error
    return row is None
