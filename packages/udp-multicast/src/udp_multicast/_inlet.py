"""The receiving end of a socket: takes datagrams, waits with a deadline, and can be closed meanwhile."""

from __future__ import annotations

import contextlib
import errno
import math
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Final, NoReturn

from udp_multicast import _batch, _options
from udp_multicast._waiting import is_readable, wait_readable
from udp_multicast.errors import ForeignProcessError, ReceiverClosed

if TYPE_CHECKING:
    from collections.abc import Callable

#: Bytes. No datagram, and no batch of them, is longer.
BUFFER_SIZE: Final = 65535
#: Seconds that closing waits for another thread, or its event loop, to leave the socket.
LEAVE_S: Final = 1.0


class Inlet:
    """Takes datagrams from a socket that belongs to somebody else.

    A second descriptor of the same socket is used, which for Python has no
    timeout: with one, Python would ask the system whether there is a datagram
    before each time that it takes one, which doubles the cost. Here the
    datagram is tried for first, and waited for only when there is none.

    Parameters
    ----------
    owner : socket.socket
        Bound. Its `gettimeout` counts for waiting.

    Attributes
    ----------
    turn : threading.RLock
        Who receives must hold it: there is one buffer. Reentrant, so that a
        callback may close the receiver that called it.
    buffer : memoryview
        Where `take` puts the datagram.
    take : callable
        ``take(buffer, 0, flags) -> (size, sender)``, or BlockingIOError.
    wait_flags, no_wait_flags : int
        For `take`: when it may wait without end, if the socket has no timeout
        and the system a way to wake it; and when it may not.
    wakers : set of callable
        Called when the inlet is closed; for who waits elsewhere.
    in_a_row : int
        Readouts that were returned to an event loop without a wait.
    is_closing : bool
        What `take` returns now means nothing.

    Notes
    -----
    `close` may come from any thread; everything else needs the turn.
    """

    def __init__(self, owner: socket.socket) -> None:
        self._owner = owner
        self._twin = socket.socket(owner.family, owner.type, owner.proto, fileno=socket.dup(owner.fileno()))
        # The twin's timeout is Python's alone, but the mode of the descriptor
        # is shared: it has to be that of the owner in the end.
        self._twin.settimeout(None)
        owner.settimeout(owner.gettimeout())
        self.turn = threading.RLock()
        self.buffer = memoryview(bytearray(BUFFER_SIZE))
        self.is_closing = False
        self.is_foreign = False
        self.has_gro = False
        self.wakers: set[Callable[[], object]] = set()
        self.in_a_row = 0
        self._gro_asked = False
        no_wait = _options.MSG_DONTWAIT
        self.take: Callable[[memoryview, int, int], tuple[int, Any]] = (
            self._take_if_there if no_wait is None else self._twin.recvfrom_into
        )
        self.no_wait_flags = no_wait or 0
        # Only on Linux does shutting down wake who waits inside the kernel.
        self.wait_flags = 0 if _options.LINUX else self.no_wait_flags

    def _take_if_there(self, buffer: memoryview, size: int, flags: int) -> tuple[int, Any]:
        """Take a datagram where no flag makes the system not wait."""
        if not is_readable(self._twin.fileno(), 0.0):
            raise BlockingIOError(errno.EWOULDBLOCK, "no datagram")
        return self._twin.recvfrom_into(buffer, size, flags)

    def fileno(self) -> int:
        """Return the second descriptor; -1 when closed."""
        return self._twin.fileno()

    def deadline(self) -> float:
        """Return the end of a wait that begins now, by the owner's timeout."""
        timeout = self._owner.gettimeout()
        return math.inf if timeout is None else time.monotonic() + timeout

    def await_turn(self, deadline: float) -> None:
        """Take the turn, when the thread that has it is done.

        Raises
        ------
        ReceiverClosed, ForeignProcessError
            The socket was closed.
        TimeoutError, BlockingIOError
            The deadline passed.
        """
        left = min(max(deadline - time.monotonic(), 0.0), threading.TIMEOUT_MAX)
        if not self.turn.acquire(timeout=left):
            self._give_up()
        if self.is_closing:
            self.turn.release()
            self.raise_closed()

    def await_datagram(self, deadline: float | None) -> float:
        """Wait until there is something to take.

        Parameters
        ----------
        deadline : float or None
            On the monotonic clock; -inf not to wait at all. None: this wait is the first, and the
            timeout of the socket begins to run.

        Returns
        -------
        float
            The deadline, for the next time.

        Raises
        ------
        TimeoutError
            It passed.
        BlockingIOError
            It passed, and the socket is one that does not wait.
        ReceiverClosed, ForeignProcessError
            The socket was closed.
        """
        if deadline is None:
            deadline = self.deadline()
        if not self.is_closing and deadline == -math.inf:
            self._give_up()
        if not self.is_closing and not wait_readable(self._twin.fileno(), deadline, lambda: self.is_closing):
            self._give_up()
        # A socket that was shut down is always readable, and never has anything to read.
        if self.is_closing:
            self.raise_closed()
        return deadline

    def check(self, deadline: float | None) -> float:
        """Return the deadline, as `await_datagram`; raise if it passed, even with datagrams there.

        For whoever goes on after a datagram that did not count: a flood of
        such must not keep him for ever.
        """
        if deadline is None:
            deadline = self.deadline()
        elif time.monotonic() >= deadline:
            self._give_up("no readout among the first datagrams")
        return deadline

    def _give_up(self, why: str = "no datagram") -> NoReturn:
        if self._owner.gettimeout() == 0:
            raise BlockingIOError(errno.EWOULDBLOCK, why)
        raise TimeoutError(errno.ETIMEDOUT, f"{why} in time")

    def enable_gro(self) -> None:
        """Take batches from now on, if the kernel has them."""
        if not self._gro_asked:
            self._gro_asked = True
            self.has_gro = _batch.enable_gro(self._twin)

    def take_batch(self, flags: int) -> tuple[bytes, int, Any]:
        """Take one datagram, or several that arrived together.

        Returns
        -------
        data : bytes
            All of them.
        size : int
            Bytes of each but the last, 0 if it is one.
        sender : tuple
            Address.
        """
        length, size, sender = self.fill(flags)
        return bytes(self.buffer[:length]), size, sender

    def fill(self, flags: int) -> tuple[int, int, Any]:
        """Do what `take_batch` does, but leave the data in `buffer` and return their length."""
        if not self.has_gro:
            length, sender = self.take(self.buffer, 0, flags)
            return length, 0, sender
        length, ancillary, _, sender = self._twin.recvmsg_into([self.buffer], _batch.ANCILLARY_SIZE, flags)
        return length, _batch.part_size(ancillary) if ancillary else 0, sender

    def raise_closed(self) -> NoReturn:
        """Say why nothing can be received any more."""
        if self.is_foreign:
            raise ForeignProcessError(
                "the receiver was made before this process was forked: make another one here"
            )
        raise ReceiverClosed

    def close(self, *, wake: bool = True) -> None:
        """Wake whoever waits, and close the second descriptor; may be called again.

        Parameters
        ----------
        wake : bool
            Shut the socket down, for all its descriptors.
        """
        if self.is_closing:
            return
        self.is_closing = True
        if wake:
            # It says that the socket is not connected, and wakes the waiter all the same.
            with contextlib.suppress(OSError):
                self._twin.shutdown(socket.SHUT_RDWR)
        for waker in list(self.wakers):
            waker()
        # Not before he left: his descriptor might be another file's by then.
        left = self.turn.acquire(timeout=LEAVE_S)
        try:
            self._twin.close()
        finally:
            if left:
                self.turn.release()

    def abandon(self) -> None:
        """Close the second descriptor in a forked child: the parent goes on receiving."""
        self.is_closing = self.is_foreign = True
        self.turn = threading.RLock()
        self._twin.close()
