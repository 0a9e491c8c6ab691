"""Numbers in registers, held against pymodbus, which laid them out independently."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lms_firmware_sim.errors import RegisterError
from lms_firmware_sim.wires.encoding import decode, encode, width
from pymodbus.client.mixin import ModbusClientMixin

KINDS = {
    "int16": st.integers(-(2**15), 2**15 - 1),
    "uint16": st.integers(0, 2**16 - 1),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "uint32": st.integers(0, 2**32 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "uint64": st.integers(0, 2**64 - 1),
    "float32": st.floats(width=32, allow_nan=False),
    "float64": st.floats(allow_nan=False),
}


@given(data=st.data(), kind=st.sampled_from(sorted(KINDS)), word_order=st.sampled_from(["big", "little"]))
def test_registers_are_those_that_pymodbus_lays(data, kind, word_order):
    value = data.draw(KINDS[kind])
    words = encode(value, kind, word_order=word_order)
    assert len(words) == width(kind)
    assert words == ModbusClientMixin.convert_to_registers(
        value, ModbusClientMixin.DATATYPE[kind.upper()], word_order=word_order
    )


@given(
    data=st.data(),
    kind=st.sampled_from(sorted(KINDS)),
    word_order=st.sampled_from(["big", "little"]),
    byte_order=st.sampled_from(["big", "little"]),
)
def test_decoding_undoes_encoding(data, kind, word_order, byte_order):
    value = data.draw(KINDS[kind])
    words = encode(value, kind, word_order=word_order, byte_order=byte_order)
    assert decode(words, kind, word_order=word_order, byte_order=byte_order) == value


def test_bytes_of_every_register_are_swapped_on_demand():
    assert encode(0x01020304, "uint32", byte_order="little") == [0x0201, 0x0403]
    assert encode(0x01020304, "uint32", word_order="little", byte_order="little") == [0x0403, 0x0201]


@pytest.mark.parametrize(
    ("kind", "value"), [("int16", 32_768), ("uint16", -1), ("int16", math.nan), ("uint32", math.inf), ("float32", 1e39)]
)
def test_value_that_does_not_fit_is_refused(kind, value):
    with pytest.raises(RegisterError) as refused:
        encode(value, kind)
    assert refused.value.kind == kind
