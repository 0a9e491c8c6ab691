"""Read what a data message says, by what its device's birth told.

Data refers to its birth: metrics come by alias, without name or data type. So a birth is kept as `Birth`, together with
the shapes of the data that has come since (`lms_protocol.layouts`).

Neighbours: `lms_protocol.host` follows the sessions, and so knows which birth a message refers to.
"""

from collections.abc import Iterable
from struct import iter_unpack
from typing import Any, Final, NamedTuple

from lms_protocol.batches import (
    BATCH_NAME,
    CLOCK_NAME,
    GAP_NAME,
    LOGGED_NAME,
    ORIGIN_NAME,
    RECORD_2,
    clock_from_text,
    gap_from_text,
    logged_from_text,
    origin_from_text,
    read_quality,
    read_remarks,
)
from lms_protocol.births import BirthMetric
from lms_protocol.columns import Columns
from lms_protocol.errors import PayloadError, SessionError
from lms_protocol.layouts import Layouts
from lms_protocol.reading import ClockRecord, Gap, Origin, Quality, Reading
from lms_protocol.sparkplug import UNSUPPORTED, get_value

MAX_TAG_COLUMNS: Final = 64
"""Columns of aliases remembered of one birth."""
LATEST_MS: Final = 253_402_300_799_999  # the end of the year 9999, the last that dates can be shown for


class Said(NamedTuple):
    """What a data message says.

    Attributes:
        number: of the batch; None if it does not say.
        historical: whether it was sent late.
        logged: see `Batch`.
    """

    number: int | None
    columns: Columns
    gaps: tuple[Gap, ...]
    historical: bool
    clock: ClockRecord | None
    origin: Origin | None
    logged: bytes | None = None


class UnknownMetricError(SessionError):
    """Data refers to a metric that the birth did not tell."""


class UnusableDataError(PayloadError):
    """A data message breaks the rules.

    Attributes:
        number: of the batch, where it could still be read.
    """

    def __init__(self, error: PayloadError, number: int | None) -> None:
        super().__init__(error.reason, metric=error.metric)
        self.number = number


class Birth:
    """What a birth told of its metrics, and the shapes of the data that came since."""

    def __init__(self, metrics: Iterable[BirthMetric]) -> None:
        metrics = list(metrics)
        self.by_alias = {metric.tag.number: metric for metric in metrics if metric.has_alias}
        self.by_name = {metric.tag.name: metric for metric in metrics}
        self.layouts = Layouts()
        self._known_tags: set[bytes] = set()
        self.learnable = {
            alias: metric.tag.name == BATCH_NAME
            for alias, metric in self.by_alias.items()
            if metric.tag.name == BATCH_NAME or not metric.is_control
        }

    def check_tags(self, tags: bytes) -> None:
        """See that a column of aliases (u64) names tags of this birth.

        Raises:
            UnknownMetricError: one is of another birth.
            PayloadError: one belongs to the session.
        """
        if tags in self._known_tags:  # nearly always: the same tags scan after scan
            return
        for (alias,) in iter_unpack("<Q", tags):
            if alias not in self.by_alias:
                raise UnknownMetricError(f"alias {alias}")
            if self.by_alias[alias].is_control:
                raise PayloadError("is no tag of an instrument", metric=alias)
        if len(self._known_tags) >= MAX_TAG_COLUMNS:
            self._known_tags.clear()
        self._known_tags.add(tags)

    def metric_of(self, metric: Any) -> BirthMetric:
        """What the birth told of a data metric.

        Raises:
            UnknownMetricError: nothing.
        """
        alias = metric.alias
        by_alias = alias or metric.HasField("alias")
        known = self.by_alias.get(alias) if by_alias else self.by_name.get(metric.name)
        if known is None:
            raise UnknownMetricError(f"metric {metric.name!r}" if metric.name else f"alias {alias}")
        return known


def read_data(birth: Birth, message: Any) -> Said:
    """What a DDATA or NDATA says, metric by metric.

    Args:
        message: the parsed payload.

    Raises:
        UnknownMetricError: a metric is not in the birth; its sentence names it.
        UnusableDataError: a metric breaks the rules.
    """
    number: int | None = None
    historical = False
    readings: list[Reading] = []
    gaps: list[Gap] = []
    clock: ClockRecord | None = None
    origin: Origin | None = None
    logged: bytes | None = None
    try:
        for metric in message.metrics:
            known = birth.metric_of(metric)
            historical = historical or metric.is_historical
            if not known.is_control:
                reading = _reading(metric, known, message)
                if reading is not None:
                    readings.append(reading)
            elif known.tag.name == BATCH_NAME:
                number = metric.long_value
            elif known.tag.name == GAP_NAME:
                gaps.append(gap_from_text(metric.string_value))
            elif known.tag.name == CLOCK_NAME:
                clock = clock_from_text(metric.string_value)
            elif known.tag.name == ORIGIN_NAME:
                origin = origin_from_text(metric.string_value)
            elif known.tag.name == LOGGED_NAME:
                logged = logged_from_text(metric.string_value)
        columns = Columns.of(readings)
    except PayloadError as error:
        raise UnusableDataError(error, number) from error
    return Said(number, columns, tuple(gaps), historical, clock, origin, logged)


def read_record(birth: Birth, number: int, record: bytes) -> Said:
    """What a batch says that came as the log keeps it.

    Raises:
        UnknownMetricError: a tag is not in the birth.
        PayloadError: the record is not in its form.
    """
    if record[:1] != RECORD_2:
        raise PayloadError("its record is of another form")
    columns, end = Columns.parse(record, 1)
    gaps, clock, origin = read_remarks(record, end)
    birth.check_tags(bytes(columns.tags))
    return Said(number, columns, gaps, True, clock, origin)


def _reading(metric: Any, known: BirthMetric, message: Any) -> Reading | None:
    """One data metric as a reading; None if its value is of a kind that LMS evo does not store."""
    taken_at_ms = metric.timestamp or _time_of(metric, message, known)
    if taken_at_ms > LATEST_MS:
        raise PayloadError(f"timestamp {taken_at_ms} is after the year 9999", metric=known.tag.name)
    plain = not (metric.is_null or metric.datatype or metric.HasField("properties"))
    if plain and metric.WhichOneof("value") == known.direct_field:  # nearly always
        return Reading(known.tag.number, taken_at_ms, getattr(metric, known.direct_field))
    try:
        value = get_value(metric, metric.datatype if metric.HasField("datatype") else known.wire_datatype)
        quality = read_quality(metric)
    except PayloadError as error:
        raise PayloadError(error.reason, metric=known.tag.name) from error
    if value is UNSUPPORTED:
        return None
    if value is None and quality is Quality.GOOD:
        quality = Quality.BAD  # null without a quality: there is no value to trust
    return Reading(known.tag.number, taken_at_ms, value, quality)


def _time_of(metric: Any, message: Any, known: BirthMetric) -> int:
    """The time of a metric whose timestamp is 0 or missing: its own, else the payload's."""
    if metric.HasField("timestamp"):
        return 0
    if not message.HasField("timestamp"):
        raise PayloadError("has no timestamp", metric=known.tag.name)
    return int(message.timestamp)
