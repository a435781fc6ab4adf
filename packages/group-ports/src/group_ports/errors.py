"""What this package raises beside Python's own errors.

::

    Exception
    └── GroupError
        ├── OperationError          this port does not do that: wrong direction, or not its trade
        ├── ObjectRefused           (also ValueError) an object came that is not allowed or not whole
        └── PortError               (also OSError) a send, a receive or an address failed; `errno` says why
            └── PortTimeout         (also TimeoutError) nothing moved in time; `errno` is EAGAIN

The names `OperationError` and `PortError`, its constructor and its constants
are those of RIAPS pycom 2.0.0. Messages that a peer must not send never raise:
they are dropped and counted (`PortStatistics`).
"""

from __future__ import annotations

from typing import Final

import zmq

__all__ = ["GroupError", "ObjectRefused", "OperationError", "PortError", "PortTimeout"]


class GroupError(Exception):
    """Whatever goes wrong in this package."""


class OperationError(GroupError):
    """A port was asked for what it does not do, such as a subscriber to send."""


class ObjectRefused(GroupError, ValueError):
    """A received object was not built: not plain data, not allowed, too big, or damaged."""


class PortError(GroupError, OSError):
    """A port could not do what it was asked for.

    Parameters
    ----------
    message : str
        What happened, for a person.
    errno : int
        Why, as ZeroMQ numbers it.

    Attributes
    ----------
    EAGAIN : int
        Nothing moved in time.
    EPROTO : int
        Not now: the socket is in another state.
    ETERM : int
        The context was ended.
    EFAULT : int
        Bad address.
    EROUTE : int
        Nobody of that identity is connected.
    ECLOSED : int
        The port has no socket: not set up, closed, or of another process.
    """

    EAGAIN: Final[int] = int(zmq.EAGAIN)
    EPROTO: Final[int] = int(zmq.EFSM)
    ETERM: Final[int] = int(zmq.ETERM)
    EFAULT: Final[int] = int(zmq.EFAULT)
    EROUTE: Final[int] = int(zmq.EHOSTUNREACH)
    ECLOSED: Final[int] = int(zmq.ENOTSOCK)

    def __init__(self, message: str, errno: int) -> None:
        super().__init__(errno, message)
        self.message = message

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[type[PortError], tuple[str, int | None]]:
        return type(self), (self.message, self.errno)


class PortTimeout(PortError, TimeoutError):
    """Nothing moved in time."""


def port_error(what: str, error: zmq.ZMQError) -> PortError:
    """Translate an error of ZeroMQ; `what` was ``"send"``, ``"recv"`` or the like."""
    number = error.errno or 0
    kind = PortTimeout if number == PortError.EAGAIN else PortError
    return kind(f"{what} error ({number}): {error.strerror}", number)
