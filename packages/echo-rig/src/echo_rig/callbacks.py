"""Who wants to know of which event: functions, coroutine functions and futures.

A function gets ``(data, address)``. If it was assigned to several events at
once it gets ``(data, address, event)``. A future is set to the same tuple, once,
and is then forgotten for all events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from wireframe.echo import ExpMessage

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["Callback", "CallbackRegistry", "Outcome", "identity", "require_callback"]

#: What is called with ``(data, address)``, or with ``(data, address, event)``, or set to it.
Callback: TypeAlias = Callable[..., Any] | asyncio.Future[Any]


@dataclass(slots=True)
class Outcome:
    """What came of one event.

    Attributes
    ----------
    ran : int
        Callbacks called, also those that raised, and futures set.
    coroutines : list of coroutine
        What coroutine functions returned; they still have to be run.
    failures : list of (Callback, BaseException)
        Callbacks that raised, and what: exceptions, or a cancellation.
    resolved : list of Future
        Futures that were done before the event came.
    """

    ran: int = 0
    coroutines: list[Coroutine[Any, Any, Any]] = field(default_factory=list)
    failures: list[tuple[Callback, BaseException]] = field(default_factory=list)
    resolved: list[asyncio.Future[Any]] = field(default_factory=list)


def identity(callback: Callback) -> int:
    """Return the number by which a wrapper, in its attribute `id`, tells what it wraps: the hash.

    An object without a hash has its address instead.

    Examples
    --------
    >>> identity(print) == hash(print)
    True
    """
    try:
        return hash(callback)
    except TypeError:
        return id(callback)


def require_callback(callback: object) -> None:
    """Refuse what is neither a function nor a future.

    Raises
    ------
    TypeError
        It is neither.
    """
    if not (callable(callback) or asyncio.isfuture(callback)):
        raise TypeError(f"Callback must be callable or a Future, not {type(callback).__name__}")


def _single(event: ExpMessage) -> list[ExpMessage]:
    """Return the events that `event` is made of; 0 is one of its own."""
    return list(event) or [event]


class CallbackRegistry:
    """Callbacks by event.

    Needs no event loop. To be used by one thread.

    Attributes
    ----------
    entries : dict of ExpMessage to list of (callback, with_event)
        For 0 and every single event, in the order in which they were assigned.
        `with_event` is true if the callback gets the event as third item.

    Examples
    --------
    >>> registry = CallbackRegistry()
    >>> registry.assign("INIT", lambda data, address: print(data, address))
    >>> registry.run(ExpMessage.EXPINIT, [42], ("127.0.0.1", 11001)).ran
    [42] ('127.0.0.1', 11001)
    1
    >>> registry.clear("INIT")
    1
    """

    __slots__ = ("entries",)

    def __init__(self) -> None:
        self.entries: dict[ExpMessage, list[tuple[Callback, bool]]] = {
            event: [] for event in (ExpMessage(0), *ExpMessage)
        }

    def assign(self, event: ExpMessage | int | str, callback: Callback) -> None:
        """Call `callback`, or set it, whenever `event` comes.

        Parameters
        ----------
        event : ExpMessage, int or str
            One event, several together, or 0 for errors that the other end reports.
        callback : callable or Future

        Raises
        ------
        TypeError
            `callback` is neither callable nor a future.
        ValueError
            There is no such event.
        """
        event = ExpMessage.validate(event)
        require_callback(callback)
        singles = _single(event)
        for single in singles:
            self.entries[single].append((callback, len(singles) > 1))

    def clear(
        self, event: ExpMessage | int | str, callback: Callback | None = None, cancel_futures: bool = True
    ) -> int:
        """Forget callbacks.

        Parameters
        ----------
        event : ExpMessage, int or str
            One event, several together, or 0.
        callback : callable or Future, optional
            The one to forget: itself, or a wrapper whose `id` is the hash of
            it. All by default.
        cancel_futures : bool
            Cancel the futures among them, which are then forgotten for all events.

        Returns
        -------
        int
            How many entries were removed; for several events, the sum.

        Raises
        ------
        ValueError
            There is no such event.
        """
        removed = 0
        for single in _single(ExpMessage.validate(event)):
            leaving = [
                entry for entry in self.entries[single] if callback is None or _is_same(entry[0], callback)
            ]
            self.entries[single][:] = [
                entry for entry in self.entries[single] if not any(entry is one for one in leaving)
            ]
            removed += len(leaving)
            if cancel_futures:
                self._cancel([one for one, _ in leaving])
        return removed

    def close(self) -> None:
        """Forget all callbacks and cancel all futures; the empty lists stay."""
        leaving = [callback for entries in self.entries.values() for callback, _ in entries]
        for entries in self.entries.values():
            entries.clear()
        self._cancel(leaving)

    def run(self, event: ExpMessage, data: list[Any], address: Any) -> Outcome:
        """Tell every callback of an event, also if one before it raises.

        Parameters
        ----------
        event : ExpMessage
            One event, or 0.
        data : list
            The items of the message behind the event. All get the same list.
        address : tuple of (str, int)
            Who sent it.

        Returns
        -------
        Outcome
        """
        outcome = Outcome()
        entries = self.entries[event]
        for entry in tuple(entries):
            if not any(entry is one for one in entries):
                continue  # Forgotten meanwhile, by a callback before it.
            callback, with_event = entry
            arguments = (data, address, event) if with_event else (data, address)
            if asyncio.isfuture(callback):
                self._forget(callback)
                if callback.done():
                    outcome.resolved.append(callback)
                    continue
            outcome.ran += 1
            try:
                result = _tell(callback, arguments)
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever it is, it is the callback's
                outcome.failures.append((callback, error))
            else:
                if asyncio.iscoroutine(result):
                    outcome.coroutines.append(result)
        return outcome

    def _forget(self, future: asyncio.Future[Any]) -> None:
        """Remove a future from all events."""
        for entries in self.entries.values():
            entries[:] = [entry for entry in entries if entry[0] is not future]

    def _cancel(self, callbacks: list[Callback]) -> None:
        for callback in callbacks:
            if asyncio.isfuture(callback):
                self._forget(callback)
                # Who waits in a loop that is closed cannot be woken, and trying to raises.
                if not callback.get_loop().is_closed():
                    callback.cancel()


def _tell(callback: Callback, arguments: tuple[Any, ...]) -> Any:
    return callback.set_result(arguments) if asyncio.isfuture(callback) else callback(*arguments)


def _is_same(entry: Callback, callback: Callback) -> bool:
    return bool(entry == callback) or getattr(entry, "id", None) == identity(callback)
