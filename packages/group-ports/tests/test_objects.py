"""What pickles may build, and what they may not do."""

from __future__ import annotations

import dataclasses
import enum
import io
import pickle
import pickletools
import random
import struct
import subprocess
import sys
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from group_ports import _pickle_costs
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


@pytest.mark.fault("C2", "group-ports", "E")
def test_random_changes_raise_nothing_else(figure):
    """Damaged pickles are refused or are plain data; no other error comes out."""
    rng = random.Random(7)
    seeds = [
        pickle.dumps(thing, protocol)
        for thing in (*PLAIN[:-1], *ARRAYS, Point(1.0, 2.0))
        for protocol in (2, 4, 5)
    ]
    refused = 0
    count = 4000
    for _ in range(count):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            loads(bytes(data), allowed=(Point,), max_objects=10_000)
        except ObjectRefused:
            refused += 1
    assert 1000 < refused < count
    figure(f"of {count} damaged pickles {refused} refused by type, {count - refused} still plain data")


# -- what costs more than it weighs -------------------------------------------------------------------

START = b"\x80\x04"
FRACTION = b"cfractions\nFraction\n"
COLOUR = f"c{__name__}\nColour\n".encode()


def doubled(levels, thing=b")"):
    """A tuple of the same tuple twice, and so on: 2 ** `levels` parts out of two bytes each."""
    return thing + b"2\x86" * levels


#: 28 levels are seconds without a guard, which a failure can afford; 60 would be for ever.
EXPONENTIAL = {
    "a key": START + b"}" + doubled(28) + b"Ns.",
    "keys at once": START + b"}(" + doubled(28) + b"Nu.",
    "a key of protocol 0": START + b"(" + doubled(28) + b"Nd.",
    "a member": START + b"\x8f(" + doubled(28) + b"\x90.",
    "a member of a frozen set": START + b"(" + doubled(28) + b"\x91.",
    "a member of a named set": START + b"cbuiltins\nset\n](" + doubled(28) + b"e\x85R.",
    "a name": START + doubled(24) + b"\x8c\x01x\x93.",
    "a module": START + b"\x8c\x01x" + doubled(24) + b"\x93.",
    "a type of number": START + b"cnumpy\ndtype\n" + doubled(24) + b"\x85R.",
    "an encoding": START + b"c_codecs\nencode\n\x8c\x01x" + doubled(24) + b"\x86R.",
    "a value of an enumeration": START + COLOUR + doubled(28) + b"\x85R.",
    "lists that an enumeration prints": START + COLOUR + b"]" + b"q\x00](h\x00h\x00e" * 22 + b"\x85R.",
    "an object that an enumeration prints": START + COLOUR + b"c" + NAME + b"]"
    + b"q\x00](h\x00h\x00e" * 22 + b"K\x00\x86R\x85R.",
    "frozen sets": START + b"()" + b"q\x00(h\x00K\x01\x86h\x00K\x02\x86\x91" * 26 + b"\x91.",
    "an object as key": START + b"}c" + f"{__name__}\nFrozen\n".encode() + b")\x81]" + doubled(26) + b"ab"
    + b"Ns.",
    "tuples nobody hashes": START + doubled(60) + b".",
}  # fmt: skip


@pytest.mark.parametrize("name", EXPONENTIAL)
def test_parts_that_are_shared_cannot_multiply(name):
    """Hashing and printing go through shared parts again and again."""
    with pytest.raises(ObjectRefused):
        loads(EXPONENTIAL[name], allowed=(Point, Colour, Frozen))


DEEP = {
    "a key": START + b"})" + b"\x85" * 400_000 + b"Ns.",
    "a member": START + b"\x8f()" + b"\x85" * 400_000 + b"\x90.",
    "a member of a frozen set": START + b"()" + b"\x85" * 400_000 + b"\x91.",
    "frozen sets": START + b"(" * 200_000 + b"\x91" * 200_000 + b".",
    "a tuple": START + b")" + b"\x85" * 400_000 + b".",
    "a tuple of protocol 0": b"(" * 200_000 + b"t" * 200_000 + b".",
    "a tuple in a name": START + b")" + b"\x85" * 400_000 + b"\x8c\x01x\x93.",
    "a tuple in a type of number": START + b"cnumpy\ndtype\n)" + b"\x85" * 400_000 + b"R.",
}


HASHING = """
import pickle, sys
from group_ports._objects import ObjectRefused, loads
for name, data in pickle.load(sys.stdin.buffer).items():
    try:
        hash(loads(data))
    except ObjectRefused as error:
        print(name, error, sep=": ", flush=True)
"""


def test_tuples_of_many_levels_do_not_end_the_process():
    """Python hashes them without a look at the depth of its stack, so it is done in another process."""
    child = subprocess.run(
        [sys.executable, "-c", HASHING], input=pickle.dumps(DEEP), capture_output=True, timeout=50
    )
    expected = [f"{name}: tuples of more than 500 levels or 10000000 parts" for name in DEEP]
    assert child.stdout.decode().splitlines() == expected
    assert child.returncode == 0


def test_depth_is_that_of_tuples_only():
    """Lists are as deep as they like; nothing goes through them in C without looking."""
    deep = loads(START + b"]" * 100_000 + b"a" * 99_999 + b".")
    with pytest.raises(RecursionError):
        repr(deep)
    levels = START + b"}" + b")" + b"\x85" * 499 + b"Ns."
    ((key, _),) = loads(levels).items()
    depth = 1
    while key:
        (key,) = key
        depth += 1
    assert depth == 500
    with pytest.raises(ObjectRefused, match="more than 500 levels"):
        loads(levels.replace(b")", b")\x85"))


#: The hash of an integer is its rest here, so all of these have the same.
MODULUS = sys.hash_info.modulus
COLLIDING = [MODULUS * number for number in range(1, 10_001)]


def separately(keys):
    """A dict that is filled one by one."""
    return START + b"}" + b"".join(pickle.dumps(key, 1)[:-1] + b"Ns" for key in keys) + b"."


@pytest.mark.parametrize(
    "pickled_keys",
    [
        lambda: START + b"}(" + b"".join(pickle.dumps(key, 1)[:-1] + b"N" for key in COLLIDING) + b"u.",
        lambda: separately(COLLIDING),
        lambda: START + b"\x8f(" + b"".join(pickle.dumps(key, 1)[:-1] for key in COLLIDING) + b"\x90.",
        lambda: START + b"(" + b"".join(pickle.dumps(key, 1)[:-1] for key in COLLIDING) + b"\x91.",
        lambda: START + b"(" + b"".join(pickle.dumps((key,), 2)[2:-1] for key in COLLIDING) + b"\x91.",
    ],
    ids=["dict", "dict one by one", "set", "frozenset", "tuples"],
)
def test_keys_chosen_to_fall_on_the_same_places_are_refused(pickled_keys, monkeypatch):
    """Each would be compared with all before it, which takes ten times as long as is allowed here."""
    monkeypatch.setattr(_pickle_costs, "_SECONDS", 0.05)
    data = pickled_keys()
    with pytest.raises(ObjectRefused, match="the same places"):
        loads(data)


def test_places_to_remember_cannot_be_chosen_at_will():
    """The memory of a pickle has no hashes to collide, and grows with the message only."""
    with pytest.raises(ObjectRefused, match="not a place"):
        loads(b"N" + b"".join(b"p%d\n" % place for place in COLLIDING[:1000]) + b".")
    with pytest.raises(ObjectRefused, match="not a place"):
        loads(b"Np-1\n.")
    with pytest.raises(ObjectRefused, match="nothing"):
        loads(b"Nq\x050h\x04.")
    assert loads(b"K\x07q\x050h\x05.") == 7


HONEST = {
    "numbers": dict.fromkeys(range(5000)),
    "steps": {number << 40: None for number in range(5000)},
    "negative": {-number * 1024: None for number in range(5000)},
    "floats": {number / 8: None for number in range(5000)},
    "places": {(x, y): x * y for x in range(70) for y in range(70)},
    "long numbers": {7**number: None for number in range(1000)},
    "pairs of numbers": {(number, (float(number), str(number))) for number in range(3000)},
    "frozen": {frozenset(range(number, number + 5)) for number in range(1500)},
}  # fmt: skip


@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize("name", HONEST)
def test_large_dicts_and_sets_of_honest_keys_come_back(name, protocol):
    assert loads(pickle.dumps(HONEST[name], protocol)) == HONEST[name]


class Node:
    """Hashed by identity, and part of a ring."""

    def __init__(self):
        self.neighbour = self


def test_objects_hashed_by_identity_may_be_keys_whatever_they_hold():
    node = Node()
    ((key, value),) = loads(pickle.dumps({node: 5}), allowed=(Node,)).items()
    assert key.neighbour is key
    assert value == 5


def peak_of(data, **options):
    """What `loads` takes at the most, in bytes, and what comes of it."""
    tracemalloc.start()
    try:
        try:
            result = loads(data, **options)
        except ObjectRefused as error:
            result = error
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()


BLOB = b"B\x00\x00\x01\x00" + bytes(1 << 16)
TEXT = b"X\x00\x00\x01\x00" + b"a" * (1 << 16)
AGAIN = {
    "bytearrays": BLOB + b"q\x000cbuiltins\nbytearray\nq\x010](" + b"h\x01h\x00\x85R" * 500 + b"e.",
    "bytes": TEXT + b"q\x000c_codecs\nencode\nq\x010\x8c\x06latin1q\x020]("
    + b"h\x01h\x00h\x02\x86R" * 500 + b"e.",
    "arrays": BLOB + b"q\x000cnumpy.core.numeric\n_frombuffer\nq\x010cnumpy\ndtype\n\x8c\x02u1\x85Rq\x020"
    + b"J\x00\x00\x01\x00\x85q\x030\x8c\x01Cq\x040](" + b"h\x01(h\x00h\x02h\x03h\x04tR" * 500 + b"e.",
    "scalars": BLOB + b"q\x000cnumpy.core.multiarray\nscalar\nq\x010cnumpy\ndtype\n\x8c\x06S65536\x85Rq\x020"
    + b"](" + b"h\x01h\x02h\x00\x86R" * 500 + b"e.",
    "sets": b"](" + b"".join(b"M" + struct.pack("<H", one) for one in range(20_000))
    + b"eq\x000cbuiltins\nset\nq\x010](" + b"h\x01h\x00\x85R" * 5000 + b"e.",
    "states": b"}(" + b"".join(b"\x8c\x05%05dN" % number for number in range(5000)) + b"uq\x000c" + NAME
    + b"q\x010](" + b"h\x01)\x81h\x00b" * 500 + b"e.",
    "an allowed copy": BLOB + b"q\x000c" + f"{__name__}\nBlob\n".encode() + b"q\x010]("
    + b"h\x01h\x00\x85\x81" * 500 + b"e.",
}  # fmt: skip


class Blob(bytes):
    """Copies what it is given."""


@pytest.mark.parametrize("name", AGAIN)
def test_what_was_sent_once_cannot_be_copied_without_end(name):
    data = START + AGAIN[name]
    peak, result = peak_of(data, allowed=(Point, Blob))
    assert str(result) == "copies of more than there is"
    assert peak < 128 * len(data) + (1 << 20)


def test_what_is_named_again_is_the_same_object():
    """That costs nothing, and is what pickles do with an object that stands at many places."""
    array, memory, members = np.arange(5000.0), bytes(range(256)) * 100, frozenset(range(1000))
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        copies = loads(pickle.dumps([(array, memory, members)] + [[array, memory, members]] * 1000, protocol))
        assert all(
            one is other for row in copies for one, other in zip(row, copies[0], strict=True)
        )  # fmt: skip


@pytest.mark.parametrize(
    "part", [b"]", b"}", b"\x8f", b")", b"\x8f\x94", b"}NNs", b")q\x00\x85", b"N2\x86\x94"]
)
def test_memory_follows_the_number_of_parts(part):
    """The most that one byte comes to is an empty set, of 216 bytes, and its place in the list."""
    data = START + b"](" + part * (10_000 // len(part)) + b"e."
    peak, _ = peak_of(data)
    assert peak < 500 * len(data) + (1 << 20)


def test_lengths_of_arrays_are_small_numbers():
    """Their product is worked out before the bytes are counted, and could take for ever."""
    number = b"\x8b" + struct.pack("<i", 20_001) + b"\xff" * 20_000 + b"\x00"
    data = START + b"cnumpy.core.numeric\n_frombuffer\n(C\x01acnumpy\ndtype\n\x8c\x02i1\x85R("
    with pytest.raises(ObjectRefused, match="not the shape"):
        loads(data + number + b"q\x00" + b"h\x00" * 30 + b"t\x8c\x01CtR.")
    with pytest.raises(ObjectRefused, match="not the shape"):
        loads(data + b"K\x00" * 33 + b"t\x8c\x01CtR.")


LONG_TEXT = b"X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20)


@pytest.mark.parametrize(
    "data",
    [
        LONG_TEXT + b"\x8c\x01x\x93.", b"\x8c\x01x" + LONG_TEXT + b"\x93.",
        b"c" + b"a" * (1 << 20) + b"\nb\n.", b"cnumpy\ndtype\n" + LONG_TEXT + b"\x85R.",
        FRACTION + LONG_TEXT + b"\x85R.", COLOUR + LONG_TEXT + b"\x85R.",
        b"cnumpy\ndtype\n" + b"X\x10\x00\x00\x00" + b"U1\n\x1b[2J\r\x00" * 2 + b"\x85R.",
        b"c\x1b[2J\r\x00\nb\n.",
    ],
)  # fmt: skip
def test_reasons_are_short_and_printable(data):
    """A log holds them; whoever sends does not decide how long they are, or what they do to a terminal."""
    with pytest.raises(ObjectRefused) as caught:
        loads(START + data, allowed=(Fraction, Colour))
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


# -- any data at all ----------------------------------------------------------------------------------

KEYS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
    | st.complex_numbers(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4).map(tuple) | st.frozensets(inner, max_size=4),
    max_leaves=6,
)  # fmt: skip
#: The same examples each time, however long a busy computer takes.
SAME = settings(derandomize=True, max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
DATA = st.recursive(
    KEYS | st.binary().map(bytearray) | st.sets(KEYS, max_size=5),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=5)
    ),
    max_leaves=20,
)
PROTOCOLS = st.integers(0, pickle.HIGHEST_PROTOCOL)


def shape_of(thing):
    """The types of all parts, as True equals 1 and a set equals a frozen one."""
    if isinstance(thing, dict):
        return [(shape_of(key), shape_of(value)) for key, value in thing.items()]
    if isinstance(thing, (list, tuple)):
        return [type(thing), *map(shape_of, thing)]
    return type(thing)


@SAME
@given(thing=DATA, protocol=PROTOCOLS, optimized=st.booleans())
def test_any_plain_data_comes_back_as_it_went(thing, protocol, optimized):
    data = pickle.dumps(thing, protocol)
    copy = loads(pickletools.optimize(data) if optimized else data)
    assert copy == thing
    assert shape_of(copy) == shape_of(thing)


def refused_or_built(data):
    """Nothing else may come out, and no more memory be taken than the parts need."""
    peak, _ = peak_of(data, allowed=(Point, Frozen, Colour), max_objects=10_000)
    assert peak < 1000 * len(data) + (1 << 20)


@SAME
@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_built(data):
    refused_or_built(data)


@SAME
@given(DATA | st.sampled_from([*ARRAYS, Point(1.0, 2.0), Frozen(3.0)]), PROTOCOLS, st.data())
def test_any_changed_pickle_is_refused_or_built(thing, protocol, data):
    changed = bytearray(pickle.dumps(thing, protocol))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(changed) - 1))
        changed[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(min_size=1, max_size=3))
    refused_or_built(bytes(changed))


STEPS = [
    b"N", b"\x88", b"K\x01", b"M\x00\x01", b"\x8c\x01a", b"\x8c\x06latin1", b"C\x02ab", b"G?\xf0" + bytes(6),
    b"(", b"0", b"1", b"2", b")", b"]", b"}", b"\x8f", b"t", b"l", b"d", b"\x85", b"\x86", b"\x87", b"\x91",
    b"a", b"e", b"s", b"u", b"\x90", b"R", b"\x81", b"\x92", b"b", b"\x93", b"\x94",
    b"q\x00", b"q\x01", b"q\x02", b"h\x00", b"h\x01", b"h\x02", b"2\x86" * 30, b"h\x00h\x00\x86q\x00" * 10,
    b"\x8b\x09\x00\x00\x00" + b"\xff" * 8 + b"\x00",
    b"cbuiltins\nset\n", b"cbuiltins\nfrozenset\n", b"cbuiltins\nbytearray\n", b"cbuiltins\ncomplex\n",
    b"c_codecs\nencode\n", b"cnumpy\ndtype\n\x8c\x02u1\x85R", b"cnumpy\nndarray\n",
    b"cnumpy.core.multiarray\n_reconstruct\n", b"cnumpy.core.multiarray\nscalar\n",
    b"cnumpy.core.numeric\n_frombuffer\n", b"c" + NAME, COLOUR,
]  # fmt: skip


@SAME
@given(st.lists(st.sampled_from(STEPS), max_size=60))
def test_any_program_is_refused_or_built(steps):
    """Of the instructions and names that are known, in any order."""
    refused_or_built(START + b"".join(steps) + b".")
