"""Payloads survive the wire bit by bit; bytes that are no payload are refused, whatever they are."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lms_protocol.errors import PayloadError
from lms_protocol.sparkplug import UNSUPPORTED, Metric, Payload, decode, encode, resolve

_TEXT = st.text(st.characters(codec="utf-8"), max_size=10)
_UINT64 = st.integers(0, (1 << 64) - 1)
_VALUES = {
    1: st.integers(-128, 127),
    2: st.integers(-(1 << 15), (1 << 15) - 1),
    3: st.integers(-(1 << 31), (1 << 31) - 1),
    4: st.integers(-(1 << 63), (1 << 63) - 1),
    5: st.integers(0, 255),
    6: st.integers(0, (1 << 16) - 1),
    7: st.integers(0, (1 << 32) - 1),
    8: _UINT64,
    9: st.floats(width=32),
    10: st.floats(width=64),
    11: st.booleans(),
    12: _TEXT,
    13: _UINT64,
    14: _TEXT,
    15: _TEXT,
}


@st.composite
def typed_values(draw: st.DrawFn) -> tuple[int, object]:
    datatype = draw(st.sampled_from(sorted(_VALUES)))
    return datatype, draw(st.none() | _VALUES[datatype])


@st.composite
def metrics(draw: st.DrawFn) -> Metric:
    datatype, value = draw(typed_values())
    properties = draw(st.dictionaries(_TEXT, typed_values(), max_size=3))
    name, alias = draw(st.sampled_from([("x", None), (None, 0), ("pH/PV", 7)]))
    return Metric(name, alias, draw(st.none() | _UINT64), datatype, value, draw(st.booleans()), properties)


def bits(value: object) -> object:
    """Equality that tells -0.0 from 0.0 and knows every NaN."""
    return struct.pack("<d", value) if isinstance(value, float) else value


@given(st.lists(metrics(), max_size=6), st.none() | _UINT64, st.none() | st.integers(0, 255))
def test_payload_reads_back_bit_equal(sent: list[Metric], timestamp_ms: int | None, seq: int | None) -> None:
    got = decode(encode(Payload(timestamp_ms, sent, seq)))
    assert (got.timestamp_ms, got.seq) == (timestamp_ms, seq)
    assert len(got.metrics) == len(sent)
    for a, b in zip(got.metrics, sent, strict=True):
        assert (a.name, a.alias, a.timestamp_ms, a.datatype, a.is_historical) == (
            b.name,
            b.alias,
            b.timestamp_ms,
            b.datatype,
            b.is_historical,
        )
        assert bits(a.value) == bits(b.value)
        assert {k: (t, bits(v)) for k, (t, v) in a.properties.items()} == {
            k: (t, bits(v)) for k, (t, v) in b.properties.items()
        }


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    try:
        decode(data)
    except PayloadError as error:
        assert str(error)


@given(st.lists(metrics(), min_size=1, max_size=3), st.data())
def test_cut_or_flipped_payload_never_raises_anything_else(sent: list[Metric], data: st.DataObject) -> None:
    whole = bytearray(encode(Payload(1, sent, 0)))
    index = data.draw(st.integers(0, len(whole) - 1))
    whole[index] ^= data.draw(st.integers(1, 255))
    try:
        decode(bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    except PayloadError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        (4, 1 << 63),
        (1, 1 << 31),
        (7, -1),
        (8, 1 << 64),
        (9, 0.1),
        (10, (1 << 53) + 1),
        (11, "yes"),
        (12, 3),
        (12, "\ud800"),
        (99, 1),
    ],
)
def test_value_that_its_data_type_would_alter_is_refused(datatype: int, value: object) -> None:
    with pytest.raises(PayloadError):
        encode(Payload(1, [Metric("x", datatype=datatype, value=value)]))


def test_integer_by_alias_gets_its_sign_from_the_birth() -> None:
    data = encode(Payload(1, [Metric(alias=1, value=-5)]))
    raw = decode(data).metrics[0].value
    assert raw == (1 << 64) - 5
    assert resolve(raw, 4) == -5
    assert resolve(raw, 8) == (1 << 64) - 5


def test_value_of_another_type_than_the_birth_is_refused() -> None:
    with pytest.raises(PayloadError, match="is not a BOOLEAN value"):
        resolve(1.5, 11)


def test_metric_without_name_and_alias_is_refused() -> None:
    with pytest.raises(PayloadError, match="neither name nor alias"):
        decode(bytes.fromhex("120418012005"))


def test_data_set_is_read_as_unsupported_beside_readable_metrics() -> None:
    # Metric { name "d", datatype 16 (DataSet), dataset_value (field 17) empty }, Metric { name "x", Double 2.0 }
    data_set = b"\x12\x08" + b"\x0a\x01d" + b"\x20\x10" + b"\x8a\x01\x00"
    double = encode(Payload(None, [Metric("x", datatype=10, value=2.0)]))
    first, second = decode(data_set + double).metrics
    assert (first.value, second.value) == (UNSUPPORTED, 2.0)


def test_nan_keeps_its_payload_bits() -> None:
    (strange,) = struct.unpack("<d", (0x7FF8_0000_DEAD_BEEF).to_bytes(8, "little"))
    got = decode(encode(Payload(1, [Metric("x", datatype=10, value=strange)]))).metrics[0].value
    assert isinstance(got, float)
    assert math.isnan(got)
    assert struct.pack("<d", got) == struct.pack("<d", strange)
