"""What every communicator does, whatever moves its bytes: read messages and tell callbacks."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import warnings
import weakref
from abc import abstractmethod
from typing import Any, Final

from echo_rig._coroutine_tasks import CoroutineTasks
from echo_rig._forked import foreign
from echo_rig._log_text import WITHHELD, elided, event_name, shown_message, shown_remote_error, text_of
from echo_rig._party import Party
from echo_rig._quiet_log import QuietLogger
from echo_rig.callbacks import Callback, CallbackRegistry
from echo_rig.events import EventStream
from echo_rig.uri import IPAddress, join_uri
from wireframe.echo import EventMessage, ExpMessage, decode_event, is_ping
from wireframe.errors import BadPayload

__all__ = ["Communicator"]

#: Characters of an error's text that travel; it must fit into a datagram in any spelling.
MAX_ERROR_TEXT: Final = 2000
#: All events; 0, the error, is not among them.
ANY_EVENT: Final = ExpMessage.any()


class Communicator(Party):
    """One end of a conversation about experiments.

    Subclasses move the bytes: they implement `send`, `is_connected` and the
    operations of `Service`, and hand each message that came to `_receive`.

    Parameters
    ----------
    server_uri : str or IP address
        Where the server listens, see `validate_uri`. A name is looked up,
        which blocks: in a running event loop, look it up before.
    name : str, optional
        What people call it, also in the log; `server_uri` as given by default.
    logger : logging.Logger, optional
        ``logging.getLogger(name)`` by default.

    Attributes
    ----------
    server_uri : str
        ``scheme://host:port`` of the server, at both ends.
    schemes : tuple of str
        Schemes that this class has a transport for.

    Raises
    ------
    ValueError
        The URI is not one, or of another scheme than `schemes`.
    TypeError
        The URI is no text and no address.

    Notes
    -----
    To be used in one thread, that of the event loop. Callbacks run at once, in
    the order in which they were assigned. What a callback returns is ignored,
    except a coroutine: it becomes a task. Whatever a callback raises is logged
    and told to who sent the event.
    """

    __slots__ = (
        "_callbacks",
        "_callbacks_closed",
        "_quiet",
        "_registry",
        "_streams",
        "_tasks",
    )

    #: Whether this is a forked child, and the sockets are the parent's.
    _is_foreign = False

    def __init__(
        self, server_uri: str | IPAddress, name: str | None = None, logger: logging.Logger | None = None
    ) -> None:
        super().__init__(server_uri, name, logger)
        self._registry = CallbackRegistry()
        self._callbacks = self._registry.entries
        self._callbacks_closed = False
        self._streams: weakref.WeakSet[EventStream] = weakref.WeakSet()
        self._tasks = CoroutineTasks()
        self._quiet = QuietLogger(self.logger)

    @property
    @abstractmethod
    def is_connected(self) -> bool:
        """Whether messages can be sent now."""

    @abstractmethod
    def send(self, data: Any, addr: tuple[str, int] | None = None) -> Any:
        """Send a message, without waiting for its echo."""

    def assign_callback(self, event: ExpMessage | int | str, callback: Callback) -> None:
        """Call a function, or set a future, when an event comes.

        Parameters
        ----------
        event : ExpMessage, int or str
            One event, several together, or 0 for errors that the other end reports.
        callback : callable or Future
            Called as ``callback(data, addr)``, or if there are several events
            as ``callback(data, addr, event)``. `data` is a list. A future is
            set to the same tuple, once.

        Raises
        ------
        TypeError
            `callback` is neither callable nor a future.
        ValueError
            There is no such event.
        ForeignProcessError
            This is a forked child.
        """
        self._require_own_process()
        self._registry.assign(event, callback)

    def clear_callbacks(
        self, event: ExpMessage | int | str, callback: Callback | None = None, cancel_futures: bool = True
    ) -> int:
        """Forget the callbacks of an event, or only one of them.

        Parameters
        ----------
        event : ExpMessage, int or str
            One event, several together, or 0.
        callback : callable or Future, optional
            All by default.
        cancel_futures : bool
            Cancel the futures among them.

        Returns
        -------
        int
            How many were removed.

        Raises
        ------
        ValueError
            There is no such event.
        """
        removed = self._registry.clear(event, callback, cancel_futures)
        self.logger.debug("[%s] %d callbacks cleared", self.name, removed)
        return removed

    async def on_event(self, event: ExpMessage | int | str) -> Any:
        """Wait for an event.

        Parameters
        ----------
        event : ExpMessage, int or str
            One event, several together, or 0.

        Returns
        -------
        tuple
            ``(data, addr)``, or ``(data, addr, event)`` if there are several events.

        Raises
        ------
        ConnectionError
            The communicator was closed before.
        asyncio.CancelledError
            It was closed meanwhile.
        ValueError
            There is no such event.
        """
        self._require_open()
        future = asyncio.get_running_loop().create_future()
        self._registry.assign(event, future)
        try:
            return await future
        finally:
            self._registry.clear(event, future)

    def events(
        self,
        event: ExpMessage | int | str = ANY_EVENT,
        *,
        max_queued: int = 1024,
    ) -> EventStream:
        """Return the events that come from now on, as an asynchronous iterator.

        Parameters
        ----------
        event : ExpMessage, int or str
            One event, several together, or 0 for errors that the other end reports.
        max_queued : int
            How many to keep for a reader that is slower than they come; the
            oldest are dropped, and counted in its `dropped`.

        Raises
        ------
        ConnectionError
            The communicator is closed.
        ValueError
            There is no such event, or `max_queued` is below 1.
        """
        self._require_open()
        stream = EventStream(ExpMessage.validate(event), max_queued)
        self._streams.add(stream)
        return stream

    def close(self) -> None:
        """Forget all callbacks, cancel futures and coroutine callbacks, end streams of events."""
        self._callbacks_closed = True
        self._registry.close()
        for stream in tuple(self._streams):
            stream.close()
        self._tasks.close()

    def _require_own_process(self) -> None:
        if self._is_foreign:
            raise foreign(self.name)

    def _require_open(self) -> None:
        self._require_own_process()
        if self._callbacks_closed:
            raise ConnectionError(f"{self.name} is closed")

    def _receive(self, data: bytes, addr: tuple[str, int]) -> None:
        """Tell the callbacks of one message; a bad one costs a log record and nothing else."""
        try:
            message = _decode_message(data)
        except BadPayload as error:
            if not is_ping(data):
                self._drop(data, addr, error)
            return
        event = message.event
        if not event:
            name, text = shown_remote_error(message.arguments)
            self.logger.error("Callback for %s on %s failed with %s", name, self._where(addr), text)
        elif self.logger.isEnabledFor(logging.INFO):
            self.logger.info("Received %s from %s", shown_message(event, data), self._where(addr))
        self._dispatch(event, message.arguments, addr)

    def _dispatch(self, event: ExpMessage, data: list[Any], addr: tuple[str, int]) -> None:
        streams = (
            sum(stream.offer(event, data, addr) for stream in tuple(self._streams)) if self._streams else 0
        )
        outcome = self._registry.run(event, data, addr)
        for _ in outcome.resolved:
            # Not the future itself: what it was set to may hold a token.
            self.logger.warning("Future for %s already resolved", event_name(event))
        for callback, error in outcome.failures:
            self._report(repr(callback), event, addr, error)
        for coroutine in outcome.coroutines:
            callback_name = getattr(coroutine, "__qualname__", repr(coroutine))
            self._tasks.run(coroutine, functools.partial(self._report, callback_name, event, addr))
        if not (outcome.ran or streams):
            self.logger.debug("No callbacks to execute for event %s", event_name(event))

    def _drop(self, data: bytes, addr: tuple[str, int], error: BadPayload) -> None:
        # What cannot be read could be anything, a broken message with a token too; so it is not shown.
        reason = elided(error)
        self._quiet.warn(
            addr[0], reason, "Dropped %d bytes from %s: %s", len(data), self._where(addr), reason
        )
        # Where warnings are errors, a peer must not be able to raise one here.
        with contextlib.suppress(RuntimeWarning):
            warnings.warn("Expected list of an event and its data", RuntimeWarning, stacklevel=3)

    def _report(self, callback: str, event: ExpMessage, addr: tuple[str, int], error: BaseException) -> None:
        """Log what a callback raised and tell who sent the event."""
        text = text_of(error, event)
        # A traceback ends with the text.
        trace = None if text == WITHHELD else error
        self.logger.error('Callback "%s" failed with error "%s"', elided(callback), text, exc_info=trace)
        message = self.encode([0, f"{type(error).__name__}: {text[:MAX_ERROR_TEXT]}", event])
        try:
            self.send(message, addr)
        except Exception as failure:  # noqa: BLE001 - whatever the transport raises, the other callbacks go on
            self.logger.warning("Could not tell %s of it: %s", self._where(addr), failure)

    def _where(self, addr: tuple[str, int]) -> str:
        return join_uri(self.protocol, addr[0], addr[1])


def _decode_message(data: bytes) -> EventMessage:
    message = decode_event(data)
    if not message.event and len(message.arguments) < 2:
        raise BadPayload("Expected text and event of an error", data)
    return message
