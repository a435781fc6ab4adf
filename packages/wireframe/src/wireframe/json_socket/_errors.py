"""What happens to connections, as exceptions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wireframe.errors import TruncatedFrame


class BrokenConnection(ConnectionError, RuntimeError):
    """The connection ended, or never was, when it was needed.

    It is a RuntimeError because that is what the original raises.

    Parameters
    ----------
    message : str
        What happened, for a person.
    peer : str
        Address of the other side, such as ``"127.0.0.1:61981"``; empty if
        there is none.
    received : int
        Bytes of an unfinished frame that had arrived.

    Attributes
    ----------
    peer : str
    received : int
    """

    def __init__(self, message: str, peer: str = "", received: int = 0) -> None:
        super().__init__(message)
        self.peer = peer
        self.received = received


class SocketClosed(BrokenConnection):
    """We closed it ourselves, before the call or while it waited."""


def cut_short(peer: str, truncated: TruncatedFrame) -> BrokenConnection:
    """Say that `peer` went away inside a frame; raise it from `truncated`."""
    return BrokenConnection(
        f"{peer} closed the connection after {truncated.got} of at least {truncated.expected} bytes",
        peer,
        truncated.got,
    )
