"""The i-PI encoders: what they take, what they refuse, and that they never write half."""

from __future__ import annotations

import array
import ctypes
import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireframe import ipi

FIELD = (1.5, -2.0, 0.25)
BLOCK = struct.pack("<3d", *FIELD)


class Number:
    """Stands for a number type that is neither int nor float."""

    def __init__(self, value):
        self.value = value

    def __float__(self):
        return self.value


@pytest.mark.parametrize(
    "field",
    [
        FIELD,
        list(FIELD),
        iter(FIELD),
        (number for number in FIELD),
        BLOCK,
        bytearray(BLOCK),
        memoryview(BLOCK),
        memoryview(BLOCK).cast("c"),
        memoryview(struct.pack("@3d", *FIELD)).cast("d"),
        memoryview(struct.pack("@3d", *FIELD)).cast("d", (1, 3)),
        memoryview(struct.pack("@6d", 1.5, 9, -2, 9, 0.25, 9)).cast("d")[::2],
        array.array("d", FIELD),
        array.array("f", FIELD),
        (Number(1.5), -2, 0.25),
    ],
    ids=[
        "tuple",
        "list",
        "iterator",
        "generator",
        "bytes",
        "bytearray",
        "memoryview",
        "chars",
        "float64",
        "two-dimensional",
        "strided",
        "array",
        "float32",
        "numbers",
    ],
)
def test_a_block_may_come_in_any_of_these_forms(field):
    assert ipi.encode_request(field)[160:184] == BLOCK


def test_numpy_arrays_of_any_shape_stride_and_byte_order_are_taken():
    flat = np.arange(6.0)
    expected = flat.astype("<f8").tobytes()
    transposed = np.asfortranarray(flat.reshape(2, 3))
    for block in (
        flat,
        flat.reshape(2, 3),
        transposed,
        flat.astype(">f8"),
        flat.astype("f4"),
        flat.astype("i8"),
    ):
        assert ipi.encode_posdata(block)[160:] == expected
    assert ipi.encode_posdata(np.zeros((0, 3)))[156:] == bytes(4)
    assert ipi.encode_forceready(flat[:3], np.float64(1.5))[12:20] == struct.pack("<d", 1.5)


def test_a_numpy_matrix_of_another_type_has_no_one_order_of_bytes():
    with pytest.raises(TypeError, match="in one flat sequence"):
        ipi.encode_posdata(np.zeros((2, 3), "f4"))


@pytest.mark.parametrize("code", "bhil")
def test_integers_in_an_array_are_numbers_and_not_bytes(code):
    numbers = array.array(code, [1, -2, 3])
    if code == "b":  # bytes are always taken as they are
        with pytest.raises(ValueError, match="multiple of 3 reals, got 3 bytes"):
            ipi.encode_request(numbers)
    else:
        assert ipi.reals(ipi.encode_request(numbers)[160:184]) == (1, -2, 3)


@pytest.mark.parametrize("mistake", ["abc", (1, 2, None), ("1", "2", "3"), [(1, 2, 3)], (1, 2, 3j), 5, None])
@pytest.mark.parametrize(
    "encode",
    [
        ipi.encode_request,
        ipi.encode_posdata,
        ipi.encode_forceready,
        lambda block: ipi.encode_posdata(FIELD, cell=block),
        lambda block: ipi.encode_posdata(FIELD, inverse_cell=block),
        lambda block: ipi.encode_forceready(FIELD, virial=block),
        lambda block: ipi.encode_forceready_batch([FIELD], block, [ipi.ZEROS], [b""]),
    ],
)
def test_what_is_not_a_sequence_of_reals_is_a_type_error(encode, mistake):
    with pytest.raises(TypeError):
        encode(mistake)


@pytest.mark.parametrize("mistake", ["abc", None, 3j, (1,), b"12345678"])
def test_an_energy_that_is_not_a_real_is_a_type_error(mistake):
    with pytest.raises(TypeError, match="energy must be 64-bit real numbers"):
        ipi.encode_forceready(FIELD, energy=mistake)


def test_an_integer_beyond_all_reals_is_refused_and_not_made_infinite():
    with pytest.raises(TypeError, match="field must be 64-bit real numbers"):
        ipi.encode_request((10**400, 0, 0))


@pytest.mark.parametrize(
    ("encode", "message"),
    [
        (lambda: ipi.encode_request((1, 2)), "field must be a multiple of 3 reals, got 16 bytes"),
        (lambda: ipi.encode_request(()), "a field is 3 reals, got 0 bytes"),
        (lambda: ipi.encode_request(range(6)), "a field is 3 reals, got 48 bytes"),
        (lambda: ipi.encode_request(bytes(25)), "field must be a multiple of 3 reals, got 25 bytes"),
        (lambda: ipi.encode_posdata(range(4)), "positions must be a multiple of 3 reals"),
        (lambda: ipi.encode_posdata((), cell=range(8)), "cell must be a multiple of 9 reals"),
        (lambda: ipi.encode_posdata((), cell=()), "cell must be 9 reals, got 0 bytes"),
        (
            lambda: ipi.encode_posdata((), inverse_cell=range(18)),
            "inverse cell must be 9 reals, got 144 bytes",
        ),
        (lambda: ipi.encode_forceready(range(2)), "forces must be a multiple of 3 reals"),
        (lambda: ipi.encode_forceready((), virial=range(3)), "virial must be a multiple of 9 reals"),
    ],
)
def test_a_block_of_the_wrong_size_is_a_value_error(encode, message):
    with pytest.raises(ValueError, match=message):
        encode()


def test_defaults_are_the_identity_cell_and_the_zero_virial():
    assert ipi.encode_posdata(()) == ipi.encode_header(b"POSDATA") + 2 * ipi.IDENTITY + bytes(4)
    assert ipi.encode_forceready(()) == ipi.encode_header(b"FORCEREADY") + bytes(8 + 4 + 72 + 4)
    assert ipi.reals(ipi.IDENTITY) == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    assert ipi.reals(ipi.ZEROS) == (0,) * 9


def test_the_published_offsets_are_those_of_the_messages():
    request = ipi.encode_request(FIELD)
    assert len(request) == ipi.REQUEST_LENGTH
    assert request[ipi.REQUEST_FIELD_OFFSET :][:24] == BLOCK
    assert len(ipi.encode_forceready(FIELD)) == ipi.REPLY_LENGTH
    assert len(ipi.encode_header(b"")) == ipi.HEADER_LENGTH


def test_every_bit_of_a_float_is_passed_on():
    """NaN with sign and payload, infinities, denormals, -0.0."""
    patterns = (
        0x7FF8_0000_0000_0001,
        0xFFF8_DEAD_BEEF_CAFE,
        0x7FF0_0000_0000_0000,
        1,
        1 << 63,
        0x8000_0000_0000_0001,
    )
    for pattern in patterns:
        block = struct.pack("<3Q", pattern, 0, pattern)
        (number,) = struct.unpack("<d", block[:8])
        assert ipi.encode_request((number, 0.0, number))[160:184] == block
        reply = ipi.encode_forceready((number, 0.0, number), number, [number] * 9)
        assert reply[12:20] == block[:8]
        assert reply[24:48] == block
        assert reply[48:120] == block[:8] * 9


@given(st.binary(min_size=24, max_size=24))
def test_a_block_of_bytes_is_passed_on_untouched(block):
    """Signalling NaN too: no number is ever made of it."""
    assert ipi.encode_request(block)[160:184] == block
    assert ipi.encode_forceready(block)[24:48] == block


@given(st.lists(st.floats(width=64), min_size=3, max_size=3))
def test_reals_reads_what_the_encoders_wrote(numbers):
    read = ipi.reals(ipi.encode_request(numbers)[160:184])
    for one, other in zip(read, numbers, strict=True):
        assert struct.pack("<d", one) == struct.pack("<d", other)


def test_reals_takes_any_buffer_and_refuses_half_a_number():
    assert ipi.reals(b"") == ()
    assert ipi.reals(bytearray(BLOCK)) == FIELD
    assert ipi.reals(memoryview(BLOCK)[8:]) == FIELD[1:]
    assert math.isnan(ipi.reals(struct.pack("<d", math.nan))[0])
    with pytest.raises(ValueError, match="multiple of 8 bytes, got 23"):
        ipi.reals(BLOCK[1:])
    with pytest.raises(TypeError):
        ipi.reals("12345678")


def test_a_header_is_padded_and_at_most_12_bytes():
    assert ipi.encode_header(bytearray(b"BYE")) == b"BYE         "
    assert type(ipi.encode_header(bytearray(b"BYE"))) is bytes
    assert ipi.encode_header(b"A" * 12) == b"A" * 12
    with pytest.raises(ValueError, match="longer than 12 bytes"):
        ipi.encode_header(b"A" * 13)
    for mistake in ("READY", 3, None, [82]):
        with pytest.raises(TypeError):
            ipi.encode_header(mistake)


def test_the_aliases_are_the_same_messages():
    assert (ipi.FIELDDATA, ipi.GETSOURCE, ipi.SOURCEREADY) == (ipi.POSDATA, ipi.GETFORCE, ipi.FORCEREADY)
    assert not ipi.FROM_DRIVER & ipi.FROM_SERVER


@pytest.mark.parametrize("bead", [1 << 31, -(1 << 31) - 1, 10**30, "4", 4.0, None])
def test_a_bead_that_is_not_32_bits_is_a_value_error(bead):
    with pytest.raises(ValueError, match="is not a signed 32-bit number"):
        ipi.encode_init(bead)


@pytest.mark.parametrize("mistake", ["text", 5, None, [1, 2]])
def test_a_byte_string_is_bytes_like(mistake):
    """Five is not five zeros, and a text has no bytes before it is encoded."""
    with pytest.raises(TypeError):
        ipi.encode_init(0, mistake)
    with pytest.raises(TypeError):
        ipi.encode_forceready(FIELD, extra=mistake)
    with pytest.raises(TypeError):
        ipi.encode_forceready_batch([FIELD], [0.0], [ipi.ZEROS], [mistake])


@pytest.mark.parametrize("text", [bytearray(b"dt : 1"), memoryview(b"dt : 1"), array.array("b", b"dt : 1")])
def test_a_byte_string_may_be_any_buffer(text):
    assert ipi.encode_init(0, text)[20:] == b"dt : 1"
    assert ipi.encode_forceready(FIELD, extra=text)[124:] == b"dt : 1"


def test_a_byte_string_that_its_length_cannot_tell_is_a_value_error():
    """Refused before a byte of it is read: this array has a size and no memory."""
    huge = (ctypes.c_char * (1 << 31)).from_address(ctypes.addressof(ctypes.c_char()))
    with pytest.raises(ValueError, match="text has 2147483648 bytes, its length field ends at 2147483647"):
        ipi.encode_init(0, huge)
    with pytest.raises(ValueError, match="extra has 2147483648 bytes"):
        ipi.encode_forceready(FIELD, extra=huge)


CELLS = (ipi.IDENTITY, ipi.IDENTITY)


@pytest.mark.parametrize(
    "encode",
    [
        lambda: ipi.encode_posdata_batch([], []),
        lambda: ipi.encode_posdata_batch([FIELD], []),
        lambda: ipi.encode_posdata_batch([FIELD, FIELD], [CELLS]),
        lambda: ipi.encode_posdata_batch([FIELD, FIELD * 2], [CELLS, CELLS]),
        lambda: ipi.encode_forceready_batch([], [], [], []),
        lambda: ipi.encode_forceready_batch([FIELD], [], [ipi.ZEROS], [b""]),
        lambda: ipi.encode_forceready_batch([FIELD], [0.0], [], [b""]),
        lambda: ipi.encode_forceready_batch([FIELD], [0.0], [ipi.ZEROS], []),
        lambda: ipi.encode_forceready_batch([FIELD, FIELD * 2], [0, 0], [ipi.ZEROS] * 2, [b""] * 2),
    ],
)
def test_a_batch_of_unequal_parts_is_a_value_error(encode):
    with pytest.raises(ValueError, match="a batch needs at least one system"):
        encode()


def test_batches_are_laid_out_part_by_part():
    posdata = ipi.encode_posdata_batch([FIELD, BLOCK], [(ipi.IDENTITY, ipi.ZEROS)] * 2)
    matrices = ipi.IDENTITY + ipi.ZEROS
    assert posdata == b"POSDATA     " + struct.pack("<i", 1) + 2 * matrices + 2 * BLOCK
    reply = ipi.encode_forceready_batch(
        [FIELD, BLOCK], iter((1.0, 2.0)), [ipi.IDENTITY, ipi.ZEROS], [b"a", b""]
    )
    assert reply == (
        b"FORCEREADY  "
        + struct.pack("<ddi", 1.0, 2.0, 1)
        + 2 * BLOCK
        + matrices
        + struct.pack("<i", 1)
        + b"a"
        + struct.pack("<i", 0)
    )
