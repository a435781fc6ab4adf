"""Objects from the network, without the danger of `pickle.loads`.

A pickle is a program. `pickle.loads` runs it with every callable that can be
imported, so whoever can send one byte string can do whatever this process can.
Refusing names (``find_class``) is not enough: the programs can also set
attributes of the classes that are left, and take all memory with a few bytes.

So the program is read here, instruction by instruction, and only those are
obeyed that build numbers, strings, bytes, the containers of Python and arrays
of numbers. The one thing that is ever called is a constructor of plain data
below, or of a class that the caller allowed, found in a table by its name;
nothing is imported, and nothing can be set but attributes of objects that were
just made. Parts are counted, and a size is believed only if the bytes are there.

An allowed class gets whatever arguments and attributes the peer likes: allow
classes that check them.
"""

from __future__ import annotations

import pickletools
from typing import TYPE_CHECKING, Any, Final

from group_ports import _object_arrays
from group_ports.errors import ObjectRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_MARK: Final = object()
_CONSTANTS: Final = {
    "NONE": None, "NEWTRUE": True, "NEWFALSE": False,
}  # fmt: skip
#: Their argument is the object.
_LITERALS: Final = frozenset({
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
    "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8",
})  # fmt: skip


def loads(data: bytes, *, allowed: Iterable[type] = (), max_objects: int = 1_000_000) -> Any:
    """Build the object that was pickled, if it is plain data.

    Parameters
    ----------
    data : bytes
        A pickle of any protocol, as it came from a peer.
    allowed : iterable of type
        Classes whose objects may be built as well.
    max_objects : int
        Instructions to follow at the most, about one for each part.

    Returns
    -------
    object
        None, bool, int, float, complex, str, bytes, bytearray; list, tuple, dict,
        set, frozenset; arrays and numbers of NumPy, but not of objects; and
        objects of the allowed classes.

    Raises
    ------
    ObjectRefused
        Anything else, or damaged.

    Examples
    --------
    >>> import pickle
    >>> loads(pickle.dumps({"voltage": [229.8, 230.1]}))
    {'voltage': [229.8, 230.1]}
    >>> loads(pickle.dumps(print))
    Traceback (most recent call last):
    ...
    group_ports.errors.ObjectRefused: builtins.print is not allowed
    """
    machine = _Machine(allowed, max_objects)
    try:
        return machine.run(data)
    except ObjectRefused:
        raise
    except Exception as error:
        # Damaged programs fail in many ways, and so do constructors of allowed
        # classes; to the caller it is one thing.
        raise ObjectRefused(f"not a whole object: {type(error).__name__}: {error}") from error


class _Plain:
    """A constructor of plain data that stands for a callable of the same name."""

    __slots__ = ("build",)

    def __init__(self, build: Callable[..., Any]) -> None:
        self.build = build


class _Arguments:
    """A tuple that names the class of arrays, which is no value."""

    __slots__ = ("parts",)

    def __init__(self, parts: tuple[Any, ...]) -> None:
        self.parts = parts


def _bytearray(*parts: Any) -> bytearray:
    # A number would be a size, and text of protocol 2 comes with its encoding.
    if not parts:
        return bytearray()
    if isinstance(parts[0], bytes) and len(parts) == 1:
        return bytearray(parts[0])
    return bytearray(_latin(*parts))


def _latin(text: Any, encoding: Any) -> bytes:
    if not isinstance(text, str) or encoding not in {"latin1", "latin-1"}:
        raise ObjectRefused("bytes are text in latin1 or themselves")
    return text.encode("latin1")


def _bytes(*parts: Any) -> bytes:
    if parts:
        raise ObjectRefused("bytes are built from nothing else")
    return b""


def _members(kind: type[set[Any] | frozenset[Any]]) -> Callable[..., Any]:
    def build(members: Any = ()) -> Any:
        if not isinstance(members, (list, tuple)):
            raise ObjectRefused("a set is built from a list")
        return kind(members)

    return build


def _complex(real: Any, imaginary: Any) -> complex:
    if not (isinstance(real, float) and isinstance(imaginary, float)):
        raise ObjectRefused("a complex number is two numbers")
    return complex(real, imaginary)


_PLAIN: Final[dict[str, _Plain]] = {
    f"{module}.{name}": plain
    for modules, name, plain in (
        (("builtins", "__builtin__"), "bytearray", _Plain(_bytearray)),
        (("builtins", "__builtin__"), "bytes", _Plain(_bytes)),
        (("builtins", "__builtin__"), "complex", _Plain(_complex)),
        (("builtins", "__builtin__"), "set", _Plain(_members(set))),
        (("builtins", "__builtin__"), "frozenset", _Plain(_members(frozenset))),
        (("_codecs",), "encode", _Plain(_latin)),
        *((modules, name, _Plain(build)) for modules, name, build in _object_arrays.CONSTRUCTORS),
    )
    for module in modules
}


class _Machine:
    """Follows one program."""

    def __init__(self, allowed: Iterable[type], max_objects: int) -> None:
        self._classes = {f"{kind.__module__}.{kind.__qualname__}": kind for kind in allowed}
        self._kinds = frozenset(self._classes.values())
        self._max_objects = max_objects
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, data: bytes) -> Any:
        stack = self._stack
        end = 0
        for count, (operation, argument, place) in enumerate(pickletools.genops(data)):
            if count >= self._max_objects:
                raise ObjectRefused(f"more than {self._max_objects} parts")
            name = operation.name
            end = 1 + (place or 0)
            if name in _LITERALS:
                stack.append(argument)
            elif name in _CONSTANTS:
                stack.append(_CONSTANTS[name])
            else:
                step = _STEPS.get(name)
                if step is None:
                    raise ObjectRefused(f"{name} does not belong to plain data")
                step(self, argument)
        if end != len(data):
            raise ObjectRefused(f"{len(data) - end} bytes behind the object")
        (result,) = stack
        return self._value(result)

    # -- parts --------------------------------------------------------------------------------------

    def _value(self, thing: Any) -> Any:
        """Return a finished object; names and marks are none."""
        if thing is _MARK or isinstance(thing, (type, _Plain, _Arguments, _object_arrays.Token)):
            raise ObjectRefused("a name or a mark instead of an object")
        return _object_arrays.finished(thing)

    def _pop(self) -> Any:
        return self._value(self._stack.pop())

    def _top(self, kind: type) -> Any:
        top = self._stack[-1]
        if type(top) is not kind:
            raise ObjectRefused(f"a {kind.__name__} expected, not a {type(top).__name__}")
        return top

    def _since_mark(self) -> list[Any]:
        stack = self._stack
        at = len(stack) - 1
        while stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise ObjectRefused("no mark")
        parts = [self._value(part) for part in stack[at + 1 :]]
        del stack[at:]
        return parts

    def _named(self, module: Any, name: Any) -> None:
        full = f"{module}.{name}"
        found: Any = self._classes.get(full) or _PLAIN.get(full)
        if full == "numpy.ndarray":
            found = _object_arrays.NDARRAY
        if found is None:
            raise ObjectRefused(f"{full[:200]} is not allowed")
        self._stack.append(found)

    # -- instructions -------------------------------------------------------------------------------

    def nothing(self, _: Any) -> None:
        """Follow PROTO, FRAME or STOP."""

    def mark(self, _: Any) -> None:
        self._stack.append(_MARK)

    def pop(self, _: Any) -> None:
        self._stack.pop()

    def pop_mark(self, _: Any) -> None:
        self._since_mark()

    def duplicate(self, _: Any) -> None:
        self._stack.append(self._value(self._stack[-1]))

    def push(self, thing: Any) -> None:
        self._stack.append(thing)

    def put(self, index: Any) -> None:
        self._memo[int(index)] = self._stack[-1]

    def memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def get(self, index: Any) -> None:
        self._stack.append(self._memo[int(index)])

    def some(self, count: int) -> None:
        at = len(self._stack) - count
        if at < 0:
            raise ObjectRefused("too few parts")
        parts = self._stack[at:]
        if parts and parts[0] is _object_arrays.NDARRAY:
            self._stack[at:] = [_Arguments((parts[0], *map(self._value, parts[1:])))]
        else:
            self._stack[at:] = [tuple(map(self._value, parts))]

    def add_one(self, _: Any) -> None:
        value = self._pop()
        self._top(list).append(value)

    def add_all(self, _: Any) -> None:
        values = self._since_mark()
        self._top(list).extend(values)

    def set_one(self, _: Any) -> None:
        value, key = self._pop(), self._pop()
        self._top(dict)[key] = value

    def set_all(self, _: Any) -> None:
        pairs = _pairs(self._since_mark())
        self._top(dict).update(pairs)

    def add_members(self, _: Any) -> None:
        values = self._since_mark()
        self._top(set).update(values)

    def global_name(self, argument: Any) -> None:
        self._named(*argument.split(" ", 1))

    def stack_name(self, _: Any) -> None:
        name, module = self._pop(), self._pop()
        self._named(module, name)

    def call(self, _: Any) -> None:
        arguments = self._stack.pop()
        maker = self._stack.pop()
        if type(arguments) is _Arguments and maker is _PLAIN["numpy._core.multiarray._reconstruct"]:
            arguments = arguments.parts
        if type(arguments) is not tuple:
            raise ObjectRefused("arguments are a tuple")
        if isinstance(maker, _Plain):
            self._stack.append(maker.build(*arguments))
        elif self._is_allowed(maker):
            self._stack.append(maker(*arguments))
        else:
            raise ObjectRefused("only what was named can be called")

    def new(self, _: Any) -> None:
        arguments = self._pop()
        self._new(self._stack.pop(), arguments, {})

    def new_keywords(self, _: Any) -> None:
        keywords, arguments = self._pop(), self._pop()
        self._new(self._stack.pop(), arguments, keywords)

    def _new(self, kind: Any, arguments: Any, keywords: Any) -> None:
        if not self._is_allowed(kind) or type(arguments) is not tuple or type(keywords) is not dict:
            raise ObjectRefused("only objects of allowed classes are made")
        self._stack.append(kind.__new__(kind, *arguments, **keywords))

    def build(self, _: Any) -> None:
        state = self._pop()
        thing = self._stack[-1]
        if isinstance(thing, _object_arrays.Unfinished):
            thing.set_state(state)
            return
        if type(thing) not in self._kinds:
            raise ObjectRefused(f"a {type(thing).__name__} has no state")
        if hasattr(thing, "__setstate__"):
            thing.__setstate__(state)
            return
        slots: Any = {}
        if type(state) is tuple and len(state) == 2:
            state, slots = state
        for name, value in ((state or {}) | (slots or {})).items():
            if not isinstance(name, str) or name.startswith("__"):
                raise ObjectRefused(f"not the name of an attribute: {name!r}")
            object.__setattr__(thing, name, value)

    def from_mark(self, kind: Callable[[list[Any]], Any]) -> None:
        self._stack.append(kind(self._since_mark()))

    def _is_allowed(self, thing: Any) -> bool:
        return isinstance(thing, type) and thing in self._kinds


def _pairs(parts: list[Any]) -> dict[Any, Any]:
    return dict(zip(parts[::2], parts[1::2], strict=True))


_STEPS: Final[dict[str, Callable[[_Machine, Any], None]]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), _Machine.nothing),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
    "MARK": _Machine.mark,
    "POP": _Machine.pop,
    "POP_MARK": _Machine.pop_mark,
    "DUP": _Machine.duplicate,
    "MEMOIZE": _Machine.memoize,
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_SET": lambda machine, _: machine.push(set()),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "LIST": lambda machine, _: machine.from_mark(list),
    "TUPLE": lambda machine, _: machine.from_mark(tuple),
    "DICT": lambda machine, _: machine.from_mark(_pairs),
    "FROZENSET": lambda machine, _: machine.from_mark(frozenset),
    "TUPLE1": lambda machine, _: machine.some(1),
    "TUPLE2": lambda machine, _: machine.some(2),
    "TUPLE3": lambda machine, _: machine.some(3),
    "APPEND": _Machine.add_one,
    "APPENDS": _Machine.add_all,
    "SETITEM": _Machine.set_one,
    "SETITEMS": _Machine.set_all,
    "ADDITEMS": _Machine.add_members,
    "GLOBAL": _Machine.global_name,
    "STACK_GLOBAL": _Machine.stack_name,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.new,
    "NEWOBJ_EX": _Machine.new_keywords,
    "BUILD": _Machine.build,
}
