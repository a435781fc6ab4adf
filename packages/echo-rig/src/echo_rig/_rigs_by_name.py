"""Rigs by name: what `Services` and `sync.Rigs` have in common."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import NoReturn, TypeVar

from echo_rig._forked import refuse_copy
from echo_rig.communicator import Communicator
from echo_rig.service import Service

AnyRig = TypeVar("AnyRig", bound=Communicator)


class RigsByName(Service, Mapping[str, AnyRig]):
    """A fixed number of rigs, in the order in which they are asked.

    Parameters
    ----------
    name : str
        What people call all of them.
    rigs : iterable of Communicator

    Raises
    ------
    ValueError
        Two rigs have the same name.
    """

    __slots__ = ("_rigs", "timings")

    def __init__(self, name: str, rigs: Iterable[AnyRig]) -> None:
        self.name = name
        self.timings: dict[str, float] = {}
        self._rigs: dict[str, AnyRig] = {}
        for rig in rigs:
            if rig.name in self._rigs:
                raise ValueError(f"two rigs have the name {rig.name!r}")
            self._rigs[rig.name] = rig

    def __reduce__(self) -> NoReturn:
        """Raise TypeError: the rigs belong to this process."""
        refuse_copy(self.name)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {', '.join(map(str, self))}>"

    def __getitem__(self, name: str) -> AnyRig:
        return self._rigs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rigs)

    def __len__(self) -> int:
        return len(self._rigs)

    @property
    def is_connected(self) -> bool:
        """Whether there are rigs and all are connected."""
        return len(self) > 0 and all(rig.is_connected for rig in self.values())

    def close(self) -> None:
        """Close all rigs; also if closing one of them raises."""
        with contextlib.ExitStack() as stack:
            for rig in reversed(list(self.values())):
                stack.callback(rig.close)
