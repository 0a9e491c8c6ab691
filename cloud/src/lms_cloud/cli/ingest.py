"""`lms-cloud ingest`: take batches from the broker into the database, until SIGTERM or SIGINT."""

import asyncio
import signal

from lms_cloud.kernel.database import Database
from lms_cloud.kernel.logging import configure_logging
from lms_cloud.kernel.settings import load_settings
from lms_cloud.telemetry.ingest import Ingest, postgres_backing

POOL_SIZE = 4


def ingest() -> None:
    """Take batches from the broker into the database; a Sparkplug host application."""
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

    asyncio.run(work())
