"""Sparkplug B payloads: objects to bytes and back.

The protobuf message is built at import from the specification's field table, so there is no generated file and no
compiler; the C implementation below (upb) does the coding. Fields that LMS evo does not use (metadata, data sets,
templates) are not described here: a payload that has them is read all the same, and such a metric's value is
`UNSUPPORTED`.

Neighbours: `lms_protocol.batches` (batches as payloads), `lms_protocol.edge` and `lms_protocol.host` (sessions).

Source: Sparkplug 3.0.0, section 6.4 (payload) and its field table; signed integers are carried as two's complement.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Literal, TypeAlias

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from lms_protocol.errors import PayloadError
from lms_protocol.reading import Value


class WireType(Enum):
    """Which field of the payload's value union a data type uses, and how its bits are read."""

    SIGNED_32 = "int_value", 32
    UNSIGNED_32 = "int_value", 0
    SIGNED_64 = "long_value", 64
    UNSIGNED_64 = "long_value", 0
    FLOAT = "float_value", 0
    DOUBLE = "double_value", 0
    BOOLEAN = "boolean_value", 0
    TEXT = "string_value", 0


WIRE_TYPES: Final[Mapping[int, WireType]] = {
    1: WireType.SIGNED_32,  # Int8
    2: WireType.SIGNED_32,  # Int16
    3: WireType.SIGNED_32,  # Int32
    4: WireType.SIGNED_64,  # Int64
    5: WireType.UNSIGNED_32,  # UInt8
    6: WireType.UNSIGNED_32,  # UInt16
    7: WireType.UNSIGNED_32,  # UInt32
    8: WireType.UNSIGNED_64,  # UInt64
    9: WireType.FLOAT,
    10: WireType.DOUBLE,
    11: WireType.BOOLEAN,
    12: WireType.TEXT,
    13: WireType.UNSIGNED_64,  # DateTime, ms UTC
    14: WireType.TEXT,  # Text
    15: WireType.TEXT,  # UUID
}
INT32: Final = 3
BYTES: Final = 17


class Unsupported(Enum):
    """The mark of a value that the payload holds in a form LMS evo does not read (data set, template, bytes)."""

    UNSUPPORTED = "unsupported"


UNSUPPORTED: Final = Unsupported.UNSUPPORTED
MetricValue: TypeAlias = Value | Literal[Unsupported.UNSUPPORTED]
Property: TypeAlias = tuple[int, Value]
"""A property's Sparkplug data type and its value."""


@dataclass(slots=True)
class Metric:
    """One metric of a payload.

    Attributes:
        value: None stands for "null". Integers without a `datatype` are still as unsigned as they came: see `resolve`.
        datatype: Sparkplug's code; births have it, data need not.
        properties: name to (data type, value).
    """

    name: str | None = None
    alias: int | None = None
    timestamp_ms: int | None = None
    datatype: int | None = None
    value: MetricValue = None
    is_historical: bool = False
    properties: dict[str, Property] = field(default_factory=dict)


@dataclass(slots=True)
class Payload:
    """One Sparkplug message: a time, a sequence number, and metrics."""

    timestamp_ms: int | None
    metrics: list[Metric]
    seq: int | None = None


def encode(payload: Payload) -> bytes:
    """Turn a payload into bytes.

    Raises:
        PayloadError: a value does not fit its metric's data type, or the data type is not one of `WIRE_TYPES`.
    """
    message = PAYLOAD()
    if payload.timestamp_ms is not None:
        message.timestamp = payload.timestamp_ms
    if payload.seq is not None:
        message.seq = payload.seq
    for metric in payload.metrics:
        _fill_metric(message.metrics.add(), metric)
    return bytes(message.SerializeToString())


def decode(data: bytes) -> Payload:
    """Turn bytes into a payload.

    Raises:
        PayloadError: the bytes are no Sparkplug payload, or a metric has neither name nor alias.
    """
    message = parse(data)
    return Payload(
        timestamp_ms=message.timestamp if message.HasField("timestamp") else None,
        seq=message.seq if message.HasField("seq") else None,
        metrics=[_read_metric(metric) for metric in message.metrics],
    )


def parse(data: bytes) -> Any:
    """Parse bytes into the bare protobuf message, for the hot path.

    Raises:
        PayloadError: the bytes are no Sparkplug payload.
    """
    message: Any = PAYLOAD()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise PayloadError(f"{len(data)} bytes are no Sparkplug B payload: {error}") from error
    return message


def put_value(target: Any, value: Value, datatype: int, name: str | int | None) -> None:
    """Write `value` into a protobuf metric or property value.

    Raises:
        PayloadError: the value does not fit the data type.
    """
    if value is None:
        target.is_null = True
        return
    wire_type = WIRE_TYPES.get(datatype)
    if wire_type is None:
        raise PayloadError(f"data type {datatype} is not supported", metric=name)
    attribute, bits = wire_type.value
    try:
        if bits and isinstance(value, int):
            # protobuf has unsigned fields only: signed integers travel as two's complement.
            if not -(1 << bits - 1) <= value < 1 << bits - 1:
                raise PayloadError(f"{value} does not fit a signed integer of {bits} bits", metric=name)
            value &= (1 << bits) - 1
        setattr(target, attribute, value)
        if wire_type is WireType.FLOAT and target.float_value != value and value == value:  # noqa: PLR0124
            raise PayloadError(f"{value!r} would be altered by a 32-bit float", metric=name)
        if wire_type is WireType.DOUBLE and type(value) is int and target.double_value != value:
            raise PayloadError(f"{value} would be altered by a 64-bit float", metric=name)
    except (TypeError, ValueError) as error:
        raise PayloadError(f"{value!r} does not fit {wire_type.name}: {error}", metric=name) from error


def get_value(source: Any, datatype: int | None) -> MetricValue:
    """Read the value of a protobuf metric or property value; the counterpart of `put_value`."""
    which = source.WhichOneof("value")
    if which is None or source.is_null:
        return None if source.is_null else UNSUPPORTED
    if which not in _READABLE:
        return UNSUPPORTED
    value: Value = getattr(source, which)
    return value if datatype is None else resolve(value, datatype)


def resolve(value: MetricValue, datatype: int) -> MetricValue:
    """Give a value the type that its birth declared: sign for integers, bool for Boolean.

    Raises:
        PayloadError: the value cannot be of that type.
    """
    wire_type = WIRE_TYPES.get(datatype)
    if value is None or value is UNSUPPORTED or wire_type is None:
        return None if value is None else UNSUPPORTED
    expected = _PYTHON_TYPES[wire_type]
    if type(value) is not expected:
        raise PayloadError(f"{value!r} is not a {wire_type.name} value")
    bits = wire_type.value[1]
    if bits and isinstance(value, int) and value >> (bits - 1):
        return value - (1 << bits)
    return value


def _fill_metric(target: Any, metric: Metric) -> None:
    if metric.name is not None:
        target.name = metric.name
    if metric.alias is not None:
        target.alias = metric.alias
    if metric.timestamp_ms is not None:
        target.timestamp = metric.timestamp_ms
    if metric.is_historical:
        target.is_historical = True
    datatype = metric.datatype
    if datatype is not None:
        target.datatype = datatype
    else:
        datatype = natural_datatype(metric.value)
    if metric.value is UNSUPPORTED:
        raise PayloadError("its value cannot be encoded", metric=metric.name or metric.alias)
    put_value(target, metric.value, datatype, metric.name if metric.name is not None else metric.alias)
    _fill_properties(target, metric.properties.items())


def _fill_properties(target: Any, properties: Iterable[tuple[str, Property]]) -> None:
    for key, (datatype, value) in properties:
        target.properties.keys.append(key)
        slot = target.properties.values.add()
        slot.type = datatype
        put_value(slot, value, datatype, key)


def _read_metric(source: Any) -> Metric:
    name = source.name if source.HasField("name") else None
    alias = source.alias if source.HasField("alias") else None
    if name is None and alias is None:
        raise PayloadError("a metric has neither name nor alias")
    datatype = source.datatype if source.HasField("datatype") else None
    try:
        value = get_value(source, datatype)
        properties = read_properties(source)
    except PayloadError as error:
        raise PayloadError(error.reason, metric=name if name is not None else alias) from error
    return Metric(
        name=name,
        alias=alias,
        timestamp_ms=source.timestamp if source.HasField("timestamp") else None,
        datatype=datatype,
        value=value,
        is_historical=source.is_historical,
        properties=properties,
    )


def read_properties(source: Any) -> dict[str, Property]:
    """The properties of a protobuf metric that LMS evo can read, by name.

    Raises:
        PayloadError: as many keys as values are required, and each value must fit its type.
    """
    if not source.HasField("properties"):
        return {}
    keys, values = source.properties.keys, source.properties.values
    if len(keys) != len(values):
        raise PayloadError(f"has {len(keys)} property names but {len(values)} property values")
    result: dict[str, Property] = {}
    for key, slot in zip(keys, values, strict=True):
        value = get_value(slot, slot.type)
        if value is not UNSUPPORTED:
            result[key] = (slot.type, value)
    return result


def natural_datatype(value: MetricValue) -> int:
    """The data type that carries a Python value whole: Double, Int64 or UInt64, Boolean, String."""
    if isinstance(value, bool):
        return 11
    if isinstance(value, int):
        return 4 if value < 1 << 63 else 8
    if isinstance(value, str):
        return 12
    return 10


_PYTHON_TYPES: Final[Mapping[WireType, type]] = {
    WireType.SIGNED_32: int,
    WireType.UNSIGNED_32: int,
    WireType.SIGNED_64: int,
    WireType.UNSIGNED_64: int,
    WireType.FLOAT: float,
    WireType.DOUBLE: float,
    WireType.BOOLEAN: bool,
    WireType.TEXT: str,
}
_READABLE: Final = frozenset(wire_type.value[0] for wire_type in WireType)


def _build_payload_class() -> Any:
    """Build the message classes from the specification's field table."""
    kinds = descriptor_pb2.FieldDescriptorProto
    scalar = {
        "bool": kinds.TYPE_BOOL,
        "bytes": kinds.TYPE_BYTES,
        "double": kinds.TYPE_DOUBLE,
        "float": kinds.TYPE_FLOAT,
        "string": kinds.TYPE_STRING,
        "uint32": kinds.TYPE_UINT32,
        "uint64": kinds.TYPE_UINT64,
    }
    package = "lms.sparkplug_b"
    file = descriptor_pb2.FileDescriptorProto(name="lms/sparkplug_b.proto", package=package, syntax="proto2")
    for message_name, fields in _FIELD_TABLE.items():
        message = file.message_type.add(name=message_name)
        if any(in_union for _, _, _, _, in_union in fields):
            message.oneof_decl.add(name="value")
        for name, number, type_, repeated, in_union in fields:
            entry = message.field.add(
                name=name,
                number=number,
                label=kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL,
                type=scalar.get(type_, kinds.TYPE_MESSAGE),
            )
            if type_ not in scalar:
                entry.type_name = f".{package}.{type_}"
            if in_union:
                entry.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.Payload"))


# message -> (field, number, type, repeated, part of the value union)
_FIELD_TABLE: Final[Mapping[str, tuple[tuple[str, int, str, bool, bool], ...]]] = {
    "PropertyValue": (
        ("type", 1, "uint32", False, False),
        ("is_null", 2, "bool", False, False),
        ("int_value", 3, "uint32", False, True),
        ("long_value", 4, "uint64", False, True),
        ("float_value", 5, "float", False, True),
        ("double_value", 6, "double", False, True),
        ("boolean_value", 7, "bool", False, True),
        ("string_value", 8, "string", False, True),
    ),
    "PropertySet": (
        ("keys", 1, "string", True, False),
        ("values", 2, "PropertyValue", True, False),
    ),
    "Metric": (
        ("name", 1, "string", False, False),
        ("alias", 2, "uint64", False, False),
        ("timestamp", 3, "uint64", False, False),
        ("datatype", 4, "uint32", False, False),
        ("is_historical", 5, "bool", False, False),
        ("is_transient", 6, "bool", False, False),
        ("is_null", 7, "bool", False, False),
        ("properties", 9, "PropertySet", False, False),
        ("int_value", 10, "uint32", False, True),
        ("long_value", 11, "uint64", False, True),
        ("float_value", 12, "float", False, True),
        ("double_value", 13, "double", False, True),
        ("boolean_value", 14, "bool", False, True),
        ("string_value", 15, "string", False, True),
        ("bytes_value", 16, "bytes", False, True),
    ),
    "Payload": (
        ("timestamp", 1, "uint64", False, False),
        ("metrics", 2, "Metric", True, False),
        ("seq", 3, "uint64", False, False),
        ("uuid", 4, "string", False, False),
        ("body", 5, "bytes", False, False),
    ),
}

PAYLOAD: Final[Any] = _build_payload_class()
"""The protobuf message class of a Sparkplug B payload."""


def is_read_as(kind: type, datatype: int) -> bool:
    """Whether a value of this Python type, written as `datatype`, is read back as the same type. No value always is."""
    wire_type = WIRE_TYPES.get(datatype)
    return kind is type(None) or (wire_type is not None and _PYTHON_TYPES[wire_type] is kind)


def fits(value: Value, datatype: int) -> bool:
    """Whether `datatype` carries the value whole, and of the same kind."""
    if not is_read_as(type(value), datatype):
        return False
    try:
        put_value(PAYLOAD().metrics.add(), value, datatype, None)
    except PayloadError:
        return False
    return True
