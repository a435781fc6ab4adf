"""Changes of the states of rigs, and who is told of them."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from echo_rig._bounded_stream import BoundedStream

if TYPE_CHECKING:
    from echo_rig._pulse import RigState

_log = logging.getLogger("echo_rig.heartbeat")


@dataclass(frozen=True, slots=True)
class RigChange:
    """A rig has come into another state.

    Attributes
    ----------
    name : str
        Of the rig.
    state, before : RigState
        Its state now, and the one before.
    at : float
        When it was noticed, in seconds of `time.monotonic`.
    """

    name: str
    state: RigState
    before: RigState
    at: float


#: What is told of a change.
OnChange: TypeAlias = Callable[[RigChange], Any]


class ChangeTeller:
    """Tells callbacks and streams of each change.

    Attributes
    ----------
    callbacks : list of callable
        Called as ``callback(change)``.
    """

    def __init__(self) -> None:
        self.callbacks: list[OnChange] = []
        self._streams: weakref.WeakSet[BoundedStream[RigChange]] = weakref.WeakSet()
        self._is_closed = False

    def stream(self, max_queued: int) -> BoundedStream[RigChange]:
        """Return the changes that come from now on, the last `max_queued` of them."""
        stream: BoundedStream[RigChange] = BoundedStream(max_queued)
        if self._is_closed:
            stream.close()
        self._streams.add(stream)
        return stream

    def tell(self, change: RigChange) -> None:
        """Tell everybody; what a callback raises is logged."""
        for stream in tuple(self._streams):
            stream.put(change)
        for callback in tuple(self.callbacks):
            try:
                callback(change)
            except Exception:  # noqa: BLE001 - whatever it raises, the others are told too
                _log.exception("Callback %r failed", callback)

    def close(self) -> None:
        """End the streams."""
        self._is_closed = True
        for stream in tuple(self._streams):
            stream.close()
