"""Read what a birth says: tags with their descriptions, and the values that it carries.

Neighbours: `lms_protocol.edge` writes births; `lms_protocol.host` keeps what this module reads from them.
"""

from collections.abc import Sequence
from itertools import count
from typing import Any, Final, NamedTuple

from lms_protocol.batches import QUALITY_NAME, quality_from_code
from lms_protocol.errors import PayloadError
from lms_protocol.messages import BD_SEQ_NAME
from lms_protocol.reading import Datatype, Quality, Reading, TagDescription
from lms_protocol.sparkplug import UNSUPPORTED, WIRE_TYPES, MetricValue, Property, WireType, get_value, read_properties

FIRST_NUMBER_WITHOUT_ALIAS: Final = 1 << 40
"""Metrics without alias are numbered from here, beyond what anyone uses as alias, for as long as the session lasts."""

_CONTROL_PREFIXES: Final = ("Node Control/", "Device Control/", "Sync/")
_STORED_AS: Final = {
    WireType.SIGNED_32: Datatype.INT64,
    WireType.UNSIGNED_32: Datatype.INT64,
    WireType.SIGNED_64: Datatype.INT64,
    WireType.UNSIGNED_64: Datatype.UINT64,
    WireType.FLOAT: Datatype.FLOAT,
    WireType.DOUBLE: Datatype.DOUBLE,
    WireType.BOOLEAN: Datatype.BOOLEAN,
    WireType.TEXT: Datatype.STRING,
}


class BirthMetric(NamedTuple):
    """One metric of a birth.

    Attributes:
        tag: its description; `device` is "" for a metric of the node itself.
        wire_datatype: Sparkplug's code, by which data metrics are to be read.
        has_alias: whether data may name it by `tag.number`.
        is_control: it belongs to the session, or holds what LMS evo cannot store: not a tag for people.
        value: as in the birth.
        direct_field: the payload's field whose content is the value as it stands, with no sign to be put right; "" for
            data types that need more.
    """

    tag: TagDescription
    wire_datatype: int
    has_alias: bool
    is_control: bool
    value: MetricValue
    direct_field: str

    def to_record(self) -> list[Any]:
        """Number, name, data type, whether it has an alias, and unit: all that readings need, as JSON takes it."""
        return [self.tag.number, self.tag.name, self.wire_datatype, self.has_alias, self.tag.unit]

    @classmethod
    def from_record(cls, record: Sequence[Any], device: str) -> "BirthMetric":
        """The metric that `to_record` told of, if need be without a unit as formerly; without what only people need.

        Raises:
            ValueError: it is no such record.
        """
        number, name, wire_datatype, has_alias, *unit = record
        wire_type = WIRE_TYPES.get(wire_datatype)
        return cls(
            TagDescription(number, device, name, _datatype(wire_type), unit=unit[0] if unit else ""),
            wire_datatype,
            has_alias,
            _is_control(wire_type, name),
            None,
            _direct_field(wire_type),
        )


def _datatype(wire_type: WireType | None) -> Datatype:
    return Datatype.STRING if wire_type is None else _STORED_AS[wire_type]


def _is_control(wire_type: WireType | None, name: str) -> bool:
    return wire_type is None or name == BD_SEQ_NAME or name.startswith(_CONTROL_PREFIXES)


def _direct_field(wire_type: WireType | None) -> str:
    return "" if wire_type is None or wire_type.value[1] else wire_type.value[0]


def read_birth(message: Any, *, device: str | None) -> tuple[list[BirthMetric], list[Reading]]:
    """All metrics of a birth, and the values that it carries as readings.

    Raises:
        PayloadError: a metric lacks its name or data type, two share a name or an alias, or a value does not fit.
    """
    metrics: list[BirthMetric] = []
    readings: list[Reading] = []
    names: set[str] = set()
    numbers: set[int] = set()
    spare = count(FIRST_NUMBER_WITHOUT_ALIAS)
    for source in message.metrics:
        if not source.name:
            raise PayloadError("a metric of a birth has no name", metric=source.alias)
        if not source.HasField("datatype"):
            raise PayloadError("has no data type in its birth", metric=source.name)
        has_alias = source.HasField("alias")
        number = source.alias if has_alias else next(spare)
        if source.name in names or number in numbers:
            raise PayloadError("stands in its birth twice, by name or by alias", metric=source.name)
        names.add(source.name)
        numbers.add(number)
        metric = _read_metric(source, number, device or "", has_alias=has_alias)
        metrics.append(metric)
        taken_at_ms = source.timestamp if source.HasField("timestamp") else message.timestamp
        if not metric.is_control and metric.value is not UNSUPPORTED and taken_at_ms:
            readings.append(Reading(number, taken_at_ms, metric.value, _quality(source, metric.value)))
    return metrics, readings


def _read_metric(source: Any, number: int, device: str, *, has_alias: bool) -> BirthMetric:
    wire_type = WIRE_TYPES.get(source.datatype)
    properties = read_properties(source)
    decimals = _number(properties, "decimals")
    return BirthMetric(
        tag=TagDescription(
            number=number,
            device=device,
            name=source.name,
            datatype=_datatype(wire_type),
            unit=str(properties.get("engUnit", (0, ""))[1] or ""),
            low=_number(properties, "engLow"),
            high=_number(properties, "engHigh"),
            decimals=None if decimals is None else int(decimals),
            access="write" if properties.get("writable", (0, False))[1] is True else "read",
        ),
        wire_datatype=source.datatype,
        has_alias=has_alias,
        is_control=_is_control(wire_type, source.name),
        value=get_value(source, source.datatype),
        direct_field=_direct_field(wire_type),
    )


def _number(properties: dict[str, Property], key: str) -> float | None:
    value = properties.get(key, (0, None))[1]
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _quality(source: Any, value: MetricValue) -> Quality:
    code = _number(read_properties(source), QUALITY_NAME)
    if code is None:
        return Quality.GOOD if value is not None else Quality.BAD
    return quality_from_code(int(code))
