"""Reads a pickle, instruction by instruction, and obeys those that build plain data; see `_objects`."""

from __future__ import annotations

import enum
import pickletools
from typing import TYPE_CHECKING, Any, Final

from group_ports import _object_arrays
from group_ports._pickle_costs import CostGuard
from group_ports._plain_data import CONSTRUCTORS, Constructor
from group_ports.errors import ObjectRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_MARK: Final = object()
_NOTHING: Final = object()
_CONSTANTS: Final = {
    "NONE": None, "NEWTRUE": True, "NEWFALSE": False,
}  # fmt: skip
#: Their argument is the object.
_LITERALS: Final = frozenset({
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
    "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8",
})  # fmt: skip


class _Arguments:
    """A tuple that names the class of arrays, which is no value."""

    __slots__ = ("parts",)

    def __init__(self, parts: tuple[Any, ...]) -> None:
        self.parts = parts


class PickleMachine:
    """Follows one program.

    Parameters
    ----------
    allowed : iterable of type
        Classes whose objects may be built.
    max_objects : int
        Instructions to follow at the most.
    """

    def __init__(self, allowed: Iterable[type], max_objects: int) -> None:
        self._classes = {f"{kind.__module__}.{kind.__qualname__}": kind for kind in allowed}
        self._kinds = frozenset(self._classes.values())
        self._max_objects = max_objects
        self._stack: list[Any] = []
        self._memo: list[Any] = []
        self._most_remembered = 0
        self._guard = CostGuard(self._kinds, max_objects)

    def run(self, data: bytes) -> Any:
        """Return what it builds; `ObjectRefused`, or whatever a damaged program comes to."""
        stack = self._stack
        self._guard.begin(len(data))
        self._most_remembered = len(data)
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
        if thing is _MARK or isinstance(thing, (type, Constructor, _Arguments, _object_arrays.Token)):
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
        if type(module) is not str or type(name) is not str:
            raise ObjectRefused("a name is text")
        full = f"{module}.{name}"
        found: Any = self._classes.get(full) or CONSTRUCTORS.get(full)
        if full == "numpy.ndarray":
            found = _object_arrays.NDARRAY
        if found is None:
            raise ObjectRefused(f"{ascii(full[:200])[1:-1]} is not allowed")
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
        place, memo = int(index), self._memo
        # A list, as places of a dict could be chosen to fall together. Pickles use one after the other.
        if not 0 <= place < self._most_remembered:
            raise ObjectRefused("not a place to remember")
        memo.extend([_NOTHING] * (place + 1 - len(memo)))
        memo[place] = self._stack[-1]

    def memoize(self, _: Any) -> None:
        self._memo.append(self._stack[-1])

    def get(self, index: Any) -> None:
        place = int(index)
        if not 0 <= place < len(self._memo) or self._memo[place] is _NOTHING:
            raise ObjectRefused("nothing to be remembered")
        self._stack.append(self._memo[place])

    def some(self, count: int) -> None:
        at = len(self._stack) - count
        if at < 0:
            raise ObjectRefused("too few parts")
        parts = self._stack[at:]
        if parts and parts[0] is _object_arrays.NDARRAY:
            self._stack[at:] = [_Arguments((parts[0], *map(self._value, parts[1:])))]
        else:
            self._stack[at:] = [self._guard.tuple_of(map(self._value, parts))]

    def add_one(self, _: Any) -> None:
        value = self._pop()
        self._top(list).append(value)

    def add_all(self, _: Any) -> None:
        values = self._since_mark()
        self._top(list).extend(values)

    def set_one(self, _: Any) -> None:
        value, key = self._pop(), self._pop()
        self._guard.set_item(self._top(dict), key, value)

    def set_all(self, _: Any) -> None:
        parts = self._since_mark()
        self._guard.fill_dict(self._top(dict), parts[::2], parts[1::2])

    def add_members(self, _: Any) -> None:
        values = self._since_mark()
        self._guard.fill_set(self._top(set), values)

    def global_name(self, argument: Any) -> None:
        self._named(*argument.split(" ", 1))

    def stack_name(self, _: Any) -> None:
        name, module = self._pop(), self._pop()
        self._named(module, name)

    def call(self, _: Any) -> None:
        arguments = self._stack.pop()
        maker = self._stack.pop()
        if type(arguments) is _Arguments and maker is CONSTRUCTORS["numpy._core.multiarray._reconstruct"]:
            arguments = arguments.parts
        if type(arguments) is not tuple:
            raise ObjectRefused("arguments are a tuple")
        if isinstance(maker, Constructor):
            self._guard.count_copies(arguments)
            thing = maker.build(*arguments)
            self._stack.append(self._guard.set_of(maker.set_of, thing) if maker.set_of else thing)
        elif self._is_allowed(maker):
            # Enumerations look their arguments up, and print those that they do not know.
            self._guard.check(arguments, is_hashed=issubclass(maker, enum.Enum))
            self._stack.append(self._guard.made(maker(*arguments)))
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
        self._guard.check([*arguments, *keywords, *keywords.values()], is_hashed=issubclass(kind, enum.Enum))
        self._stack.append(self._guard.made(kind.__new__(kind, *arguments, **keywords)))

    def build(self, _: Any) -> None:
        state = self._pop()
        thing = self._stack[-1]
        if isinstance(thing, _object_arrays.Unfinished):
            if type(state) is tuple:
                self._guard.count_copies(state)
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
        for attributes in (state or {}, slots or {}):
            self._guard.check(attributes)
            self._guard.count_copies((attributes,))
            for name, value in attributes.items():
                if not isinstance(name, str) or name.startswith("__"):
                    raise ObjectRefused("not the name of an attribute")
                object.__setattr__(thing, name, value)

    def new_list(self, _: Any) -> None:
        self._stack.append(self._since_mark())

    def new_tuple(self, _: Any) -> None:
        self._stack.append(self._guard.tuple_of(self._since_mark()))

    def new_dict(self, _: Any) -> None:
        parts = self._since_mark()
        made: dict[Any, Any] = {}
        self._guard.fill_dict(made, parts[::2], parts[1::2])
        self._stack.append(made)

    def new_frozenset(self, _: Any) -> None:
        self._stack.append(self._guard.set_of(frozenset, self._since_mark()))

    def _is_allowed(self, thing: Any) -> bool:
        return isinstance(thing, type) and thing in self._kinds


_STEPS: Final[dict[str, Callable[[PickleMachine, Any], None]]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), PickleMachine.nothing),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), PickleMachine.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), PickleMachine.get),
    "MARK": PickleMachine.mark,
    "POP": PickleMachine.pop,
    "POP_MARK": PickleMachine.pop_mark,
    "DUP": PickleMachine.duplicate,
    "MEMOIZE": PickleMachine.memoize,
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_SET": lambda machine, _: machine.push(set()),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "LIST": PickleMachine.new_list,
    "TUPLE": PickleMachine.new_tuple,
    "DICT": PickleMachine.new_dict,
    "FROZENSET": PickleMachine.new_frozenset,
    "TUPLE1": lambda machine, _: machine.some(1),
    "TUPLE2": lambda machine, _: machine.some(2),
    "TUPLE3": lambda machine, _: machine.some(3),
    "APPEND": PickleMachine.add_one,
    "APPENDS": PickleMachine.add_all,
    "SETITEM": PickleMachine.set_one,
    "SETITEMS": PickleMachine.set_all,
    "ADDITEMS": PickleMachine.add_members,
    "GLOBAL": PickleMachine.global_name,
    "STACK_GLOBAL": PickleMachine.stack_name,
    "REDUCE": PickleMachine.call,
    "NEWOBJ": PickleMachine.new,
    "NEWOBJ_EX": PickleMachine.new_keywords,
    "BUILD": PickleMachine.build,
}
