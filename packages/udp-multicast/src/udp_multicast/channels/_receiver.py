"""Receiving from channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Self, overload

from udp_multicast._reception import MANY
from udp_multicast.channels._accounts import MAX_SENDERS
from udp_multicast.channels._ledger import ChannelLedger
from udp_multicast.channels._message import ChannelMessage, ReadoutT
from udp_multicast.channels._place import resolve
from udp_multicast.channels._reception import ChannelReception
from udp_multicast.errors import ReceiverClosed
from udp_multicast.readouts import RawBytes
from udp_multicast.receiver import DEFAULT_BUFFER_SIZE, MulticastReceiver

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from types import EllipsisType, TracebackType

    from udp_multicast._intake import Datagram
    from udp_multicast.channels._statistics import ChannelStatistics
    from udp_multicast.readouts import ReadoutClass


class ChannelReceiver(Generic[ReadoutT]):
    """Receives messages of any size from named channels, those of LCM programs too.

    Parameters
    ----------
    readout_class : class, optional
        With a class method ``from_bytes``; messages carry its instances.
        Without it they carry `bytes`.
    channels : collection of str, optional
        Names of the channels to return; all unless given.
    group : str, optional
        Numeric address, with `port`; instead of `url`.
    port : int, optional
        Port to listen at.
    url : str, optional
        ``udpm://group:port``; LCM's default network if neither this nor a group
        is given.
    interface : str, optional
        Name or address of the interface to join the group on; the routing table
        decides unless given.
    timeout : float or None
        Seconds that `receive` waits unless told otherwise; None for ever.
    strict : bool
        Raise what a peer did wrong, instead of counting it and going on.
    max_size : int, optional
        Payload bytes of the largest message; 2^28 unless given.
    max_age_s : float
        Seconds within which all fragments of a message have to arrive.
    max_bytes : int, optional
        Bytes held for messages in progress; enough for two of `max_size` unless
        given, half of it for any one sender. A message that needs more is refused:
        `statistics` counts its fragments, and the log warns once.
    max_senders : int
        Senders that are told apart at the same time.
    buffer_size : int, optional
        Bytes of receive buffer to ask for: 4 MiB unless given here or in the
        URL. The system may grant less, see `statistics`.
    on_broken : callable, optional
        Called with the `Datagram` and the error for each datagram that is not
        LCM's or breaks its rules or our limits, and with the message as a datagram
        of its own if the readout class refused it; in the thread that receives.
    **settings
        Further settings of `MulticastReceiver`, such as ``sources``.

    Raises
    ------
    ValueError
        A setting is out of range, half of `max_bytes` cannot hold a message of
        the `max_size` that is given, the URL cannot be used, or both a URL and
        a group are given.
    TypeError
        `channels` is one name instead of several.
    OSError
        The system has no such interface or group.

    Notes
    -----
    One thread or task may receive; `statistics` and `close` are for all. An
    iterator over a receiver, plain or asynchronous, ends when it is closed.

    A message is returned once. One with a number that was seen already is
    dropped as a duplicate; a sender that begins anew from the same address is
    known by a second of silence, or by numbers far behind.

    On Linux up to 16 datagrams are taken in one call, into 1 MiB of memory for
    each receiver.

    Examples
    --------
    >>> from udp_multicast.channels import ChannelSender
    >>> place = {"url": "udpm://239.255.76.67:17667", "interface": "127.0.0.1"}
    >>> with ChannelReceiver(**place) as receiver, ChannelSender("ADC", **place) as sender:
    ...     sender.send(b"hello")
    ...     message = receiver.receive(timeout=5.0)
    5
    >>> message.channel, message.readout, message.sequence
    ('ADC', b'hello', 0)
    """

    @overload
    def __init__(
        self: ChannelReceiver[bytes],
        readout_class: None = None,
        channels: Collection[str] | None = None,
        group: str | None = None,
        port: int | None = None,
        *,
        url: str | None = None,
        interface: str | int | None = None,
        timeout: float | None = None,
        strict: bool = False,
        max_size: int | None = None,
        max_age_s: float = 10.0,
        max_bytes: int | None = None,
        max_senders: int = MAX_SENDERS,
        buffer_size: int | None = None,
        on_broken: Callable[[Datagram, Exception], object] | None = None,
        **settings: Any,
    ) -> None: ...

    @overload
    def __init__(
        self,
        readout_class: ReadoutClass[ReadoutT],
        channels: Collection[str] | None = None,
        group: str | None = None,
        port: int | None = None,
        *,
        url: str | None = None,
        interface: str | int | None = None,
        timeout: float | None = None,
        strict: bool = False,
        max_size: int | None = None,
        max_age_s: float = 10.0,
        max_bytes: int | None = None,
        max_senders: int = MAX_SENDERS,
        buffer_size: int | None = None,
        on_broken: Callable[[Datagram, Exception], object] | None = None,
        **settings: Any,
    ) -> None: ...

    def __init__(
        self,
        readout_class: Any = None,
        channels: Collection[str] | None = None,
        group: str | None = None,
        port: int | None = None,
        *,
        url: str | None = None,
        interface: str | int | None = None,
        timeout: float | None = None,
        strict: bool = False,
        max_size: int | None = None,
        max_age_s: float = 10.0,
        max_bytes: int | None = None,
        max_senders: int = MAX_SENDERS,
        buffer_size: int | None = None,
        on_broken: Callable[[Datagram, Exception], object] | None = None,
        **settings: Any,
    ) -> None:
        if isinstance(channels, str):
            raise TypeError(f"channels is a collection of names, not the one name {channels!r}")
        place = resolve(url, group, port)
        ledger = ChannelLedger(
            channels, max_size=max_size, max_age_s=max_age_s, max_bytes=max_bytes, max_senders=max_senders
        )
        self._receiver = MulticastReceiver(
            RawBytes,
            place.group,
            place.port,
            interface=interface,
            timeout=timeout,
            buffer_size=(place.buffer_size or DEFAULT_BUFFER_SIZE) if buffer_size is None else buffer_size,
            **settings,
        )
        self._reception = ChannelReception(
            self._receiver,
            ledger,
            None if readout_class is None else readout_class.from_bytes,
            strict=strict,
            on_broken=on_broken,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self.address()}>"

    def address(self) -> tuple[str, int]:
        """Return group and port as they were given."""
        return self._receiver.address()

    @property
    def port(self) -> int:
        """The port the receiver is bound to; tells which one port 0 became."""
        return self._receiver.port

    @property
    def timeout(self) -> float | None:
        """Seconds that `receive` waits unless told otherwise; None for ever."""
        return self._receiver.gettimeout()

    def receive(self, timeout: float | EllipsisType | None = ...) -> ChannelMessage[ReadoutT]:
        """Wait for the next message.

        Parameters
        ----------
        timeout : float or None, optional
            Seconds to wait for a whole message, whatever else arrives; None for
            ever, 0 for what is here already. That of the receiver unless given.

        Returns
        -------
        ChannelMessage

        Raises
        ------
        TimeoutError
            None was complete in time.
        BlockingIOError
            The same, if the timeout of the receiver is 0.
        ReceiverClosed
            The receiver was closed, before or meanwhile.
        ForeignProcessError
            The receiver was made before this process was forked.
        wireframe.FrameError
            `strict`, and a datagram is not LCM's, or breaks its rules or our
            limits.
        Exception
            `strict`, and the readout class refused a message: its own error.
        """
        return self._reception.receive(timeout)

    def receive_many(
        self, max_count: int = MANY, timeout: float | EllipsisType | None = ...
    ) -> list[ChannelMessage[ReadoutT]]:
        """Wait for a message, and return all that are here.

        From the first call on the kernel is asked to hand over datagrams that
        were sent together in one piece (UDP_GRO, Linux 5.0), as `send_many`
        sends them; measured with 1 KiB, 3.0 instead of 5.4 microseconds for
        both ends together.

        Parameters
        ----------
        max_count : int
            How many at the most.
        timeout : float or None, optional
            As for `receive`, of the first one.

        Returns
        -------
        list of ChannelMessage
            In order of arrival, at least one.

        Raises
        ------
        Exception
            As `receive`. If messages came before the one that raised, they
            are what comes next.
        """
        return self._reception.receive_many(max_count, timeout)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ChannelMessage[ReadoutT]:
        try:
            return self.receive()
        except ReceiverClosed:
            raise StopIteration from None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ChannelMessage[ReadoutT]:
        # Imported where it is needed: it takes longer than all the rest of the package.
        from udp_multicast import _asynchronous

        try:
            return await _asynchronous.receive(self._reception.inlet, self._reception.receive_now)
        except ReceiverClosed:
            raise StopAsyncIteration from None

    @property
    def statistics(self) -> ChannelStatistics:
        """All counts as they are now, sender by sender and in all."""
        return self._reception.statistics()

    def close(self) -> None:
        """Leave the group, close the socket and wake whoever waits; safe to call again."""
        self._receiver.close()
