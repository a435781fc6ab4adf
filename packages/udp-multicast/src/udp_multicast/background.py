"""Receiving in a thread, for programs that draw: a queue with a bound."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final, Generic, Self, TypeVar

from udp_multicast.errors import ForeignProcessError, ReceiverClosed

if TYPE_CHECKING:
    from types import TracebackType

    from udp_multicast.receiver import MulticastReceiver

__all__ = ["BackgroundReceiver"]

#: Readouts the queue holds unless told otherwise.
DEFAULT_MAX_QUEUED: Final = 1024

#: Seconds that closing waits for the thread, which a readout class may keep.
_LEAVE_S: Final = 1.0

R = TypeVar("R")
_log = logging.getLogger(__name__)


class BackgroundReceiver(Generic[R]):
    """Receives in a thread and keeps the newest readouts for a display loop.

    Parameters
    ----------
    receiver : MulticastReceiver
        Belongs to this object from now on, and is closed with it.
    max_queued : int
        Readouts kept. When there are more, the oldest are dropped and counted.
        It bounds their number, not their memory: what a readout class makes of
        a datagram may be larger, `JsonReadout` up to some 25 times.

    Raises
    ------
    ValueError
        `max_queued` is less than 1.

    Notes
    -----
    Any thread may use it. A context manager; `close` ends the thread. After a
    fork the child cannot use it; the parent goes on.

    Examples
    --------
    >>> from udp_multicast import MulticastReceiver, MulticastSender, RawBytes
    >>> receiver = MulticastReceiver(RawBytes, "239.1.1.1", 0, interface="127.0.0.1")
    >>> with BackgroundReceiver(receiver) as queue:
    ...     with MulticastSender("239.1.1.1", receiver.port, interface="127.0.0.1") as sender:
    ...         _ = sender.send_data(b"event 1")
    ...     queue.get(timeout=5), queue.drain(), queue.dropped
    (RawBytes(b'event 1'), [], 0)
    """

    def __init__(self, receiver: MulticastReceiver[R], max_queued: int = DEFAULT_MAX_QUEUED) -> None:
        if max_queued < 1:
            raise ValueError(f"a queue holds at least 1 readout, not {max_queued}")
        self.receiver = receiver
        self._queue: deque[R] = deque(maxlen=max_queued)
        self._max_queued = max_queued
        self._changed = threading.Condition()
        self._dropped = 0
        self._is_over = False
        self._failure: BaseException | None = None
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._run, name="udp-multicast receiver", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        failure: BaseException | None = None
        try:
            while True:
                try:
                    readout = self.receiver.receive()
                except TimeoutError:
                    continue  # there is no hurry here; `get` has a timeout of its own
                with self._changed:
                    if len(self._queue) == self._max_queued:
                        self._dropped += 1
                    self._queue.append(readout)
                    self._changed.notify()
        except ReceiverClosed:
            pass
        except BaseException as error:  # noqa: BLE001 - whoever asks for readouts has to know
            failure = error
        with self._changed:
            self._failure = failure
            self._is_over = True
            self._changed.notify_all()

    @property
    def dropped(self) -> int:
        """Readouts that were dropped because nobody fetched them in time."""
        return self._dropped

    @property
    def queued(self) -> int:
        """Readouts that wait to be fetched."""
        return len(self._queue)

    def get(self, timeout: float | None = None) -> R:
        """Wait for the oldest readout in the queue.

        Parameters
        ----------
        timeout : float or None
            Seconds; None for ever.

        Raises
        ------
        TimeoutError
            None came.
        ReceiverClosed
            The receiver was closed, and the queue is empty.
        ForeignProcessError
            This process was forked after the receiver was made.
        Exception
            What ended the thread, such as an error of a strict receiver. The
            readouts before it come first.
        """
        self._require_own_process()
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not self._queue:
                if self._is_over:
                    raise ReceiverClosed if self._failure is None else self._failure
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError("no readout in time")
                self._changed.wait(None if left is None else min(left, threading.TIMEOUT_MAX))
            return self._queue.popleft()

    def drain(self) -> list[R]:
        """Return all readouts in the queue, the oldest first, without waiting.

        Raises
        ------
        ForeignProcessError
            This process was forked after the receiver was made.
        Exception
            The queue is empty, and the thread ended with this error.
        """
        self._require_own_process()
        with self._changed:
            readouts = list(self._queue)
            self._queue.clear()
            if not readouts and self._failure is not None:
                raise self._failure
            return readouts

    def _require_own_process(self) -> None:
        # The thread is the parent's, and so is whoever holds the lock.
        if os.getpid() != self._process:
            raise ForeignProcessError(
                "the receiver was made before this process was forked: make another one here"
            )

    def close(self) -> None:
        """Close the receiver and end the thread; may be called again.

        What is queued can still be fetched. Returns within about two seconds:
        a thread that a readout class keeps longer ends after that, and this is
        logged.
        """
        self.receiver.close()
        if os.getpid() != self._process:
            return
        if threading.current_thread() is not self._thread:
            self._thread.join(_LEAVE_S)
            if self._thread.is_alive():
                _log.warning("closed, but the readout class is still busy with a datagram")
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
