"""What the ingest worker does for the storage beside the commits: rollups and retention."""

import asyncio

from lms_cloud.kernel.database import Database
from lms_cloud.kernel.settings import CloudSettings
from lms_cloud.telemetry.storage.retention import KeepingRule, Retention
from lms_cloud.telemetry.storage.rollups.refreshing import Refresher


class Upkeep:
    """Keeps rollups right and removes what is due; several workers may do so at once.

    Args:
        database: as `lms_ingest`.
        settings: how long what is kept.
    """

    def __init__(self, database: Database, settings: CloudSettings) -> None:
        self._refresher = Refresher(database)
        self._retention = Retention(database, KeepingRule.from_settings(settings))

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._refresher.run())
            group.create_task(self._retention.run())
