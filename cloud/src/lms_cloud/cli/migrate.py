"""`lms-cloud migrate`: bring the database to the newest migration."""

from typing import Annotated

import typer

from lms_cloud.cli.output import AsJson, show
from lms_cloud.kernel.migrating import migrate as run_migrations
from lms_cloud.kernel.settings import load_settings
from lms_cloud.telemetry.storage.flavours.settling import Settled, settle


def migrate(
    wait_s: Annotated[float, typer.Option(help="Seconds to wait for the database to answer.", min=0)] = 60,
    as_json: AsJson = False,
) -> None:
    """Bring the database that LMS_DATABASE_URL names to the newest migration, as its owner."""
    settings = load_settings()
    settled: list[Settled] = []

    def tell(sentence: str) -> None:
        typer.echo(sentence, err=True)

    done = run_migrations(
        settings.database_url.get_secret_value(),
        wait_s=wait_s,
        tell=tell,
        finish=lambda connection: settled.append(settle(connection, tell)),
    )
    tell(settled[0].sentence)
    if done.before == done.after:
        sentence = f"Nothing to migrate: the database is at {done.after}, the newest."
    else:
        sentence = f"Migrated the database from {done.before or 'nothing'} to {done.after}."
    result = {"before": done.before, "after": done.after, "storage": settled[0].flavour}
    show(result, sentence, as_json=as_json)
