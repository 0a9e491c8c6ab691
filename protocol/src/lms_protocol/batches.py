"""Batches as bytes: the record that the agent's log keeps, and the digest that tells two batches apart.

A record is 0x01, the readings as columns (`lms_protocol.columns`), and behind them the gaps, the clock record and the
origin, each with its length. The digest is taken over the same bytes, and so over the batch's meaning, not over bytes
on the wire: a batch sent again (as historical, packed, by another encoder) has the same digest and an altered one has
not.

Logs of the first release hold each batch as a Sparkplug payload, which begins with 0x12 or is empty; these are read for
ever, and never written.

Neighbours: `lms_agent.log` keeps records; `lms_protocol.edge` sends batches; `lms_protocol.host` takes them in;
`lms_cloud.telemetry` writes the digest into its ledger.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from struct import pack
from typing import Any, Final
from uuid import UUID

from lms_protocol.columns import INTEGER, UNSIGNED, Columns, sized, take_sized, utf8
from lms_protocol.errors import PayloadError
from lms_protocol.reading import Batch, ClockRecord, Datatype, Gap, Origin, Quality, Reading, Value
from lms_protocol.sparkplug import INT32, get_value, is_read_as, natural_datatype, parse, put_value

GAP_NAME: Final = "Sync/Gap"
CLOCK_NAME: Final = "Sync/Clock"
ORIGIN_NAME: Final = "Sync/Origin"
BATCH_NAME: Final = "Sync/Batch"
LOGGED_NAME: Final = "Sync/Logged"
QUALITY_NAME: Final = "Quality"
DIGEST_BYTES: Final = 16

RECORD_2: Final = b"\x01"
"""The first byte of a record; no protobuf message begins with it."""
_RECORD_1: Final = (b"\x12", b"")

_QUALITIES: Final = {int(quality): quality for quality in Quality}
_DOUBLE_OR_UNDECLARED: Final = frozenset({Datatype.DOUBLE, None})
_CLOCK_BEGINS: Final = '{"boot":'
_ORIGIN_BEGINS: Final = '{"stream":'


def digest(
    device: str,
    number: int,
    readings: Sequence[Reading],
    gaps: Sequence[Gap] = (),
    clock: ClockRecord | None = None,
    *,
    origin: Origin | None = None,
) -> bytes:
    """Fingerprint what a batch says.

    Returns:
        16 bytes (BLAKE2b); see SPEC.md, "Digest".

    Raises:
        PayloadError: a reading that has no form in columns.
    """
    columns = Columns.of(readings)
    return fingerprint(device, number, columns, remarks(gaps, clock, origin))


def fingerprint(device: str, number: int, columns: Columns, remarks: bytes) -> bytes:
    """The digest of a batch whose bytes are at hand; nothing is done for each reading."""
    return _fingerprint(device, number, columns.size, columns.data, remarks)


def record_fingerprint(device: str, number: int, record: bytes) -> bytes:
    """The digest of a batch, from its record as the log keeps it: the byte 1, columns, remarks.

    Raises:
        PayloadError: the record is of another form, or too short for its readings.
    """
    size = int.from_bytes(record[1:5], "little")
    if record[:1] != RECORD_2 or len(record) < 5 + 27 * size:
        raise PayloadError(f"the record of batch {number} is not in its form")
    return _fingerprint(device, number, size, record[1:], b"")


def _fingerprint(device: str, number: int, size: int, data: bytes, remarks: bytes) -> bytes:
    """Of `size` readings as columns; the remarks may stand behind these in `data`."""
    at = 4 + 18 * size
    kinds = data[at : at + size]
    if UNSIGNED in kinds:
        # The digest is older than this kind: integers beyond 2^63 count as any other.
        data = data[:at] + kinds.replace(bytes((UNSIGNED,)), bytes((INTEGER,))) + data[at + size :]
    name = device.encode()
    state = blake2b(pack(f"<I{len(name)}sQ", len(name), name, number), digest_size=DIGEST_BYTES)
    state.update(data)
    state.update(remarks)
    return state.digest()


def as_logged(boot: UUID, device: str, number: int, record: bytes) -> bytes:
    """Fingerprint a batch as it was logged, while its times could still be corrected (16 bytes, BLAKE2b).

    Args:
        boot: in which it was logged: two copies of a log may have gone on, without a clock, with equal readings.
        record: as the log keeps it.
    """
    name = device.encode()
    state = blake2b(boot.bytes + pack(f"<I{len(name)}sQ", len(name), name, number), digest_size=DIGEST_BYTES)
    state.update(record)
    return state.digest()


def logged_from_text(text: str) -> bytes:
    """Read such a fingerprint from its hexadecimal digits.

    Raises:
        PayloadError: the text is none.
    """
    try:
        logged = bytes.fromhex(text)
    except (ValueError, TypeError):
        logged = b""
    if len(logged) != DIGEST_BYTES or logged.hex() != text:
        raise PayloadError(f"{text[:80]!r} is not the fingerprint of a batch", metric=LOGGED_NAME)
    return logged


def remarks(gaps: Sequence[Gap], clock: ClockRecord | None, origin: Origin | None = None) -> bytes:
    """What a batch says beside its readings, as it stands behind their columns in record and digest.

    Raises:
        PayloadError: a gap's reason is not valid Unicode.
    """
    if not gaps and clock is None and origin is None:
        return b""
    texts = [gap_to_text(gap) for gap in gaps]
    if clock is not None:
        texts.append(clock_to_text(clock))
    if origin is not None:
        texts.append(origin_to_text(origin))
    try:
        return b"".join(sized(text.encode()) for text in texts)
    except UnicodeEncodeError as error:
        raise PayloadError(f"a gap's reason is no text: {error}") from error


def record_encode(batch: Batch) -> bytes:
    """The bytes that the log keeps for a batch (its number and device are columns of the log).

    Raises:
        PayloadError: a value that no Sparkplug type carries, or a tag, time or quality out of range.
    """
    return record_of(batch, Columns.of(batch.readings))


def record_of(batch: Batch, columns: Columns) -> bytes:
    """The same, where the batch's readings are columns already.

    Raises:
        PayloadError: a gap's reason is not valid Unicode.
    """
    return b"".join((RECORD_2, columns.data, remarks(batch.gaps, batch.clock, batch.origin)))


def record_decode(number: int, device: str, record: bytes) -> Batch:
    """Turn the log's record back into the batch it was made from.

    Raises:
        PayloadError: the bytes are not a record.
    """
    if record[:1] in _RECORD_1:
        return _record_1_decode(number, device, record)
    if record[:1] != RECORD_2:
        raise PayloadError(f"a record does not begin with the byte {record[0]}")
    columns, end = Columns.parse(record, 1)
    return Batch(number, device, columns.readings, *read_remarks(record, end))


def read_remarks(data: bytes, at: int) -> tuple[tuple[Gap, ...], ClockRecord | None, Origin | None]:
    """What stands behind the columns, from `at` to the end.

    Raises:
        PayloadError: it is no row of gaps, with or without one clock record and one origin behind it.
    """
    gaps: list[Gap] = []
    clock: ClockRecord | None = None
    origin: Origin | None = None
    while at < len(data):
        raw, at = take_sized(data, at)
        text = utf8(raw)
        if at == len(data) and text.startswith(_ORIGIN_BEGINS):
            origin = origin_from_text(text)
        elif clock is None and text.startswith(_CLOCK_BEGINS):
            clock = clock_from_text(text)
        elif clock is None:
            gaps.append(gap_from_text(text))
        else:
            raise PayloadError("something else than an origin stands behind the clock record", metric=CLOCK_NAME)
    return tuple(gaps), clock, origin


def _record_1_decode(number: int, device: str, record: bytes) -> Batch:
    """A record as the first release wrote them: a Sparkplug payload, each reading a metric."""
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


def clock_to_text(clock: ClockRecord) -> str:
    """A clock record as the JSON text that travels in `Sync/Clock`; keys in fixed order."""
    return json.dumps(clock._asdict() | {"boot": str(clock.boot)}, separators=(",", ":"))


def clock_from_text(text: str) -> ClockRecord:
    """Read a clock record from its JSON text.

    Raises:
        PayloadError: the text is not such a JSON object.
    """
    try:
        data = json.loads(text)
        clock = ClockRecord(**(data | {"boot": UUID(data["boot"])}))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise PayloadError(f"{text[:80]!r} is not a clock record: {error!r}", metric=CLOCK_NAME) from error
    numbers = (clock.offset_ms, clock.correction_ms, *(() if clock.error_ms is None else (clock.error_ms,)))
    are_numbers = all(type(number) is int and -(1 << 63) <= number < 1 << 63 for number in numbers)
    are_flags = all(isinstance(data.get(name), bool) for name in ("trusted", "estimated"))
    if not (are_numbers and are_flags and clock_to_text(clock) == text):
        raise PayloadError(f"{text[:80]!r} is not a clock record: a field has the wrong form", metric=CLOCK_NAME)
    return clock


def origin_to_text(origin: Origin) -> str:
    """An origin as the JSON text that travels in `Sync/Origin`; keys in fixed order."""
    data: dict[str, object] = {"stream": str(origin.stream), "number": origin.number}
    if origin.logged is not None:
        data["logged"] = origin.logged.hex()
    return json.dumps(data, separators=(",", ":"))


def origin_from_text(text: str) -> Origin:
    """Read an origin from its JSON text.

    Raises:
        PayloadError: the text is not such a JSON object.
    """
    try:
        data = json.loads(text)
        logged = data.get("logged")
        origin = Origin(UUID(data["stream"]), data["number"], None if logged is None else logged_from_text(logged))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise PayloadError(f"{text[:80]!r} is not an origin: {error!r}", metric=ORIGIN_NAME) from error
    if type(origin.number) is not int or not 1 <= origin.number < 1 << 63 or origin_to_text(origin) != text:
        raise PayloadError(f"{text[:80]!r} is not an origin: a field has the wrong form", metric=ORIGIN_NAME)
    return origin
