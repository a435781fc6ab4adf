"""What this package raises beside Python's own errors.

::

    OSError
    ├── AddressError            (also ValueError) not a group, interface or source that can be used
    ├── DatagramTooLarge        (also ValueError) more bytes than one datagram carries
    ├── UnsupportedHere         this operating system does not offer what was asked for
    ├── TimeoutError            Python's own: nothing came in time
    └── ConnectionError
        └── ReceiverClosed      the receiver was closed, before or while somebody waited
    RuntimeError
    ├── ForeignProcessError     used in a child process that was forked after its creation
    └── ReceiverBusy            two tasks wait for one receiver at once

What a *peer* sent is judged by the readout class; the ready ones of this
package, and the size limit of `MulticastReceiver.receive`, raise
`wireframe.FrameError`. In tolerant mode none of that comes out.
"""

from __future__ import annotations

import errno
import os

__all__ = [
    "AddressError",
    "DatagramTooLarge",
    "ForeignProcessError",
    "ReceiverBusy",
    "ReceiverClosed",
    "UnsupportedHere",
]


class AddressError(OSError, ValueError):
    """A group, interface or source address that cannot be used; the message says why.

    Parameters
    ----------
    reason : str
        What is wrong, for a person.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(errno.EINVAL, reason)
        self._reason = reason

    def __reduce__(self) -> tuple[type[AddressError], tuple[str]]:
        return type(self), (self._reason,)


class DatagramTooLarge(OSError, ValueError):
    """More bytes than one datagram, or one datagram on this path, can carry.

    Parameters
    ----------
    size : int
        Bytes that were to be sent.
    limit : int
        Bytes that one datagram carries.

    Attributes
    ----------
    size, limit : int
        The two numbers.
    """

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(errno.EMSGSIZE, f"{size} bytes do not fit into one datagram of at most {limit}")
        self.size = size
        self.limit = limit

    def __reduce__(self) -> tuple[type[DatagramTooLarge], tuple[int, int]]:
        return type(self), (self.size, self.limit)


class UnsupportedHere(OSError):
    """The operating system does not offer what was asked for.

    Parameters
    ----------
    what : str
        The option or feature, by name.

    Attributes
    ----------
    what : str
        As given.
    """

    def __init__(self, what: str) -> None:
        super().__init__(errno.EOPNOTSUPP, f"{what}: not available on this operating system")
        self.what = what

    def __reduce__(self) -> tuple[type[UnsupportedHere], tuple[str]]:
        return type(self), (self.what,)


class ReceiverClosed(ConnectionError):
    """The receiver was closed, before or while somebody waited for a datagram."""

    def __init__(self) -> None:
        super().__init__(errno.EBADF, f"receiver is closed ({os.strerror(errno.EBADF)})")

    def __reduce__(self) -> tuple[type[ReceiverClosed], tuple[()]]:
        return type(self), ()


class ForeignProcessError(RuntimeError):
    """A receiver, or a channel's sender, was used in a child process that was forked after its creation.

    Two receivers would take each other's datagrams, two senders would give
    different messages the same numbers; make a new one in the child.
    """


class ReceiverBusy(RuntimeError):
    """Two tasks wait for one receiver at once."""
