"""The live message as the web workers read it; `lms_cloud.telemetry.announcing` writes it. See docs/feed.md."""

import json
from dataclasses import dataclass
from typing import Any

from lms_protocol.errors import PayloadError


@dataclass(frozen=True, slots=True)
class LiveMessage:
    """What one commit brought for one bioreactor.

    Attributes:
        cursor, previous: of the bioreactor's feed, after and before the commit.
        readings: [tag name, taken_at_ms, value, quality] each.
        late: first and last time (ms) of readings that came late.
        online, since_ms: the new connection state; both None where it did not change.
    """

    cursor: int
    previous: int
    readings: list[tuple[str, int, Any, int]]
    late: tuple[int, int] | None
    online: bool | None
    since_ms: int | None

    @classmethod
    def parse(cls, payload: bytes) -> "LiveMessage":
        """Read a message.

        Raises:
            PayloadError: it is not one.
        """
        try:
            data = json.loads(payload)
            status = data.get("status") or {}
            late = data.get("late")
            readings = data.get("readings", ())
            return cls(
                int(data["cursor"]),
                int(data["previous"]),
                [(str(name), int(at_ms), value, int(quality)) for name, at_ms, value, quality in readings],
                None if late is None else (int(late[0]), int(late[1])),
                status.get("online"),
                status.get("since_ms"),
            )
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
            raise PayloadError(f"{payload[:80]!r} is no live message: {error!r}") from error
