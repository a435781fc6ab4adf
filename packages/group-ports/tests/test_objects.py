"""What pickles may build, and what they may not do."""

from __future__ import annotations

import dataclasses
import enum
import io
import pickle
import random

import numpy as np
import pytest

from group_ports._objects import loads
from group_ports.errors import ObjectRefused


@dataclasses.dataclass
class Point:
    x: float
    y: float


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    x: float


class Colour(enum.Enum):
    RED = 1


class Slotted:
    __slots__ = ("__dict__", "a")

    def __init__(self):
        self.a, self.b = 1, 2


class Calls:
    """Anything at all, called by whoever unpickles."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


PLAIN = [
    None, True, 0, -1, 2**70, 1.5, float("inf"), 2 + 3j, "", "ä" * 300, b"", b"x" * 300, bytearray(b""),
    bytearray(b"ab"),
    [], [1, [2]], (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), {}, {"a": {"b": [None]}}, set(), {1, 2},
    frozenset({3}), [b"x"] * 3, {i: str(i) for i in range(2000)},
]  # fmt: skip


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_comes_back_as_it_went(protocol):
    for thing in PLAIN:
        copy = loads(pickle.dumps(thing, protocol))
        assert copy == thing
        assert type(copy) is type(thing)


def test_lists_that_contain_themselves_come_back():
    thing = [1]
    thing.append(thing)
    copy = loads(pickle.dumps(thing))
    assert copy[1] is copy


ARRAYS = [
    np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3)), np.zeros((0, 3)),
    np.array(5.0), np.array([True, False]), np.array([1 + 2j]), np.arange(3, dtype=">i4"),
    np.array(["ab", "c"]), np.array([b"ab"]), np.arange(4, dtype="u1")[::2],
]  # fmt: skip


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_arrays_come_back_and_can_be_written(protocol, array):
    first = array.ravel()[0] if array.size else np.float64(0)
    copy, again, single = loads(pickle.dumps([array, array, first], protocol))
    assert again is copy
    assert type(copy) is np.ndarray
    assert copy.dtype == array.dtype
    np.testing.assert_array_equal(copy, array)
    assert copy.flags.writeable
    assert copy.flags.f_contiguous == array.copy(order="A").flags.f_contiguous
    assert single == first
    assert type(single) is type(first)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_allowed_classes_are_built_and_no_others(protocol):
    allowed = (Point, Frozen, Colour, Slotted)
    for thing in (Point(1.0, 2.0), Frozen(3.0), Colour.RED):
        data = pickle.dumps(thing, protocol)
        assert loads(data, allowed=allowed) == thing
        with pytest.raises(ObjectRefused, match=f"{type(thing).__name__} is not allowed"):
            loads(data)
    slotted = loads(pickle.dumps(Slotted(), protocol), allowed=allowed)
    assert (slotted.a, slotted.b) == (1, 2)
    point = Point(np.arange(3.0), 1.0)
    np.testing.assert_array_equal(loads(pickle.dumps(point, protocol), allowed=allowed).x, point.x)


def pickled(*call):
    return pickle.dumps(Calls(*call))


NAME = f"{__name__}\nPoint\n".encode()

HOSTILE = {
    "a call": pickled(print, ("executed",)),
    "eval": pickled(eval, ("1",)),
    "a name alone": pickle.dumps(print),
    "a class alone": pickle.dumps(int),
    "a size as bytearray": pickled(bytearray, (1 << 40,)),
    "a size as bytes": pickled(bytes, (1 << 40,)),
    "a set of text": pickled(set, ("abc",)),
    "a complex of text": pickled(complex, ("1", "2")),
    "another encoding": b"c_codecs\nencode\n(Vx\nVrot13\ntR.",
    "a type of objects": pickle.dumps(np.array([print, 1], dtype=object)),
    "records": pickle.dumps(np.zeros(2, dtype=[("a", "i4")])),
    "times": pickle.dumps(np.array(["2020-01-01"], dtype="M8[s]")),
    "a class of arrays": pickle.dumps(np.ma.array([1])),
    "a type of a class": b"cnumpy\ndtype\n(Vobject\ntR.",
    "a function of numpy": b"cnumpy\nload\n(Vfile\ntR.",
    "an array unfinished": b"\x80\x04cnumpy._core.multiarray\n_reconstruct\n"
    b"cnumpy\nndarray\nK\x00\x85C\x01b\x87R.",
    "not an array": b"\x80\x04cnumpy._core.multiarray\n_reconstruct\nK\x01K\x00\x85C\x01b\x87R.",
    "ndarray to another": b"\x80\x04cnumpy\ndtype\ncnumpy\nndarray\n\x85R.",
    "ndarray as value": b"\x80\x04cnumpy\nndarray\n.",
    "ndarray in a tuple": b"\x80\x04cnumpy\nndarray\n\x85.",
    "a state of a number": b"\x80\x04K\x01}b.",
    "attributes of a constructor": b"\x80\x04cbuiltins\nset\n}\x8c\x05buildNsb.",
    "attributes of a class": b"\x80\x04c" + NAME + b"}\x8c\x01xNsb.",
    "attributes with dunders": b"\x80\x04c" + NAME + b")\x81}\x8c\x09__class__Nsb.",
    "attributes with numbers": b"\x80\x04c" + NAME + b")\x81}K\x01Nsb.",
    "a new number": b"\x80\x04K\x01)\x81.",
    "new with list": b"\x80\x04c" + NAME + b"]\x81.",
    "a call without tuple": b"\x80\x04c" + NAME + b"]R.",
    "a call of an object": b"\x80\x04c" + NAME + b")\x81)R.",
    "persistent": b"\x80\x04K\x01Q.",
    "extension": b"\x80\x04\x82\x01.",
    "old instance": b"(i" + NAME + b".",
    "memory by index": b"\x80\x04Nr\xff\xff\xff\x7f0j\x00\x00\x00\x7f.",
    "a mark": b"(.",
    "a mark in a list": b"](a.",
    "no mark": b"\x80\x04K\x01e.",
    "append to text": b"\x80\x04\x8c\x01aNa.",
    "too few": b"\x80\x04N\x86.",
    "nothing": b"",
    "no end": b"\x80\x04N",
    "an empty stack": b".",
    "two objects": b"NN.",
    "more behind": b"N.N",
    "unhashable": b"\x80\x04}]Ns.",
    "odd pairs": b"\x80\x04}(Nu.",
    "announced bytes": b"\x80\x04\x8e\xff\xff\xff\xff\x00\x00\x00\x00x.",
    "announced bytearray": b"\x80\x05\x96\xff\xff\xff\xff\xff\x00\x00\x00x.",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_anything_else_is_refused(name, capsys):
    """Each with one kind of error, without a call, and without the memory it announces."""
    with pytest.raises(ObjectRefused):
        loads(HOSTILE[name], allowed=(Point,))
    assert capsys.readouterr().out == ""


def test_classes_cannot_be_changed():
    with pytest.raises(ObjectRefused):
        loads(HOSTILE["attributes of a class"], allowed=(Point,))
    assert not hasattr(Point, "x")


def rebuilt(shape, kind, fortran, memory, version=1):
    """The pickle of an array with this state."""
    array = pickle.dumps(np.zeros(3), 4)

    class Pickler(pickle._Pickler):
        def save(self, obj, save_persistent_id=True):
            if isinstance(obj, tuple) and len(obj) == 5 and obj[0] == 1:
                obj = (version, shape, kind, fortran, memory)
            return super().save(obj, save_persistent_id)

    out = io.BytesIO()
    Pickler(out, 4).dump(np.zeros(3))
    assert out.getvalue() != array
    return out.getvalue()


def test_array_is_as_large_as_its_bytes():
    """A shape is believed only if the bytes are there."""
    kind = np.dtype("f8")
    assert loads(rebuilt((2,), kind, False, bytes(16))).shape == (2,)
    for wrong in (
        rebuilt((1 << 40,), kind, False, bytes(16)),
        rebuilt((-1,), kind, False, bytes(16)),
        rebuilt((1 << 40, 0, 1 << 40) * 20, kind, False, b""),
        rebuilt([2], kind, False, bytes(16)),
        rebuilt((2,), "f8", False, bytes(16)),
        rebuilt((2,), kind, False, [0.0, 0.0]),
        rebuilt((2,), np.dtype("O"), False, [print, print]),
        rebuilt((2,), np.dtype("?"), False, b"\x00\x07"),
        rebuilt((1,), np.dtype("U1"), False, b"\xff\xff\xff\xff"),
    ):
        with pytest.raises(ObjectRefused):
            loads(wrong)


@pytest.mark.parametrize(
    "state",
    [
        (3, "<", None, None, None, -1, -1), (9, "<", None, None, None, -1, -1, 0),
        (3, "x", None, None, None, -1, -1, 0),
        (3, "<", ("f8", (9,)), None, None, -1, -1, 0), (3, "<", None, None, None, 800, -1, 0),
        (3, "<", None, None, None, -1, 64, 0), (3, "<", None, None, None, -1, -1, 63), [3],
    ],
)  # fmt: skip
def test_type_of_number_takes_no_other_state(state):
    """NumPy itself would believe sizes and fields."""
    data = pickle.dumps(state, 2)[2:-1]
    with pytest.raises(ObjectRefused):
        loads(b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00f8\x85R" + data + b"b.")


def test_parts_are_counted():
    """One byte of a pickle can be an object of a hundred."""
    with pytest.raises(ObjectRefused, match="more than 1000 parts"):
        loads(b"(" + b"}" * 5000 + b"l.", max_objects=1000)


def test_random_changes_raise_nothing_else():
    """Damaged pickles are refused or are plain data; no other error comes out."""
    rng = random.Random(7)
    seeds = [
        pickle.dumps(thing, protocol)
        for thing in (*PLAIN[:-1], *ARRAYS, Point(1.0, 2.0))
        for protocol in (2, 4, 5)
    ]
    refused = 0
    for _ in range(4000):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            loads(bytes(data), allowed=(Point,), max_objects=10_000)
        except ObjectRefused:
            refused += 1
    assert 1000 < refused < 4000
