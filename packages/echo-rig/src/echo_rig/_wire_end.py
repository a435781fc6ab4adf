"""One end of the wire, whatever carries its bytes: its role, whom it talks with, what it says of them."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Final

from echo_rig._verdict import Verdict
from echo_rig.communicator import Communicator

if TYPE_CHECKING:
    import logging
    from collections.abc import Container, Mapping

    from echo_rig._link import Address, Link
    from echo_rig._verdict import Received
    from echo_rig.uri import IPAddress

#: Bytes. What fits one UDP datagram over IPv4: 65535 less the IP and UDP headers.
MAX_DATAGRAM: Final = 65507


class WireEnd(Communicator):
    """What the ends of event loops and those of threads that wait have in common.

    Parameters
    ----------
    server_uri, name, logger
        See `Communicator`.
    role : {'server', 'client'}

    Attributes
    ----------
    is_datagram : bool
        Whether messages travel as UDP datagrams.
    numbering : bool or None
        For conversations that begin: number from the first message, once the other end does, or never.
    allowed : container of str or None
        IP addresses that a server listens to; None for all.
    strangers : int
        What came from addresses that are not allowed.

    Raises
    ------
    ValueError
        The role or the URI is none.
    """

    default_echo_timeout: float = 1.0
    max_message_size: int = 65535

    #: All other ends known at present.
    _links: Mapping[Address, Link]

    def __init__(
        self,
        server_uri: str | IPAddress,
        role: str,
        name: str | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        role = role.strip().lower()
        if role not in ("server", "client"):
            raise ValueError(f"the role is 'server' or 'client', not {role!r}")
        self._role = role
        super().__init__(server_uri, name=name, logger=logger)
        # Asked for with every message.
        self.is_datagram = self.protocol == "udp"
        self.numbering: bool | None = None
        self.allowed: Container[str] | None = None
        self.strangers = 0

    @property
    def role(self) -> str:
        """``'server'`` or ``'client'``."""
        return self._role

    @property
    def addresses(self) -> list[Address]:
        """Other ends known at present."""
        return list(self._links)

    def round_trip(self, addr: Address | None = None) -> float | None:
        """Return the smoothed round trip time to another end in seconds, None before the first echo.

        Parameters
        ----------
        addr : tuple of (str, int), optional
            Needed in the server role.
        """
        link = self._links.get(self._server_address if addr is None else addr)
        return None if link is None else link.conversation.round_trip.smoothed_s

    def heard_at(self, addr: Address | None = None) -> float | None:
        """Return when anything came from another end last, in monotonic seconds; None if nothing has.

        Parameters
        ----------
        addr : tuple of (str, int), optional
            Needed in the server role.
        """
        link = self._links.get(self._server_address if addr is None else addr)
        return None if link is None else link.heard_at

    @property
    @abstractmethod
    def _server_address(self) -> Address:
        """Where a message goes unless told otherwise."""

    def _checked_address(self, addr: Address | None) -> Address:
        """Return where to send."""
        if self._role == "server":
            if addr is None:
                raise TypeError("a server has to say which address a message is for")
            return addr[0], addr[1]
        server = self._server_address
        if addr is not None and (addr[0], addr[1]) not in (server, (self.hostname, self.port)):
            raise ValueError(f"a client can only send to its server {server[0]}:{server[1]}, not to {addr}")
        return server

    def _checked_timeout(self, timeout: float | None) -> float:
        """Return how long to wait for an echo."""
        timeout = timeout or self.default_echo_timeout
        if not timeout > 0:
            raise ValueError(f"the timeout must be above 0 seconds, not {timeout}")
        return timeout

    def _encoded(self, data: Any) -> bytes:
        """Return the bytes of a message, if they can be sent."""
        message = self.encode(data)
        if self.is_datagram and len(message) > MAX_DATAGRAM:
            raise ValueError(
                f"a message of {len(message)} bytes does not fit a datagram, the limit is {MAX_DATAGRAM}"
            )
        return message

    def _no_echo(self, address: Address, timeout: float) -> TimeoutError:
        return TimeoutError(f"{self.name}: no echo from {address[0]}:{address[1]} within {timeout} s")

    def _no_proper_echo(self, address: Address) -> RuntimeError:
        return RuntimeError(f"{self.name}: Unexpected response from {address[0]}:{address[1]}")

    def refuses(self, address: Address) -> bool:
        """Whether an address is not to be listened to, which is counted and logged once."""
        if self.allowed is None or address[0] in self.allowed:
            return False
        self.strangers += 1
        self._quiet.warn(
            address[0], "stranger", "refused %s:%s: its address is not in the allow list", *address
        )
        return True

    def oversized(self, size: int, limit: int, address: Address) -> None:
        """Take note of a message beyond the limit in a stream."""
        self._quiet.warn(
            address[0], "oversized", "Dropped a message of %d bytes from %s:%s, the limit is %d",
            size, *address, limit,
        )  # fmt: skip

    def unfinished(self, size: int, address: Address) -> None:
        """Take note of a message that the end of the stream has cut off."""
        self._quiet.warn(
            address[0], "unfinished", "The stream of %s:%s ended inside a message, dropped %d bytes of it",
            *address, size,
        )  # fmt: skip

    def something_unusual(self, received: Received, address: Address) -> None:
        """Log what is neither news nor a proper echo."""
        verdict = received.verdict
        if verdict is Verdict.TRUNCATED_ECHO:
            self.logger.warning("Received truncated echo from %s:%s", *address)
        elif verdict is Verdict.UNEXPECTED:
            self.logger.error("Expected an echo from %s:%s, got something else", *address)
        elif verdict in (Verdict.BOUNCE, Verdict.REFUSED):
            self._quiet.warn(
                address[0], verdict.value, "Dropped a message of %s:%s: %s", *address, verdict.value
            )
        else:
            self.logger.debug("From %s:%s: %s", *address, verdict.value)
