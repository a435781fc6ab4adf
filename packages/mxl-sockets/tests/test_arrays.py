"""Fields become bytes bit for bit, or are refused with the molecule's name."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxl_sockets._arrays import fields_of_array, fields_of_requests, vectors_of
from mxl_sockets._requests import RequestBlock
from wireframe import ipi

#: Infinities, the smallest denormal, -0.0, and NaNs with payloads and signs.
AWKWARD = np.array(
    [0x7FF0000000000000, 0xFFF0000000000000, 1, 0x8000000000000000, 0x7FF800000000BEEF, 0xFFF8000000000001],
    dtype="<u8",
).view("<f8")


def requests(*fields):
    return {number: {"efield_au": field} for number, field in enumerate(fields)}


@pytest.mark.parametrize("cast", [list, tuple, np.array])
def test_fields_of_requests_stand_in_order(cast):
    given = {7: {"efield_au": cast([1.0, 2.0, 3.0])}, 3: {"efield_au": cast([4.0, 5.0, 6.0]), "meta": 1}}
    assert fields_of_requests(given) == struct.pack("<6d", 1, 2, 3, 4, 5, 6)


@pytest.mark.parametrize("kind", ["<f8", ">f8", "<f4", "i4", "u2", "bool"])
def test_real_numbers_of_any_kind_become_float64(kind):
    rows = np.array([[1, 0, 1], [0, 1, 1]], dtype=kind)
    block = struct.pack("<6d", 1, 0, 1, 0, 1, 1)
    assert fields_of_requests(requests(*rows)) == block
    assert fields_of_array(rows, 2) == block
    assert fields_of_array(rows.tolist(), 2) == block


def test_every_bit_pattern_is_passed_through():
    assert fields_of_requests(requests(AWKWARD[:3], AWKWARD[3:])) == AWKWARD.tobytes()
    assert fields_of_array(AWKWARD.reshape(2, 3), 2) == AWKWARD.tobytes()
    assert vectors_of(AWKWARD.tobytes()).tobytes() == AWKWARD.tobytes()


def test_arrays_may_lie_in_memory_in_any_way():
    wide = np.arange(24.0).reshape(4, 6)
    assert fields_of_array(wide[::2, ::2], 2) == struct.pack("<6d", 0, 2, 4, 12, 14, 16)
    assert fields_of_array(np.asfortranarray(wide[:2, :3]), 2) == struct.pack("<6d", 0, 1, 2, 6, 7, 8)


BAD = {
    "missing": {},
    "none": {"efield_au": None},
    "two": {"efield_au": (1.0, 2.0)},
    "four": {"efield_au": (1.0, 2.0, 3.0, 4.0)},
    "scalar": {"efield_au": 1.0},
    "matrix": {"efield_au": [(1.0, 2.0, 3.0)]},
    "ragged": {"efield_au": [1.0, [2.0], 3.0]},
    "holes": {"efield_au": (1.0, None, 3.0)},
    "words": {"efield_au": "abc"},
    "digits": {"efield_au": ("1", "2", "3")},
    "complex": {"efield_au": (1.0, 2j, 3.0)},
    "complex array": {"efield_au": np.array([1j, 2, 3])},
    "dates": {"efield_au": np.array(["2000", "2001", "2002"], dtype="M8[Y]")},
    "no mapping": None,
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
@pytest.mark.parametrize("others", [0, 1, 3])
def test_a_bad_field_is_refused_and_the_molecule_named(bad, others):
    good = requests(*[(1.0, 2.0, 3.0)] * others)
    with pytest.raises(ValueError, match=r"^molecule 42: "):
        fields_of_requests({**good, 42: bad})
    with pytest.raises(ValueError, match=r"^molecule 42: "):
        fields_of_requests({42: bad, **good})


def test_bad_fields_of_all_molecules_name_the_first():
    """Together they may have a shape that is legal for something else."""
    with pytest.raises(ValueError, match=r"molecule 0: efield_au has shape \(2,\), it must be \(3,\)"):
        fields_of_requests(requests((1.0, 2.0), (3.0, 4.0)))


def test_no_requests_hold_no_fields():
    with pytest.raises(ValueError, match="no fields"):
        fields_of_requests({})


@pytest.mark.parametrize("shape", [(3,), (2, 2), (1, 3), (3, 3), (2, 3, 1), (6,), ()])
def test_an_array_must_have_one_row_for_each_molecule(shape):
    with pytest.raises(ValueError, match=r"the molecules need \(2, 3\)"):
        fields_of_array(np.zeros(shape), 2)


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((2, 3), dtype=complex),
        [["1", "2", "3"], ["4", "5", "6"]],
        [[None] * 3] * 2,
        [[1.0, 2.0, 3.0], [4.0]],
        object(),
        None,
    ],
)
def test_an_array_must_hold_real_numbers(bad):
    with pytest.raises(ValueError, match="fields"):
        fields_of_array(bad, 2)


def test_fields_are_a_copy():
    array = np.ones((1, 3))
    block = fields_of_array(array, 1)
    array[:] = 2
    assert block == struct.pack("<3d", 1, 1, 1)


@given(st.lists(st.tuples(*[st.floats(allow_nan=False)] * 3), min_size=1, max_size=5))
@settings(derandomize=True, deadline=None, database=None, max_examples=50)
def test_both_ways_in_give_the_same_bytes_and_the_way_out_gives_them_back(rows):
    block = fields_of_array(rows, len(rows))
    assert block == fields_of_requests(requests(*rows))
    back = vectors_of(block)
    assert back.shape == (len(rows), 3)
    assert back.dtype == np.float64
    assert back.tobytes() == block


def test_amplitudes_can_be_written_to():
    amplitudes = vectors_of(struct.pack("<3d", 1, 2, 3))
    amplitudes += 1
    assert amplitudes.tolist() == [[2, 3, 4]]
    assert vectors_of(b"").shape == (0, 3)


@pytest.mark.parametrize("last", [ipi.GETFORCE, ipi.STATUS])
def test_requests_are_those_of_the_codec(last):
    block = RequestBlock(2, last)
    for rows in (AWKWARD.reshape(2, 3), np.arange(6.0).reshape(2, 3)):
        block.fill(rows.tobytes())
        for row, request in zip(rows, block.rows, strict=True):
            assert bytes(request)[:184] == ipi.encode_request(row.tobytes())[:184]
            assert bytes(request)[184:] == ipi.encode_header(last)
