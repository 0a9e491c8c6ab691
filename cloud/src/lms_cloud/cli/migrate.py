"""`lms-cloud migrate`: bring the database to the newest migration, or back to a former one."""

from typing import Annotated

import typer

from lms_cloud.cli.output import AsJson, show
from lms_cloud.kernel.migrating import go_back
from lms_cloud.kernel.migrating import migrate as run_migrations
from lms_cloud.kernel.settings import load_settings
from lms_cloud.telemetry.storage.flavours.settling import Settled, settle


def migrate(
    wait_s: Annotated[float, typer.Option(help="Seconds to wait for the database to answer.", min=0)] = 60,
    back_to: Annotated[str | None, typer.Option(help="Go back to this migration, for a former release.")] = None,
    lose_data: Annotated[bool, typer.Option("--lose-data", help="Go back even if something is lost by it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the database that LMS_DATABASE_URL names to the newest migration, as its owner; or back to a former one."""
    settings = load_settings()
    if back_to is not None:
        gone = go_back(settings.database_url.get_secret_value(), back_to, lose_data=lose_data, wait_s=wait_s)
        sentence = f"The database went back from {gone.before} to {gone.after}: only a release of then can use it."
        show({"before": gone.before, "after": gone.after}, sentence, as_json=as_json)
        return
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
