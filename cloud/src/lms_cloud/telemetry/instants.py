"""Which instants people may ask about, checked before anything is computed of them: beyond, calendars end.

Before it: REST, pages and the command line. After it: history, gaps, clocks and completeness.
"""

from datetime import UTC, datetime
from typing import Final

from lms_cloud.kernel.errors import Invalid

EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(9999, 12, 31, tzinfo=UTC)


def check_instant(name: str, instant: datetime) -> datetime:
    """The instant, if a window may begin or end with it.

    Raises:
        Invalid: it has no zone, or lies before 2000 or after the year 9999.
    """
    if instant.tzinfo is None:
        raise Invalid(name, instant.isoformat(), "a time with its zone, such as 2026-11-23T17:00:00Z")
    if instant < EARLIEST:
        raise Invalid(name, instant.isoformat(), "a time from the year 2000 on")
    if instant > LATEST:
        raise Invalid(name, instant.isoformat(), f"a time up to {LATEST:%Y-%m-%d}")
    return instant
