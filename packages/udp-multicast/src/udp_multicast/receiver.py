"""Receiving readouts: one datagram each, and every loss accounted for."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from udp_multicast import _options
from udp_multicast._address import given_interface, parse_source
from udp_multicast._inlet import Inlet
from udp_multicast._intake import Datagram, Intake
from udp_multicast._joining import require_interface
from udp_multicast._losses import LossLedger
from udp_multicast._membership import Membership, bind_to_group
from udp_multicast._reception import DEFAULT_MAX_PACKET_SIZE, Reception
from udp_multicast.multicast_socket import DEFAULT_GROUP, DEFAULT_PORT
from udp_multicast.readouts import ReadoutClass
from udp_multicast.statistics import RateMeter, ReceiverStatistics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["DEFAULT_BUFFER_SIZE", "DEFAULT_MAX_PACKET_SIZE", "Datagram", "MulticastReceiver", "ReadoutClass"]

#: Bytes of receive buffer that a system has a number for.
_LARGEST_BUFFER: Final = (1 << 31) - 1
#: Bytes of receive buffer to ask for: some 10 000 of the smallest readouts.
DEFAULT_BUFFER_SIZE: Final = 4 << 20

R = TypeVar("R")
_log = logging.getLogger(__name__)

#: Receivers of this process, which its forked children must not use.
_receivers: weakref.WeakSet[MulticastReceiver[Any]] = weakref.WeakSet()


class MulticastReceiver(Reception[R], Generic[R]):
    """Receives the readouts of a group.

    Parameters
    ----------
    readout_class : ReadoutClass
        Its `from_bytes` is called with each datagram, as bytes of its own.
    group : str
        IPv4 or IPv6 group such as ``"239.1.1.1"``. Or an address of this host,
        which the default is: then there can be one receiver only.
    port : int
        UDP port; 0 for any free one.
    interface : str, int or None
        Where to join the group: name, index or address of an interface. None
        leaves it to the routing table; if that has no route, the loopback
        interface is joined and a warning is logged. Means nothing for a group
        that is one host.
    interfaces : sequence of str or int
        Join on each of these instead; at most 20.
    sources : sequence of str, optional
        Hosts, by number, whose datagrams are taken. The kernel drops those of
        others (source-specific join; Linux only), or they count as strangers
        if the group is one host. None for all.
    buffer_size : int
        Bytes of receive buffer to ask for, 1 to 2^31 - 1; `statistics` tells
        what was granted.
    timeout : float or None
        Seconds that a call waits for a readout; None for ever. `settimeout`
        changes it.
    strict : bool
        Let the error of a broken datagram out of `receive`, instead of only
        counting it and waiting for the next one.
    share : bool
        Let other receivers on this host have the same group and port.
    readout_id : callable, optional
        Returns the number of a readout, ``lambda readout: readout.readout_id``.
        With it, gaps, duplicates and late ones are counted for each sender.
    id_bits : int
        Width of these numbers: they wrap at 2^id_bits.
    on_broken : callable, optional
        Called with the `Datagram` and the error for each broken one, in the
        thread that receives. It may close the receiver.

    Raises
    ------
    AddressError
        The group, interface or source is none.
    OSError
        The port is taken, the address is not one of this host, or the system
        refused to join.
    TypeError, ValueError
        The port is not a port, or the buffer size none; or both interfaces and
        interface are given.
    UnsupportedHere
        Sources for a multicast group, and this is not Linux.

    Notes
    -----
    One thread receives at a time, others wait for their turn. `close` and
    `statistics` may be used by any thread. After a fork the child cannot
    use the receiver; the parent goes on.

    Broken datagrams are logged as warnings, once per host and kind of error; each
    one at debug level, if that is on when the first comes.

    Examples
    --------
    >>> from udp_multicast import MulticastSender, RawBytes
    >>> with (
    ...     MulticastReceiver(RawBytes, "239.1.1.1", 0, interface="127.0.0.1", timeout=5) as receiver,
    ...     MulticastSender("239.1.1.1", receiver.port, interface="127.0.0.1") as sender,
    ... ):
    ...     _ = sender.send_data(b"event 1")
    ...     receiver.receive(), receiver.statistics.received
    (RawBytes(b'event 1'), 1)
    """

    def __init__(
        self,
        readout_class: ReadoutClass[R],
        group: str = DEFAULT_GROUP,
        port: int = DEFAULT_PORT,
        *,
        interface: str | int | None = None,
        interfaces: Sequence[str | int] = (),
        sources: Sequence[str] | None = None,
        buffer_size: int = DEFAULT_BUFFER_SIZE,
        timeout: float | None = None,
        strict: bool = False,
        share: bool = True,
        readout_id: Callable[[R], int] | None = None,
        id_bits: int = 32,
        on_broken: Callable[[Datagram, Exception], object] | None = None,
    ) -> None:
        if interface is not None and interfaces:
            raise ValueError("give one interface, or several interfaces, not both")
        if isinstance(interfaces, str) or isinstance(sources, str):
            raise TypeError("interfaces and sources are sequences of names, not one name")
        if sources is not None and not sources:
            raise ValueError("sources is empty, so nobody could be heard; None is for everybody")
        if not 1 <= buffer_size <= _LARGEST_BUFFER:
            raise ValueError(f"buffer_size is 1 to {_LARGEST_BUFFER}, not {buffer_size}")
        super().__init__(group, port)
        try:
            self._prepare(interface, interfaces, sources, buffer_size, share=share)
            self.settimeout(timeout)
            self._inlet = Inlet(self)
        except BaseException:
            self.close()
            raise
        self._intake = Intake(
            readout_class.from_bytes,
            sources=self._sources,
            strict=strict,
            on_broken=on_broken,
            readout_id=readout_id,
            ledger=LossLedger(id_bits),
            clock=time.monotonic,
        )
        #: Datagrams that came with others and were not asked for yet.
        self._pending: deque[Datagram] = deque()
        self._collected: list[R] = []
        self._meter = RateMeter(time.monotonic())
        self._asking = threading.Lock()
        self._kernel: tuple[int, ...] | None = None
        _receivers.add(self)

    def _prepare(
        self,
        interface: str | int | None,
        interfaces: Sequence[str | int],
        sources: Sequence[str] | None,
        buffer_size: int,
        *,
        share: bool,
    ) -> None:
        group = self._group
        self._sources = [parse_source(source, group.family) for source in sources or ()]
        wanted = [given_interface(group, each) for each in interfaces or (interface,)]
        for each in wanted:
            require_interface(group, each)
        # Before the bind: from then on datagrams come.
        self._granted = _options.ask_receive_buffer(self, buffer_size)
        if self._granted < buffer_size:
            _log.info(
                "receive buffer: %d of %d bytes granted (net.core.rmem_max)", self._granted, buffer_size
            )
        bind_to_group(self, group, self._given[1], wanted[0], share=share)
        self._port: int = self.getsockname()[1]
        self._membership = Membership(self, group, self._sources)
        if group.is_multicast:
            for each in wanted:
                self._membership.join(each)
        _log.info("receiving %s, bound to port %d", self._given, self._port)

    @property
    def port(self) -> int:
        """The port the receiver is bound to; tells which one port 0 became."""
        return self._port

    def join(self, interface: str | int | None = None) -> None:
        """Join the group on one more interface, or again after `leave`.

        Also when an interface was unplugged and plugged in again, or came with
        the network when there was none: to the system it is a new one. One
        that merely went down and up stays joined. Nothing happens if the group
        is joined there.

        Parameters
        ----------
        interface : str, int or None
            As for the constructor.

        Raises
        ------
        AddressError
            There is no such interface.
        OSError
            The system refused it, or the group is one host (EINVAL).
        """
        self._membership.join(given_interface(self._group, interface))

    def leave(self, interface: str | int | None = None) -> None:
        """Leave the group on an interface; what is in the buffer still comes.

        Parameters
        ----------
        interface : str, int or None
            As it was joined.

        Raises
        ------
        AddressError
            It was not joined there.
        """
        self._membership.leave(given_interface(self._group, interface))

    @property
    def statistics(self) -> ReceiverStatistics:
        """What was counted so far; also after `close`, when it stands still."""
        intake, losses = self._intake, self._intake.ledger.total()
        with self._asking:
            rate = self._meter.rate(intake.received, time.monotonic())
            if not self._inlet.is_closing:
                self._kernel = _options.meminfo(self)
            kernel = self._kernel
        return ReceiverStatistics(
            received=intake.received,
            bytes=intake.bytes,
            datagrams_per_s=rate,
            broken=intake.broken,
            strangers=intake.strangers,
            gaps=losses.gaps,
            lost=losses.lost,
            duplicates=losses.duplicates,
            late=losses.late,
            restarts=losses.restarts,
            kernel_drops=kernel[8] if kernel else None,
            granted_buffer=self._granted,
            queued_bytes=kernel[0] if kernel else None,
            senders=intake.ledger.senders(),
        )

    def close(self) -> None:
        """Close the receiver, from any thread; may be called again.

        Whoever waits for a readout is woken: `receive` raises `ReceiverClosed`,
        iteration ends.
        """
        inlet = self.__dict__.get("_inlet")
        # A constructor that fails closes the socket too.
        if inlet is not None:
            if not inlet.is_closing and "_asking" in self.__dict__:
                with self._asking:
                    self._kernel = _options.meminfo(self)
            inlet.close()
        super().close()

    def detach(self) -> int:
        """Give the descriptor away; the receiver is closed then.

        Returns
        -------
        int
            The descriptor, which still is in the group.
        """
        self._inlet.close(wake=False)
        return super().detach()

    def _abandon(self) -> None:
        """Close the descriptors in a forked child; the parent's are others."""
        self._inlet.abandon()
        self._asking = threading.Lock()
        super().close()


def _abandon_all() -> None:
    for receiver in list(_receivers):
        receiver._abandon()
    _receivers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
