"""What a pickle may name and call: constructors of plain data that stand for callables of the same name.

None of them takes a size from the peer, or makes more than the parts that are there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from group_ports import _object_arrays
from group_ports.errors import ObjectRefused

if TYPE_CHECKING:
    from collections.abc import Callable


class Constructor:
    """A constructor of plain data that stands for a callable of the same name.

    Parameters
    ----------
    build : callable
        Makes it out of the arguments.
    set_of : type or None
        set or frozenset, if `build` returns only the members, still to be hashed.
    """

    __slots__ = ("build", "set_of")

    def __init__(self, build: Callable[..., Any], set_of: type[Any] | None = None) -> None:
        self.build, self.set_of = build, set_of


def _bytearray(*parts: Any) -> bytearray:
    # A number would be a size, and text of protocol 2 comes with its encoding.
    if not parts:
        return bytearray()
    if isinstance(parts[0], bytes) and len(parts) == 1:
        return bytearray(parts[0])
    return bytearray(_latin(*parts))


def _latin(text: Any, encoding: Any) -> bytes:
    if type(text) is not str or type(encoding) is not str or encoding not in ("latin1", "latin-1"):
        raise ObjectRefused("bytes are text in latin1 or themselves")
    return text.encode("latin1")


def _bytes(*parts: Any) -> bytes:
    if parts:
        raise ObjectRefused("bytes are built from nothing else")
    return b""


def _members(members: Any = ()) -> Any:
    if not isinstance(members, (list, tuple)):
        raise ObjectRefused("a set is built from a list")
    return members


def _complex(real: Any, imaginary: Any) -> complex:
    if not (isinstance(real, float) and isinstance(imaginary, float)):
        raise ObjectRefused("a complex number is two numbers")
    return complex(real, imaginary)


CONSTRUCTORS: Final[dict[str, Constructor]] = {
    f"{module}.{name}": plain
    for modules, name, plain in (
        (("builtins", "__builtin__"), "bytearray", Constructor(_bytearray)),
        (("builtins", "__builtin__"), "bytes", Constructor(_bytes)),
        (("builtins", "__builtin__"), "complex", Constructor(_complex)),
        (("builtins", "__builtin__"), "set", Constructor(_members, set)),
        (("builtins", "__builtin__"), "frozenset", Constructor(_members, frozenset)),
        (("_codecs",), "encode", Constructor(_latin)),
        *((modules, name, Constructor(build)) for modules, name, build in _object_arrays.CONSTRUCTORS),
    )
    for module in modules
}
