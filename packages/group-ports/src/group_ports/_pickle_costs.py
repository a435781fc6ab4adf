"""Bounds of what the objects of a peer may cost beyond the bytes that came.

Hashing a tuple goes through all its parts in C, as deep as they are nested: too
deep ends the process, and parts that are shared count each time, so a hundred
bytes can keep it busy for ever. Hashes of numbers are known to everybody, and
numbers or tuples of them can be chosen to fall on the same places of a dict; no
rule tells them from honest ones, so for large containers the time of the
processor is measured while they are filled. And what was sent once can be
copied a thousand times.
"""

from __future__ import annotations

import inspect
import time
from typing import TYPE_CHECKING, Any, Final

from group_ports.errors import ObjectRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

#: Levels of tuples, and of what is hashed; Python itself ends the process at some 20000 or 100000.
_DEEPEST: Final = 500
#: Parts of one nested tuple, shared ones counted each time; hashing them takes a tenth of a second.
_MOST_PARTS: Final = 10_000_000
#: Letters, bytes, or digits of 8 bits that cost as much as a part.
_LETTERS: Final = 1024
#: Entries that fill a container before the clock is asked again; so few are never a danger.
_PORTION: Final = 32
#: Such a hash looks at nothing.
_BY_IDENTITY: Final[Any] = object.__hash__
#: Of the processor, for all containers together; honest keys need less than a tenth of it for each part.
_SECONDS: Final = 0.25
_SECONDS_OF_PART: Final = 5e-6
#: Protocols 0 to 2 write bytes as text and an array as bytes, so each byte is copied twice; and twice more.
_COPIES: Final = 4
#: A part of a container is more than a letter; it came as at least one byte, which allows this much.
_PLACE: Final = 4


class CostGuard:
    """Makes the tuples, dicts and sets of one object.

    Parameters
    ----------
    allowed : frozenset of type
        Classes of the caller, whose hash may go through all attributes.
    max_parts : int
        Parts of keys and arguments at the most, all together, shared ones counted each time.
    """

    def __init__(self, allowed: frozenset[type], max_parts: int) -> None:
        self._allowed = allowed
        self._max_parts = max_parts
        self._parts = 0
        self._seconds_spent = 0.0
        self._left_to_copy = 0
        #: Levels and parts of tuples that contain others; the tuple itself, as its number is used again.
        self._nested: dict[int, tuple[int, int, Any]] = {}

    def begin(self, size: int) -> None:
        """Allow the copies that `size` bytes need."""
        self._left_to_copy = _COPIES * size

    # -- keys ---------------------------------------------------------------------------------------

    def check(self, things: Collection[Any], *, is_hashed: bool = True) -> None:
        """Refuse what takes too long to hash, to compare or to print.

        Without `is_hashed`, objects of allowed classes in it are left to whom they are given.
        """
        level, depth = things, 0
        while level:
            depth += 1
            self._parts += len(level)
            inner: list[Collection[Any]] = []
            for thing in level:
                kind = type(thing)
                if kind is str or kind is bytes:
                    self._parts += len(thing) // _LETTERS
                elif kind is int:
                    self._parts += thing.bit_length() // (8 * _LETTERS)
                elif kind in self._allowed:
                    if is_hashed and kind.__hash__ is not _BY_IDENTITY:
                        inner += (_attributes(thing), _contents(thing))
                elif kind is not float:
                    inner.append(_contents(thing))
            if self._parts + sum(map(len, inner)) > self._max_parts:
                raise ObjectRefused(f"keys of more than {self._max_parts} parts")
            level = [part for parts in inner for part in parts]
            if level and depth == _DEEPEST:
                raise ObjectRefused(f"keys of more than {_DEEPEST} levels")

    def set_item(self, target: dict[Any, Any], key: Any, value: Any) -> None:
        """Set this key to this value."""
        if type(key) is str and len(key) < _LETTERS:
            self._parts += 1  # the usual case, without the walk
        else:
            self.check((key,))
        if len(target) < _PORTION:
            target[key] = value
        else:
            self._timed(target.update, ((key, value),))

    def fill_dict(self, target: dict[Any, Any], keys: list[Any], values: list[Any]) -> None:
        """Set these keys to these values."""
        self.check(keys)
        self._fill(target, target.update, list(zip(keys, values, strict=True)))

    def set_of(self, kind: type[Any], members: list[Any] | tuple[Any, ...]) -> Any:
        """Return a set or a frozenset of these members."""
        made: set[Any] = set()
        self.fill_set(made, members)
        if kind is set:
            return made
        # The copy has other places, in which its members may fall together.
        return self.noted(self._timed(frozenset, made))

    def fill_set(self, target: set[Any], members: list[Any] | tuple[Any, ...]) -> None:
        """Add these members."""
        self.check(members)
        self._fill(target, target.update, members)

    def _fill(
        self,
        target: Collection[Any],
        update: Callable[[Iterable[Any]], None],
        entries: list[Any] | tuple[Any, ...],
    ) -> None:
        if len(target) + len(entries) <= _PORTION:
            update(entries)
            return
        for at in range(0, len(entries), _PORTION):
            self._timed(update, entries[at : at + _PORTION])

    def _timed(self, action: Callable[[Any], Any], argument: Any) -> Any:
        start = time.thread_time()
        made = action(argument)
        self._seconds_spent += time.thread_time() - start
        if self._seconds_spent > _SECONDS + _SECONDS_OF_PART * self._parts:
            raise ObjectRefused("keys that were chosen to fall on the same places")
        return made

    # -- tuples -------------------------------------------------------------------------------------

    def tuple_of(self, parts: Iterable[Any]) -> tuple[Any, ...]:
        """Return a tuple of these parts."""
        made = tuple(parts)
        self.noted(made)
        return made

    def noted(self, thing: Any) -> Any:
        """Return it; refuse a tuple or frozenset that nobody could hash, print or compare."""
        if not isinstance(thing, (tuple, frozenset)):
            return thing
        depth, count = 1, len(thing)
        for part in thing:
            if isinstance(part, (tuple, frozenset)):
                levels, parts, _ = self._nested.get(id(part)) or (1, len(part), part)
                depth = max(depth, 1 + levels)
                count += parts
        if depth > _DEEPEST or count > _MOST_PARTS:
            raise ObjectRefused(f"tuples of more than {_DEEPEST} levels or {_MOST_PARTS} parts")
        if depth > 1:
            self._nested[id(thing)] = (depth, count, thing)
        return thing

    # -- copies -------------------------------------------------------------------------------------

    def count_copies(self, parts: Iterable[Any]) -> None:
        """Count arguments that are copied, as a program can name them again and again."""
        for part in parts:
            if isinstance(part, (str, bytes, bytearray)):
                self._left_to_copy -= len(part)
            elif isinstance(part, (list, tuple, set, frozenset, dict)):
                self._left_to_copy -= _PLACE * len(part)
        if self._left_to_copy < 0:
            raise ObjectRefused("copies of more than there is")

    def made(self, thing: Any) -> Any:
        """Return what an allowed class made, which may be a copy or a tuple too."""
        self.count_copies((thing,))
        return self.noted(thing)


def _contents(thing: Any) -> Collection[Any]:
    if isinstance(thing, (tuple, list, frozenset, set)):
        return thing
    if isinstance(thing, dict):
        return [*thing.keys(), *thing.values()]
    if isinstance(thing, (str, bytes, bytearray)):
        return range(len(thing) // _LETTERS)
    return ()


def _attributes(thing: Any) -> list[Any]:
    found = list(getattr(thing, "__dict__", {}).values())
    for kind in type(thing).__mro__:
        for slot in vars(kind).values():
            if inspect.ismemberdescriptor(slot):
                try:
                    found.append(slot.__get__(thing))
                except AttributeError:
                    continue  # not set
    return found
