"""Senders in a forked child: both processes would send the same numbers, and lose messages."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

from udp_multicast.errors import ForeignProcessError

if TYPE_CHECKING:
    from typing import Any


class Foreign:
    """What a sender has for a lock in a forked child, so that nothing has to be asked before each message."""

    def __enter__(self) -> NoReturn:
        raise ForeignProcessError("the sender was made before this process was forked: make another one here")

    def __exit__(self, *_: object) -> None:
        """Never happens."""


class Abandoned(Protocol):
    """What is of no use in a forked child."""

    def _abandon(self) -> None:
        """Say so from now on."""
        ...


#: Those of this process.
_here: Final[weakref.WeakSet[Any]] = weakref.WeakSet()


def abandon_in_children(one: Abandoned) -> None:
    """Have it abandoned in each child that is forked from now on, as long as it lives."""
    _here.add(one)


def _abandon_all() -> None:
    for one in list(_here):
        one._abandon()
    _here.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
