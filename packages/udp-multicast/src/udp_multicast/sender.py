"""Sending readouts: one datagram each."""

from __future__ import annotations

import errno
import logging
import socket
from itertools import islice
from operator import index, methodcaller
from typing import TYPE_CHECKING, Any, Final

from udp_multicast import _options
from udp_multicast._address import ANY_INTERFACE, given_interface
from udp_multicast._batch import MAX_PARTS, BatchSender
from udp_multicast._joining import NO_ROUTE, require_interface, send_on
from udp_multicast._loopback import loopback
from udp_multicast._pacing import Pacer
from udp_multicast.errors import DatagramTooLarge
from udp_multicast.multicast_socket import DEFAULT_GROUP, DEFAULT_PORT, MulticastSocketBase
from wireframe.datagram import MAX_DATAGRAM

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from typing_extensions import Buffer

    from udp_multicast._address import Interface
    from udp_multicast.readouts import SendableReadout

__all__ = ["DEFAULT_TTL", "MulticastSender"]

#: Routers that a datagram may pass, less one.
DEFAULT_TTL: Final = 2

#: Bytes of IP and UDP header in front of a datagram.
_HEADERS: Final = {socket.AF_INET: 28, socket.AF_INET6: 48}
#: Bytes. IPv6 does not count its own header.
_LARGEST: Final = {socket.AF_INET: MAX_DATAGRAM, socket.AF_INET6: 65527}
#: Bytes of a frame where the system does not tell: those of Ethernet.
_USUAL_MTU: Final = 1500
#: Buffers that one call gathers on every system.
_MAX_GATHERED: Final = 1024
#: Bits of the largest integer that a socket option takes, without its sign.
_C_INT_BITS: Final = 31
#: Seconds of readouts that may go at once under a rate limit.
_BURST_S: Final = 0.01

_to_bytes: Final = methodcaller("to_bytes")
_log = logging.getLogger(__name__)


class MulticastSender(MulticastSocketBase):
    """Sends readouts to a group, one datagram each and not a byte more.

    Parameters
    ----------
    group : str
        IPv4 or IPv6 group such as ``"239.1.1.1"``. The default is this host
        alone and not multicast.
    port : int
        UDP port.
    ttl : int
        Networks the datagrams may reach, 0 to 255: 0 this host, 1 its subnet,
        2 one router further. Has no meaning for a group that is one host.
    interface : str, int or None
        Interface to send by: name, index or address. None leaves it to the
        routing table; if that has no route, the loopback interface is taken
        and a warning is logged, so that monitors on this host still see all.
    loop : bool
        Whether receivers on this host get the datagrams too.

    Raises
    ------
    AddressError
        The group or the interface is none.
    OSError
        The system refused the time to live, or has no such interface.
    TypeError, ValueError
        The port is not a port, or `ttl` not a number that the system has.

    Notes
    -----
    Threads may share one sender: datagrams do not mix. The socket is not
    connected: a connected one would fail when nobody listens on a loopback
    port, and for good when the address of its interface changes.

    Examples
    --------
    >>> from udp_multicast import MulticastReceiver, RawBytes
    >>> with (
    ...     MulticastReceiver(RawBytes, "239.1.1.1", 0, interface="127.0.0.1", timeout=5) as receiver,
    ...     MulticastSender("239.1.1.1", receiver.port, ttl=1, interface="127.0.0.1") as sender,
    ... ):
    ...     size = sender.send_readout(RawBytes(b"event 1"))
    ...     size, receiver.receive()
    (7, RawBytes(b'event 1'))
    """

    def __init__(
        self,
        group: str = DEFAULT_GROUP,
        port: int = DEFAULT_PORT,
        ttl: int = DEFAULT_TTL,
        *,
        interface: str | int | None = None,
        loop: bool = True,
    ) -> None:
        super().__init__(group, port)
        try:
            self._prepare(given_interface(self._group, interface), ttl, loop=loop)
        except BaseException:
            self.close()
            raise

    def _prepare(self, interface: Interface, ttl: int, *, loop: bool) -> None:
        require_interface(self._group, interface)
        self._target: tuple[Any, ...] = self._group.target(self._given[1], interface.index)
        self._batches: BatchSender | None = None
        self._warned = False
        if self._group.family == socket.AF_INET:
            time_to_live, loop_back = socket.IP_MULTICAST_TTL, socket.IP_MULTICAST_LOOP
        else:
            time_to_live, loop_back = socket.IPV6_MULTICAST_HOPS, socket.IPV6_MULTICAST_LOOP
        # What the system has a number for, it judges itself.
        if index(ttl).bit_length() > _C_INT_BITS:
            raise ValueError(f"ttl is 0 to 255, not {ttl}")
        self.set_option(time_to_live, ttl)
        self.set_option(loop_back, int(loop))
        if interface is not ANY_INTERFACE:
            send_on(self, self._group, interface)
        try:
            mtu = self._path_mtu(interface)
        except OSError as error:
            mtu = _USUAL_MTU
            if error.errno in NO_ROUTE and interface is ANY_INTERFACE and self._group.is_multicast:
                _log.warning("no route to %s: sending to this host only", self._given)
                interface = loopback(self._group)
                send_on(self, self._group, interface)
                mtu = self._path_mtu(interface)
        self._largest = _LARGEST[self._group.family]
        #: Bytes of a datagram that travels in one frame.
        self._whole = min(mtu - _HEADERS[self._group.family], self._largest)

    def _path_mtu(self, interface: Interface) -> int:
        """Return the bytes of a frame on the way to the group.

        Another socket is connected for it, which sends nothing.
        """
        is_ipv4 = self._group.family == socket.AF_INET
        option = _options.IP_MTU if is_ipv4 else _options.IPV6_MTU
        with socket.socket(self.family, socket.SOCK_DGRAM) as probe:
            if interface is not ANY_INTERFACE:
                send_on(probe, self._group, interface)
            # A port of 0, which nothing can be sent to, is refused by some systems.
            probe.connect((self._target[0], self._target[1] or 9, *self._target[2:]))
            return _USUAL_MTU if option is None else probe.getsockopt(self._level, option)

    def send_data(self, data: Buffer) -> int:
        """Send one datagram.

        Parameters
        ----------
        data : bytes-like
            At most 65507 bytes (65527 with IPv6); may be empty. More than one
            frame carries (1472 bytes on Ethernet) is sent in pieces by IP, so
            that one lost frame costs all of it; this is logged once.

        Returns
        -------
        int
            Bytes sent.

        Raises
        ------
        DatagramTooLarge
            `data` does not fit into one datagram.
        OSError
            There is no route, or no such interface any more.
        TypeError
            `data` is not bytes.
        """
        try:
            sent = self.sendto(data, self._target)
        except OSError as error:
            self._explain(error, memoryview(data).nbytes)
            raise
        if sent > self._whole:
            self._warn(sent)
        return sent

    def send_readout(self, readout: SendableReadout) -> int:
        """Send what `readout.to_bytes` returns, as one datagram.

        Parameters
        ----------
        readout : SendableReadout
            Any object with that method.

        Returns
        -------
        int
            Bytes sent.

        Raises
        ------
        DatagramTooLarge, OSError, TypeError
            As `send_data`; and whatever `to_bytes` raises.
        """
        return self.send_data(readout.to_bytes())

    def send_parts(self, parts: Sequence[Buffer]) -> int:
        """Send one datagram gathered from several buffers, without joining them first.

        Parameters
        ----------
        parts : sequence of bytes-like
            Together at most 65507 bytes.

        Returns
        -------
        int
            Bytes sent.

        Raises
        ------
        DatagramTooLarge, OSError, TypeError
            As `send_data`.
        """
        if len(parts) > _MAX_GATHERED or not hasattr(self, "sendmsg"):
            return self.send_data(b"".join(parts))
        try:
            sent = self.sendmsg(parts, (), 0, self._target)
        except OSError as error:
            self._explain(error, sum(memoryview(part).nbytes for part in parts))
            raise
        if sent > self._whole:
            self._warn(sent)
        return sent

    def send_readouts(
        self, readouts: Iterable[SendableReadout], *, readouts_per_s: float | None = None
    ) -> int:
        """Send many readouts, one datagram each, in as few system calls as possible.

        Where the kernel can (Linux 4.18), up to 64 readouts of one size go out
        in one call; what arrives is the same ordinary datagrams. A fast sender
        overruns a slow receiver: limit the rate, or enlarge its buffer.

        Parameters
        ----------
        readouts : iterable of SendableReadout
            Taken 64 at a time, fewer when that would be more than the rate
            allows in 10 ms. For readouts that come one by one `send_readout`
            is right.
        readouts_per_s : float, optional
            Readouts per second, at the most.

        Returns
        -------
        int
            Readouts sent.

        Raises
        ------
        ValueError
            `readouts_per_s` is not more than 0, or not finite.
        DatagramTooLarge, OSError, TypeError
            As `send_data`; and whatever the iterable and `to_bytes` raise.
            Readouts taken before have been sent then.
        """
        size = MAX_PARTS
        if readouts_per_s is not None and 0 < readouts_per_s < MAX_PARTS / _BURST_S:
            size = max(1, int(readouts_per_s * _BURST_S))
        pacer = Pacer(readouts_per_s, size)
        if self._batches is None:
            self._batches = BatchSender(self, self._target, self.send_data, self._whole)
        source = iter(readouts)
        sent = 0
        while True:
            datagrams: list[bytes] = []
            try:
                # Extended one by one: what came before an error is in the list.
                datagrams.extend(map(_to_bytes, islice(source, size)))
            finally:
                if datagrams:
                    pacer.wait(len(datagrams))
                    self._batches.send(datagrams)
                    sent += len(datagrams)
            if len(datagrams) < size:
                return sent

    def _explain(self, error: OSError, size: int) -> None:
        """Say more about an error of the system than its number does."""
        if error.errno == errno.EMSGSIZE:
            raise DatagramTooLarge(size, self._largest if size > self._largest else self._whole) from error
        if error.errno in NO_ROUTE:
            error.add_note(f"while sending to {self._given}; interface= chooses the way")

    def _warn(self, size: int) -> None:
        if not self._warned:
            self._warned = True
            _log.warning(
                "a datagram of %d bytes to %s: more than %d are cut by IP, and one lost piece loses them all",
                size,
                self._given,
                self._whole,
            )
