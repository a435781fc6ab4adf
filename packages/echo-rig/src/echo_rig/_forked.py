"""Ends in a forked child: their sockets, and what waits for them, are the parent's.

A child gets copies of all descriptors. Whatever it sends passes for the parent's,
and what it tells a selector holds for the parent's too, which have it in common.
So an end is of no use in a child, and says so: from the moment of the fork on,
so that no message has to ask which process it is in.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

from echo_rig.errors import ForeignProcessError

if TYPE_CHECKING:
    from collections.abc import Iterable


class Abandoned(Protocol):
    """What is of no use in a forked child."""

    def _abandon(self) -> None:
        """Say so from now on, and let go of the child's copies of sockets."""
        ...


#: The ends of this process.
_here: Final[weakref.WeakSet[Abandoned]] = weakref.WeakSet()


def abandon_in_children(one: Abandoned) -> None:
    """Have it abandoned in each child that is forked from now on, as long as it lives."""
    _here.add(one)


def foreign(name: str) -> ForeignProcessError:
    """Return what using the end of that name fails with in a forked child."""
    return ForeignProcessError(f"{name} was made before this process was forked: make another one here")


def refuse_copy(name: str) -> NoReturn:
    """Raise what pickling or copying the end of that name fails with, and so handing it to a spawned child.

    Raises
    ------
    TypeError
        Always.
    """
    raise TypeError(f"{name} cannot be pickled or copied: make another one where it is needed")


def let_go(descriptors: Iterable[int]) -> None:
    """Close copies of sockets that objects of somebody else's will want to close again.

    Put something harmless in their place: a number that is free would soon be
    another file's. The other end notices the parent's death then, not the child's.
    """
    with contextlib.suppress(OSError):  # no descriptor is left: the copies stay
        nothing = os.open(os.devnull, os.O_RDWR)
        try:
            for descriptor in descriptors:
                if descriptor >= 0:
                    os.dup2(nothing, descriptor, inheritable=False)
        finally:
            os.close(nothing)


def _abandon_all() -> None:
    for one in list(_here):
        one._abandon()
    _here.clear()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_abandon_all)
