"""Alembic's entry point: runs the migrations on the connection that kernel/migrating.py hands over."""

from alembic import context
from sqlalchemy import Connection

from lms_cloud.kernel.database import Base


def run() -> None:
    """Run in the caller's transaction: either all migrations happen or none."""
    connection = context.config.attributes["connection"]
    assert isinstance(connection, Connection)  # noqa: S101 - set by kernel/migrating.py alone
    context.configure(connection=connection, target_metadata=Base.metadata, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()


run()
