"""The ready readouts, and what they make of bytes that are none."""

from __future__ import annotations

import json
import struct
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udp_multicast import ArrayReadout, JsonReadout, RawBytes, Readout
from wireframe import BadHeader, BadPayload, FrameError, TruncatedFrame


@pytest.mark.parametrize("readout", [RawBytes(b"x"), JsonReadout({"a": 1}), ArrayReadout([1, 2])])
def test_ready_readouts_are_readouts_and_survive_the_wire(readout, pair):
    assert isinstance(readout, Readout)
    receiver, sender = pair(type(readout))
    sender.send_readout(readout)
    received = receiver.receive()
    assert type(received) is type(readout)
    assert received.to_bytes() == readout.to_bytes()


def test_raw_bytes_are_bytes():
    readout = RawBytes.from_bytes(b"abc")
    assert (readout, type(readout.to_bytes()), repr(readout)) == (b"abc", bytes, "RawBytes(b'abc')")


def test_importing_the_package_imports_neither_numpy_nor_asyncio():
    code = "import sys, udp_multicast; print(sorted({'numpy', 'asyncio', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


_LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=9)


@settings(max_examples=50)
@given(st.recursive(_LEAVES, lambda one: st.lists(one) | st.dictionaries(st.text(), one), max_leaves=9))
def test_json_values_survive(value):
    try:
        data = JsonReadout(value).to_bytes()
    except UnicodeEncodeError:
        return
    assert JsonReadout.from_bytes(data) == JsonReadout(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"bytes"])
def test_what_json_does_not_have_is_not_sent(value):
    with pytest.raises((TypeError, ValueError)):
        JsonReadout(value).to_bytes()


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"1 2", b"\xff", b"NaN", b"-Infinity", b"[" * 60000, b"1" * 5000],
    ids=lambda data: str(data[:10]),
)
def test_what_is_not_json_is_a_bad_payload(data):
    with pytest.raises(BadPayload):
        JsonReadout.from_bytes(data)


def test_json_readouts_compare_by_value_and_cannot_be_keys():
    assert JsonReadout([1]) == JsonReadout([1])
    assert JsonReadout([1]) != [1]
    assert repr(JsonReadout([1])) == "JsonReadout([1])"
    with pytest.raises(TypeError):
        hash(JsonReadout([1]))


@pytest.mark.parametrize("dtype", ["?", "i1", "<i2", ">u4", "<i8", "<f2", ">f4", "<f8", "<c16"])
@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 3), (2, 0, 3)])
def test_arrays_keep_dtype_shape_and_values(dtype, shape):
    array = np.arange(np.prod(shape), dtype="f4").reshape(shape).astype(dtype)
    found = ArrayReadout.from_bytes(ArrayReadout(array).to_bytes()).array
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert (found == array).all()
    assert not found.flags.writeable


def test_array_bytes_are_as_documented():
    data = ArrayReadout(np.array([[1, 2]], "<u2")).to_bytes()
    assert data == b"\x03<u2\x02" + struct.pack("<II", 1, 2) + b"\1\0\2\0"
    assert repr(ArrayReadout(np.array([1], "i1"))) == "ArrayReadout(array([1], dtype=int8))"


def test_array_that_is_not_contiguous_is_sent_as_it_looks():
    array = np.arange(6).reshape(2, 3).T
    assert (ArrayReadout.from_bytes(ArrayReadout(array).to_bytes()).array == array).all()


@pytest.mark.parametrize(
    "array", [[object()], ["text"], np.zeros(1, "M8[s]"), np.zeros(1, "V8"), np.zeros(1, "i4,f4")]
)
def test_arrays_of_anything_but_numbers_are_refused(array):
    with pytest.raises(TypeError, match="only booleans and numbers"):
        ArrayReadout(array)


GOOD = ArrayReadout(np.zeros((2, 3), "<f8")).to_bytes()


@pytest.mark.parametrize("end", range(len(GOOD)))
def test_cut_array_is_truncated(end):
    with pytest.raises(TruncatedFrame):
        ArrayReadout.from_bytes(GOOD[:end])


@pytest.mark.parametrize(
    "dtype", [b"|O8", b"O", b"<f3", b"<M8", b"f8,f8", b"(9,9)f8", b"\xff", b"<f8\0", "<f\u0662".encode()]
)
def test_dtype_that_is_not_a_number_is_a_bad_header(dtype):
    data = bytes([len(dtype)]) + dtype + b"\x01" + struct.pack("<I", 1) + bytes(8)
    with pytest.raises(BadHeader):
        ArrayReadout.from_bytes(data)


def test_sizes_are_checked_before_anything_is_allocated():
    head = b"\x03<f8"
    with pytest.raises(TruncatedFrame) as caught:
        ArrayReadout.from_bytes(head + b"\x03" + struct.pack("<3I", *[0xFFFFFFFF] * 3))
    assert caught.value.expected > 1 << 96
    with pytest.raises(BadHeader, match="33 dimensions"):
        ArrayReadout.from_bytes(head + b"\x21" + bytes(200))
    with pytest.raises(BadHeader, match="shape"):
        ArrayReadout.from_bytes(head + b"\x04" + struct.pack("<4I", 0, *[0xFFFFFFFF] * 3))
    with pytest.raises(BadPayload, match="bytes, where"):
        ArrayReadout.from_bytes(GOOD + b"\0")


@given(st.binary(max_size=64))
def test_random_bytes_are_an_array_or_a_frame_error(data):
    try:
        found = ArrayReadout.from_bytes(data)
    except FrameError:
        return
    assert found.array.nbytes <= len(data)


def test_fixed_arrays_have_no_header_and_one_dtype_and_shape(pair):
    waveform = ArrayReadout.fixed("<i2", 4)
    receiver, sender = pair(waveform)
    array = np.array([1, -2, 3, -4], "<i2")
    assert sender.send_readout(waveform(array)) == 8
    sender.send_data(bytes(7))
    assert (receiver.receive().array == array).all()
    with pytest.raises(TruncatedFrame):
        waveform.from_bytes(bytes(7))
    with pytest.raises(BadPayload):
        waveform.from_bytes(bytes(9))
    for wrong in (np.zeros(4, "<i4"), np.zeros(5, "<i2")):
        with pytest.raises(ValueError, match="readouts of"):
            waveform(wrong)


def test_fixed_arrays_of_several_or_no_dimensions():
    assert ArrayReadout.fixed("<f4", (2, 3)).from_bytes(bytes(24)).array.shape == (2, 3)
    assert ArrayReadout.fixed("<f4", ()).from_bytes(bytes(4)).array.shape == ()
    with pytest.raises(ValueError, match="negative"):
        ArrayReadout.fixed("<f4", (2, -3))
    with pytest.raises(TypeError):
        ArrayReadout.fixed(object, 1)


def test_more_dimensions_than_the_layout_has_are_not_sent():
    if np.lib.NumpyVersion(np.__version__) < "2.0.0":
        many = ArrayReadout([1])
        many.array = type(
            "Deep", (), {"shape": (1,) * 33, "tobytes": lambda _: b"", "dtype": np.dtype("i1")}
        )()
    else:
        many = ArrayReadout(np.zeros((1,) * 33, "i1"))
    with pytest.raises(ValueError, match="33 dimensions"):
        many.to_bytes()


def test_json_is_plain_json_for_others():
    assert json.loads(JsonReadout({"a": "ü"}).to_bytes()) == {"a": "ü"}
