"""What a new log takes over from the one that is set aside: open gaps, and what is known of logs set aside before it.

It is asked of SQLite and, where that finds the file damaged, read page by page. A row whose checksum does not fit is
left behind. Of a log that was set aside earlier the file is then found in the folder (`unlisted`), and batches of it
that were logged again have their origin with them.

Neighbours: `lms_agent.log.opening` and `lms_agent.log.sqlite_log` write it into the intention that
`lms_agent.log.renewal.renewing` carries out.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from lms_agent.log.checksums import gap_checksum, origin_checksum
from lms_agent.log.damage.salvage import Basics, DamagedFile
from lms_agent.log.errors import LogError
from lms_agent.log.limits.retention import DROP_GAP_IDS
from lms_agent.log.reader import LogReader
from lms_agent.log.renewal.predecessors import cells_of

LOGGER = logging.getLogger(__name__)


class Carried(NamedTuple):
    """Rows that a new log takes over, without their checksums."""

    open_gaps: list[Any]
    predecessors: list[Any]
    origins: list[Any]


def carried(reader: LogReader, damaged: Path | None = None) -> Carried:
    """What is to be taken over from a log.

    Args:
        damaged: the file, if it is believed to be damaged: what SQLite does not find is looked for there.
    """
    asked: tuple[Callable[[LogReader], list[Any]], ...] = (_open_gaps, _predecessors, _origins)
    found: list[list[Any] | None] = []
    for ask in asked:
        try:
            found.append(ask(reader))
        except LogError as error:
            LOGGER.warning("%s", error)
            found.append(None)
    salvaged: Carried | None = None
    if damaged is not None and None in found:
        try:
            with DamagedFile(damaged) as file:
                salvaged = salvaged_from(file.basics())
        except OSError as error:
            LOGGER.warning("%s cannot be read: %s", damaged, error)
    return Carried(*(rows if rows is not None else salvaged[n] if salvaged else [] for n, rows in enumerate(found)))


def salvaged_from(basics: Basics) -> Carried:
    """What is to be taken over from a log that SQLite does not read any more."""
    return Carried(
        [row for row in basics.gaps.values() if row[5] is None],
        list(basics.predecessors.values()),
        [(*origin, batch) for origin, batch in basics.origins.items()],
    )


def last_gap_id(basics: Basics) -> int:
    """The highest id that a gap of sampling is known to have; 0 if there is none."""
    noted = basics.metas.get("gap_id", "0")
    return max(int(noted) if noted.isdigit() else 0, *(id_ for id_ in basics.gaps if id_ < DROP_GAP_IDS), 0)


def _open_gaps(reader: LogReader) -> list[Any]:
    rows = reader.rows("SELECT * FROM gaps WHERE ended_at_ms IS NULL")
    return [row[:7] for row in rows if gap_checksum(row[:7]) == row[7]]


def _predecessors(reader: LogReader) -> list[Any]:
    return [cells_of(entry) for entry in reader.predecessors()]


def _origins(reader: LogReader) -> list[Any]:
    rows = reader.rows("SELECT stream, number, batch, checksum FROM origins")
    return [row[:3] for row in rows if origin_checksum(*row[:2]) == row[3]]
