"""Registers ⇄ numbers, against an encoder of other hands (the simulator's) and against itself."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lms_agent.drivers.register_coding import ValueRangeError, bit_reader, encode, reader_of
from lms_agent.settings.dialects.modbus import RegisterPoint
from lms_firmware_sim.wires import encoding

RANGES = {
    "int16": (-(2**15), 2**15 - 1),
    "uint16": (0, 2**16 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint64": (0, 2**64 - 1),
}
orders = st.sampled_from(["big", "little"])


def point(kind, *, word_order="big", byte_order="big", **more) -> RegisterPoint:
    if kind in ("int16", "uint16", "bool"):
        word_order = "big"
    return RegisterPoint(tag="T/PV", address=0, kind=kind, word_order=word_order, byte_order=byte_order, **more)


@st.composite
def values(draw):
    kind = draw(st.sampled_from([*RANGES, "float32", "float64"]))
    if kind in RANGES:
        return kind, draw(st.integers(*RANGES[kind]))
    return kind, draw(st.floats(width=32 if kind == "float32" else 64))


@given(values(), orders, orders, st.binary(max_size=6))
def test_every_value_comes_back_exactly_in_every_order(kind_and_value, word_order, byte_order, before):
    kind, value = kind_and_value
    described = point(kind, word_order=word_order, byte_order=byte_order)
    data = before + encode(value, described)
    back = reader_of(described)(data, len(before))
    assert type(back) is type(value)
    assert struct.pack("d", back) == struct.pack("d", value) if isinstance(value, float) else back == value


@given(values(), orders, orders)
def test_orders_are_those_of_the_simulator(kind_and_value, word_order, byte_order):
    kind, value = kind_and_value
    described = point(kind, word_order=word_order, byte_order=byte_order)
    words = encoding.encode(value, kind, word_order=described.word_order, byte_order=byte_order)
    assert encode(value, described) == struct.pack(f">{len(words)}H", *words)


@pytest.mark.parametrize(
    ("word_order", "byte_order", "wire"),
    [
        ("big", "big", "41 20 00 01"),
        ("little", "big", "00 01 41 20"),
        ("big", "little", "20 41 01 00"),
        ("little", "little", "01 00 20 41"),
    ],
)
def test_four_orders_of_a_float32_are_as_documented(word_order, byte_order, wire):
    value = struct.unpack(">f", bytes.fromhex("41200001"))[0]
    assert reader_of(point("float32", word_order=word_order, byte_order=byte_order))(bytes.fromhex(wire), 0) == value


@pytest.mark.parametrize("value", [-0.0, math.inf, -math.inf, math.nan])
def test_special_floats_are_kept(value):
    back = reader_of(point("float32"))(encode(value, point("float32")), 0)
    assert struct.pack("d", back) == struct.pack("d", value)


@given(st.integers(-(2**15), 2**15 - 1))
def test_a_tenth_is_rounded_once(counts):
    described = point("int16", scale=0.1)
    assert reader_of(described)(encode(counts / 10, described), 0) == counts / 10


def test_scale_and_offset_apply_in_this_order():
    assert reader_of(point("uint16", scale=2.0, offset=-40.0))(b"\x00\x64", 0) == 160.0


@given(st.integers(0, 15), st.integers(0, 0xFFFF), orders)
def test_bit_of_a_register_is_counted_from_the_lowest(bit, word, byte_order):
    described = point("bool", bit=bit, byte_order=byte_order)
    assert reader_of(described)(word.to_bytes(2, byte_order), 0) is bool(word >> bit & 1)


@given(st.binary(min_size=1, max_size=20), st.data())
def test_coils_are_counted_from_the_lowest_bit_of_the_first_byte(data, drawn):
    at = drawn.draw(st.integers(0, 8 * len(data) - 1))
    assert bit_reader(data, at) is bool(int.from_bytes(data, "little") >> at & 1)


@pytest.mark.parametrize(("kind", "value"), [("int16", 32768), ("uint16", -1), ("uint64", 2**64), ("float32", 1e39)])
def test_value_that_does_not_fit_is_refused_with_its_kind(kind, value):
    with pytest.raises(ValueRangeError, match=kind):
        encode(value, point(kind))
