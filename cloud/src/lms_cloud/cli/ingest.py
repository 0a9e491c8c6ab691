"""`lms-cloud ingest`: take batches from the broker into the database, until SIGTERM or SIGINT; and who holds what."""

import asyncio
import gc
import signal
from typing import Any

import typer

from lms_cloud.cli.operating import operate
from lms_cloud.cli.output import AsJson, show_rows
from lms_cloud.kernel.database import Database
from lms_cloud.kernel.logging import configure_logging
from lms_cloud.kernel.settings import load_settings
from lms_cloud.telemetry.ingest.worker import Ingest, postgres_backing
from lms_cloud.telemetry.leases.lease_list import list_leases

POOL_SIZE = 4
COLLECT_AT = (100_000, 10, 10)
"""Garbage collections by generation. At Python's 700 objects they take a sixth of ingest's time: they look at messages
that wait for their commit and are no garbage. What they do find, now and then a failed task, may as well wait."""
app = typer.Typer(help="Take batches from the broker into the database.")


@app.callback(invoke_without_command=True)
def ingest(context: typer.Context) -> None:
    """Take batches from the broker into the database; a Sparkplug host application.

    Start it as often as there is work for: the workers share the organizations.
    """
    if context.invoked_subcommand is not None:
        return
    settings = load_settings()
    configure_logging(settings.log_level)

    async def work() -> None:
        url = settings.database_url.get_secret_value()
        async with Database(url, pool_size=POOL_SIZE, application_name="lms-cloud ingest") as database:
            worker = Ingest(settings, postgres_backing(settings, database))
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, worker.stop)
            await worker.run()

    gc.freeze()  # the program itself, loaded by now
    gc.set_threshold(*COLLECT_AT)
    asyncio.run(work())


@app.command()
def status(as_json: AsJson = False) -> None:
    """List the workers that are alive, who leads, and which organizations each has."""
    host_id = load_settings().host_id

    async def work(database: Database) -> list[dict[str, Any]]:
        found = await list_leases(database, host_id)
        return [
            {
                "worker": each.worker,
                "since": each.since and each.since.isoformat(timespec="seconds"),
                "leads": each.leads,
                "organizations": each.groups if as_json else " ".join(each.groups) or "none",
            }
            for each in found
        ]

    show_rows(
        operate(work), empty=f"No ingest worker of {host_id!r} is alive. Start one: lms-cloud ingest", as_json=as_json
    )
