"""A callback that is told which rig an event came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from echo_rig.callbacks import identity

if TYPE_CHECKING:
    from collections.abc import Callable

    from echo_rig.communicator import Communicator


class WithService:
    """A callback that gets its communicator behind the other arguments.

    Parameters
    ----------
    callback : callable
    service : Communicator

    Attributes
    ----------
    id : object
        By this, `clear_callbacks` finds it.
    """

    __slots__ = ("_callback", "_service", "id")

    def __init__(self, callback: Callable[..., Any], service: Communicator) -> None:
        self._callback = callback
        self._service = service
        self.id = identity(callback)

    def __call__(self, *arguments: Any) -> Any:
        """Call it."""
        return self._callback(*arguments, self._service)

    def __repr__(self) -> str:
        return repr(self._callback)
