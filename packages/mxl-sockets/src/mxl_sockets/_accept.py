"""Taking connections from the listeners: who may come in, and what if we cannot.

Running out of descriptors must not end accepting for good, nor spin. The hub
then leaves the newcomers in the kernel's queue and looks again a moment later;
accepting and closing them instead would end drivers that do not reconnect.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
from typing import TYPE_CHECKING, Final

from mxl_sockets import _poll
from mxl_sockets._access import foreign_user, is_allowed
from mxl_sockets._listen import prepare_tcp

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from mxl_sockets._access import Allowed
    from mxl_sockets._listen import Listener
    from mxl_sockets._losses import Losses
    from mxl_sockets._poll import Poller
    from mxl_sockets._quiet_log import QuietLogger

logger = logging.getLogger(__name__)

#: Connections taken in one go: a flood of newcomers must not hold up a step.
BATCH: Final = 32

#: Descriptors left to the solver: strangers that wait may not take all of them.
SPARE_DESCRIPTORS: Final = 64

#: Seconds without accepting after the system said it has no room.
PAUSE: Final = 0.1


def _descriptor_limit() -> int:
    """Return how many descriptors this process may have."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return sys.maxsize
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize if soft == resource.RLIM_INFINITY else max(soft, 2 * SPARE_DESCRIPTORS)


class Acceptor:
    """The listeners of a hub.

    Parameters
    ----------
    poller : Poller
    allowed : tuple of networks or None
        TCP peers that may connect; None for all.
    quiet : QuietLogger
    losses : Losses
        Is told when there is no room for newcomers.
    """

    def __init__(self, poller: Poller, allowed: Allowed, quiet: QuietLogger, losses: Losses) -> None:
        self.listeners: dict[int, Listener] = {}
        #: When to listen again, None while listening.
        self.paused_until: float | None = None
        self._poller = poller
        self._allowed = allowed
        self._quiet = quiet
        self._losses = losses
        self._unix_peers = 0
        self._last_descriptor = _descriptor_limit() - SPARE_DESCRIPTORS

    def add(self, listener: Listener) -> None:
        """Own and watch a listener."""
        self.listeners[listener.descriptor] = listener
        if self.paused_until is None:
            self._poller.register(listener.descriptor, _poll.READ)

    def accept(self, descriptor: int, now: float) -> Iterator[tuple[socket.socket, str, int | None]]:
        """Yield the newcomers at a listener: socket, peer name, molecule of the endpoint."""
        listener = self.listeners[descriptor]
        for _ in range(BATCH):
            try:
                sock, name = listener.sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ECONNABORTED:
                    continue  # it left before we came
                self._pause(error, now)
                return
            try:
                peer = self._admit(sock, name, listener)
            except OSError as error:
                peer = None
                logger.debug("newcomer left at once: %s", error)
            # Numbers are given lowest first: a high one says that the table is nearly full.
            crowded = sock.fileno() >= self._last_descriptor
            if peer is None:
                sock.close()
            else:
                yield sock, peer, listener.endpoint
            if crowded:
                self._pause(OSError(errno.EMFILE, os.strerror(errno.EMFILE)), now)
                return

    def _admit(self, sock: socket.socket, name: tuple[str, int] | str, listener: Listener) -> str | None:
        """Name the peer, or refuse it."""
        if listener.is_unix:
            self._unix_peers += 1
            peer = f"{listener.address}#{self._unix_peers}"
            user = foreign_user(sock)
            if user is not None:
                self.refuse(peer, "user", f"it runs as user {user}")
                return None
            return peer
        host, port = name[0], name[1]
        peer = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if not is_allowed(host, self._allowed):
            self.refuse(peer, "address", "its address is not in the allow list")
            return None
        prepare_tcp(sock)
        return peer

    def refuse(self, peer: str, cause: str, reason: str) -> None:
        """Log a refusal; the caller closes the socket."""
        self._quiet.warn(peer.rpartition(":")[0], cause, "refused %s: %s", peer, reason)

    def _pause(self, error: OSError, now: float) -> None:
        if self.paused_until is None:
            for descriptor in self.listeners:
                self._poller.unregister(descriptor)
        self.paused_until = now + PAUSE
        reason = os.strerror(error.errno) if error.errno else str(error)
        self._losses.warn(f"cannot accept connections for now: {reason}")
        self._quiet.warn("", reason, "cannot accept connections for now: %s", reason)

    def resume(self, now: float) -> None:
        """Listen again once the pause is over."""
        if self.paused_until is not None and now >= self.paused_until:
            self.paused_until = None
            for descriptor in self.listeners:
                self._poller.register(descriptor, _poll.READ)

    def close(self) -> None:
        """Stop listening and unlink what is ours."""
        for descriptor, listener in self.listeners.items():
            if self.paused_until is None:
                self._poller.unregister(descriptor)
            listener.close()
        self.listeners.clear()
