"""The live message: what a commit brought, for the web workers and for anyone who reads the broker feed.

Published after COMMIT, one message per bioreactor and commit, on lms/live/{group}/{device} (docs/feed.md describes it).
`previous` lets a reader notice a message that it has missed; the database then has what was in it.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, Final
from uuid import UUID

import numpy as np
import orjson
from lms_protocol.columns import DOUBLE
from lms_protocol.messages import Publish
from lms_protocol.reading import Value
from lms_protocol.topics import LiveTopic

from lms_cloud.telemetry.columns import EXACT_INTEGER
from lms_cloud.telemetry.incoming import Bioreactor, Incoming, Outcome, StatusChange, Work

VERSION: Final = 1
MAX_READINGS: Final = 2000
"""A commit that brought one bioreactor more than this is announced as a time range instead."""


def shown(value: Value) -> Value:
    """A value as JSON can carry it to a browser: no NaN or infinity (None), integers beyond 2^53 as text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int) and not -EXACT_INTEGER <= value <= EXACT_INTEGER:
        return str(value)
    return value


def live_messages(work: Work, outcome: Outcome) -> Iterator[Publish]:
    """The messages that tell of a commit, one for each bioreactor whose cursor moved; made as they are asked for."""
    stored: dict[UUID, list[Incoming]] = defaultdict(list)
    for batch in outcome.stored:
        stored[batch.bioreactor.id].append(batch)
    statuses = {change.bioreactor.id: change for change in outcome.statuses}
    homes: dict[UUID, Bioreactor] = {}
    for items in (work.batches, work.letters, work.statuses):
        homes |= {item.bioreactor.id: item.bioreactor for item in items if item.bioreactor is not None}
    return (
        _message(homes[id_], cursor, stored.get(id_, []), statuses.get(id_)) for id_, cursor in outcome.cursors.items()
    )


def _message(home: Bioreactor, cursor: int, batches: list[Incoming], status: StatusChange | None) -> Publish:
    content: dict[str, Any] = {"v": VERSION, "cursor": cursor, "previous": cursor - 1}
    live = [batch for batch in batches if not batch.historical]
    late = [batch for batch in batches if batch.historical]
    if sum(len(batch.readings) for batch in live) > MAX_READINGS:
        live, late = [], batches
    if any(batch.readings for batch in live):
        content["readings"] = [row for batch in live for row in _rows(batch)]
    times = [ms for batch in late for ms in batch.columns.extent or ()]
    if times:
        content["late"] = [min(times), max(times)]
    if status is not None:
        content["status"] = {"online": status.online, "since_ms": int(status.since.timestamp() * 1000)}
    return Publish(str(LiveTopic(home.group, home.device)), orjson.dumps(content))


def _rows(batch: Incoming) -> Iterable[tuple[str, int, Value, int]]:
    """What the message says of each reading: tag, time, value, quality; NaN and infinity become null."""
    columns = batch.columns
    names = batch.tags.names_of(bytes(columns.tags))
    times: list[int] = np.frombuffer(columns.times, dtype="<i8").tolist()
    qualities: list[int] = np.frombuffer(columns.qualities, dtype="<u2").tolist()
    values: Iterable[Value]
    if bytes(columns.kinds).count(DOUBLE) == len(columns):  # nearly always
        values = np.frombuffer(columns.words, dtype="<f8").tolist()
    else:
        values = [shown(reading.value) for reading in columns]
    return zip(names, times, values, qualities, strict=True)
