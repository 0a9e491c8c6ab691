"""Batches as bytes: the record that the agent's log keeps, and the digest that tells two batches apart.

The record is a Sparkplug payload without sequence number and time: each reading a metric by alias, each gap a string
metric named `Sync/Gap`. The digest is taken over the batch's meaning, not over bytes on the wire, so that a batch sent
again (as historical, with another sequence number, by another encoder) has the same digest and an altered one has not.

Neighbours: `lms_agent.log` keeps records; `lms_protocol.edge` sends batches; `lms_protocol.host` takes them in;
`lms_cloud.telemetry` writes the digest into its ledger.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from struct import pack
from typing import Any, Final

from lms_protocol.errors import PayloadError
from lms_protocol.reading import Batch, Datatype, Gap, Quality, Reading, Value
from lms_protocol.sparkplug import INT32, PAYLOAD, get_value, is_read_as, natural_datatype, parse, put_value

GAP_NAME: Final = "Sync/Gap"
BATCH_NAME: Final = "Sync/Batch"
QUALITY_NAME: Final = "Quality"
DIGEST_BYTES: Final = 16

_QUALITIES: Final = {int(quality): quality for quality in Quality}
_DOUBLE_OR_UNDECLARED: Final = frozenset({Datatype.DOUBLE, None})
_NULL, _DOUBLE, _INTEGER, _BOOLEAN, _TEXT = range(5)


def digest(device: str, number: int, readings: Sequence[Reading], gaps: Sequence[Gap] = ()) -> bytes:
    """Fingerprint what a batch says.

    Computed column by column (see SPEC.md, "Digest"), so that a host may compute it from arrays.

    Returns:
        16 bytes (BLAKE2b).
    """
    count = len(readings)
    kinds, words, texts = _canonical_columns([reading.value for reading in readings])
    state = blake2b(digest_size=DIGEST_BYTES)
    state.update(_sized(device.encode()))
    state.update(pack("<QI", number, count))
    state.update(pack(f"<{count}Q", *(reading.tag for reading in readings)))
    state.update(pack(f"<{count}q", *(reading.taken_at_ms for reading in readings)))
    state.update(pack(f"<{count}H", *(reading.quality for reading in readings)))
    state.update(kinds)
    state.update(words)
    state.update(texts)
    for gap in gaps:
        state.update(_sized(gap_to_text(gap).encode()))
    return state.digest()


def _canonical_columns(values: Sequence[Value]) -> tuple[bytes, bytes, bytes]:
    """Kinds, eight bytes each, and texts, of all values."""
    if set(map(type, values)) == {float}:  # nearly always; three times as fast as one by one
        return bytes((_DOUBLE,)) * len(values), pack(f"<{len(values)}d", *values), b""
    cells = [_canonical_value(value) for value in values]
    return (
        bytes(kind for kind, _, _ in cells),
        b"".join(word for _, word, _ in cells),
        b"".join(text for *_, text in cells),
    )


def _canonical_value(value: Value) -> tuple[int, bytes, bytes]:
    """A value's kind, its eight bytes, and, for a text, the text with its length."""
    if type(value) is float:
        return _DOUBLE, pack("<d", value), b""
    if value is None:
        return _NULL, bytes(8), b""
    if isinstance(value, bool):
        return _BOOLEAN, pack("<q", value), b""
    if isinstance(value, int):
        return _INTEGER, (value & 0xFFFF_FFFF_FFFF_FFFF).to_bytes(8, "little"), b""
    if isinstance(value, str):
        return _TEXT, bytes(8), _sized(value.encode())
    raise PayloadError(f"{value!r} is not a value that a tag can have")


def _sized(data: bytes) -> bytes:
    return pack("<I", len(data)) + data


def record_encode(batch: Batch) -> bytes:
    """The bytes that the log keeps for a batch (its number and device are columns of the log).

    Raises:
        PayloadError: a value that no Sparkplug type carries.
    """
    message = PAYLOAD()
    add_readings(message, batch.readings)
    for gap in batch.gaps:
        metric = message.metrics.add()
        metric.name = GAP_NAME
        metric.string_value = gap_to_text(gap)
    return bytes(message.SerializeToString())


def record_decode(number: int, device: str, record: bytes) -> Batch:
    """Turn the log's record back into the batch it was made from.

    Raises:
        PayloadError: the bytes are not a record.
    """
    readings: list[Reading] = []
    gaps: list[Gap] = []
    for metric in parse(record).metrics:
        if metric.name == GAP_NAME:
            gaps.append(gap_from_text(metric.string_value))
            continue
        value = get_value(metric, metric.datatype if metric.HasField("datatype") else None)
        if not metric.HasField("alias") or isinstance(value, int) is not metric.HasField("datatype"):
            raise PayloadError("is not a reading of a log record", metric=metric.name)
        readings.append(Reading(metric.alias, metric.timestamp, value, read_quality(metric)))  # type: ignore[arg-type]
    return Batch(number, device, tuple(readings), tuple(gaps))


def add_readings(
    message: Any,
    readings: Iterable[Reading],
    *,
    historical: bool = False,
    datatypes: Mapping[int, int] | None = None,
) -> None:
    """Append readings to a protobuf payload as metrics by alias.

    A quality other than GOOD becomes the property `Quality`; GOOD is not written, as it is nearly always so.

    Args:
        datatypes: the data type that each tag's birth declared, by tag number. A value that does not fit it, because
            the configuration has changed since it was logged, says its own. Without it (in the log's record) integers
            and Booleans say their type always.

    Raises:
        PayloadError: a value that no data type carries whole.
    """
    declared = datatypes or {}
    for tag, taken_at_ms, value, quality in readings:
        metric = message.metrics.add()
        metric.alias = tag
        metric.timestamp = taken_at_ms
        if historical:
            metric.is_historical = True
        datatype = declared.get(tag)
        if type(value) is float and datatype in _DOUBLE_OR_UNDECLARED:
            metric.double_value = value
        else:
            _put_value(metric, value, datatype, tag)
        if quality != Quality.GOOD:
            metric.properties.keys.append(QUALITY_NAME)
            slot = metric.properties.values.add()
            slot.type = INT32
            slot.int_value = int(quality)


def _put_value(metric: Any, value: Value, declared: int | None, tag: int) -> None:
    natural = natural_datatype(value)
    if declared is not None and is_read_as(type(value), declared):
        try:
            put_value(metric, value, declared, tag)
        except PayloadError:
            metric.datatype = natural  # and on: the value goes as what it is
        else:
            return
    elif declared is not None or isinstance(value, int):
        metric.datatype = natural  # 5 as a Double would come out as 5.0: another digest, another batch
    put_value(metric, value, natural, tag)


def read_quality(metric: Any) -> Quality:
    """The quality of a protobuf metric: its `Quality` property, GOOD where there is none.

    Codes of other makers are mapped by OPC's major class: 0–63 BAD, 64–127 UNCERTAIN, 192–255 GOOD, 500 STALE.

    Raises:
        PayloadError: the property is there but is no number.
    """
    if not metric.HasField("properties"):
        return Quality.GOOD
    keys, values = metric.properties.keys, metric.properties.values
    if len(keys) != len(values):
        raise PayloadError(f"has {len(keys)} property names but {len(values)} property values")
    for key, slot in zip(keys, values, strict=True):
        if key == QUALITY_NAME:
            return quality_from_code(int(slot.long_value or slot.int_value))
    return Quality.GOOD


def quality_from_code(code: int) -> Quality:
    """Map any OPC or Sparkplug quality code to ours."""
    known = _QUALITIES.get(code)
    if known is not None:
        return known
    if 192 <= code <= 255:
        return Quality.GOOD
    return Quality.UNCERTAIN if 64 <= code <= 127 else Quality.BAD


def gap_to_text(gap: Gap) -> str:
    """A gap as the JSON text that travels in `Sync/Gap`; keys in fixed order, so that equal gaps give equal texts."""
    return json.dumps(
        {
            "id": gap.id,
            "tags": list(gap.tags),
            "began_at_ms": gap.began_at_ms,
            "ended_at_ms": gap.ended_at_ms,
            "reason": gap.reason,
        },
        separators=(",", ":"),
        ensure_ascii=False,
    )


def gap_from_text(text: str) -> Gap:
    """Read a gap from its JSON text.

    Raises:
        PayloadError: the text is not such a JSON object.
    """
    try:
        data = json.loads(text)
        gap = Gap(data["id"], tuple(data["tags"]), data["began_at_ms"], data["ended_at_ms"], data["reason"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise PayloadError(f"{text[:80]!r} is not a gap: {error!r}", metric=GAP_NAME) from error
    numbers = (gap.id, *gap.tags, gap.began_at_ms, *(() if gap.ended_at_ms is None else (gap.ended_at_ms,)))
    if not all(type(number) is int and 0 <= number < 1 << 63 for number in numbers) or type(gap.reason) is not str:
        raise PayloadError(f"{text[:80]!r} is not a gap: a field has the wrong type", metric=GAP_NAME)
    return gap
