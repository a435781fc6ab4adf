"""A port that hears many and writes to one of them, by the identity that ZeroMQ puts in front."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import zmq

from group_ports._port import GroupPort
from group_ports.errors import PortError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from group_ports._reception import Arrival

_MAX_IDENTITY: Final = 255


class RoutedPort(GroupPort):
    """A port that many may write to; takes the parameters of `GroupPort`."""

    def get_identity(self) -> bytes | None:
        """Return the member that `sendToMember` writes to: the last one heard, or set; or None."""
        return self._sender

    def set_identity(self, identity: bytes) -> None:
        """Choose the member that `sendToMember` writes to.

        Parameters
        ----------
        identity : bytes
            As `get_identity` returned it; the member id of members of this package.

        Raises
        ------
        TypeError, ValueError
            Not 1 to 255 bytes.
        """
        if not isinstance(identity, bytes):
            raise TypeError(f"an identity is bytes, not {type(identity).__name__}")
        if not 0 < len(identity) <= _MAX_IDENTITY:
            raise ValueError(f"an identity has 1 to {_MAX_IDENTITY} bytes, not {len(identity)}")
        self._sender = identity

    def _next(
        self, only: bytes | None, wait_s: float | None = None
    ) -> tuple[Arrival | list[bytes], list[bytes]]:
        found = super()._next(only, wait_s)
        self._sender = self._last_routed
        return found

    def _read(self, flags: int) -> list[bytes]:
        frames = super()._read(flags)
        # Whose message it was counts only if it is a good one.
        self._last_routed = frames.pop(0)
        return frames

    def _transmit_to_sender(self, frames: Sequence[bytes]) -> None:
        """Send a message to the member that was heard last, or set."""
        if self._sender is None:
            raise PortError(f"send error: port {self.name} has not heard from any member", PortError.EROUTE)
        self._transmit((self._sender, *frames))

    def _prepare(self, socket: zmq.Socket[bytes]) -> None:
        # An unknown member is an error. A member that comes back after a broken
        # connection is let in while the old one is not yet given up.
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
