"""Sending on channels."""

from __future__ import annotations

import functools
import threading
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Self

from udp_multicast._batch import MAX_PARTS
from udp_multicast._pacing import Pacer
from udp_multicast.channels._forked import Foreign, abandon_in_children
from udp_multicast.channels._outlet import JOINED, Outlet
from udp_multicast.channels._place import resolve
from udp_multicast.sender import MulticastSender
from wireframe.datagram import MAX_DATAGRAM, encode_message, small_head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager
    from types import TracebackType

    from typing_extensions import Buffer

    from udp_multicast.readouts import Readout
    from wireframe.datagram import Parts

#: Bytes per second of messages that take several datagrams. The receivers of
#: this package and of LCM keep up with it on one host, as a rule also with the
#: receive buffer that systems grant unasked; a slower network slows the sender
#: down by itself.
DEFAULT_BYTES_PER_S: Final = 200e6
#: Bytes that go at once: one full datagram. The usual buffer holds three.
BURST: Final = MAX_DATAGRAM

#: Number before 0.
_LAST: Final = (1 << 32) - 1


class ChannelSender:
    """Sends messages of any size on named channels, as LCM programs do.

    Parameters
    ----------
    channel : str
        The channel of messages for which no other is named: at most 63 bytes of
        UTF-8.
    group : str, optional
        Numeric address, with `port`; instead of `url`.
    port : int, optional
        Destination port.
    ttl : int, optional
        0 for this host alone, 1 for its subnet. That of the URL unless given.
    url : str, optional
        ``udpm://group:port?ttl=N``; LCM's default network if neither this nor
        a group is given.
    interface : str, optional
        Name or address of the interface to send by; the routing table decides
        unless given.
    bytes_per_s : float or None
        Bytes per second of messages that take several datagrams, which would
        overrun their receiver if they came at once; None for no limit. Messages
        in one datagram are sent as they come.
    max_datagram : int
        Bytes of the largest datagram. LCM sends full ones of 65507 bytes;
        smaller ones (1472 on Ethernet) are not cut by IP, so that one lost
        packet does not cost 64 KiB.
    **settings
        Further settings of `MulticastSender`.

    Raises
    ------
    ValueError
        A setting is out of range, the channel or URL cannot be used, or both a
        URL and a group are given.
    OSError
        The system has no such interface or socket.

    Notes
    -----
    Messages are numbered in one row whatever their channel, so one object may
    serve many channels and every receiver can count what it misses. Safe for
    use by several threads: messages do not interleave. Nothing is acknowledged
    or repeated. After a fork the child cannot use the sender, only close it; the
    parent goes on.

    The socket is connected to a multicast group, and keeps its interface and
    source address until they are gone; then another one takes over, with the
    same port.

    Examples
    --------
    >>> with ChannelSender("ADC", interface="127.0.0.1") as sender:
    ...     sender.send(b"hello")
    5
    """

    def __init__(
        self,
        channel: str,
        group: str | None = None,
        port: int | None = None,
        ttl: int | None = None,
        *,
        url: str | None = None,
        interface: str | None = None,
        bytes_per_s: float | None = DEFAULT_BYTES_PER_S,
        max_datagram: int = MAX_DATAGRAM,
        **settings: Any,
    ) -> None:
        place = resolve(url, group, port)
        self._channel = channel
        self._max_datagram = max_datagram
        encode_message(0, channel, b"", max_datagram)  # refuses what could never be sent
        self._head = small_head(channel)
        self._most_joined = min(JOINED, max_datagram - len(self._head(0)))
        self._at_once = bytes_per_s is None
        self._closing = threading.Event()
        self._pacer = Pacer(bytes_per_s, BURST, sleep=self._closing.wait)
        self._lock: AbstractContextManager[object] = threading.Lock()
        self._sequence = 0
        self._outlet = Outlet(
            functools.partial(
                MulticastSender,
                place.group,
                place.port,
                place.ttl if ttl is None else ttl,
                interface=interface,
                **settings,
            ),
            needs_route=interface is None,
            in_volleys=self._at_once,
        )
        abandon_in_children(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._channel!r} to {self.address()}>"

    @property
    def channel(self) -> str:
        """The channel of messages for which no other is named."""
        return self._channel

    @property
    def sequence(self) -> int:
        """Number of the next message, 0 to 2^32 - 1."""
        return self._sequence

    def address(self) -> tuple[str, int]:
        """Return group and port."""
        return self._outlet.sender.address()

    def send(self, data: Buffer, *, channel: str | None = None) -> int:
        """Send a message.

        Parameters
        ----------
        data : bytes-like
            Up to about 4.29e9 bytes; an array is sent as its memory. Receivers
            have limits of their own, ours is 2^28 unless told otherwise.
        channel : str, optional
            Another channel than that of this sender.

        Returns
        -------
        int
            Bytes of the message.

        Raises
        ------
        ValueError
            The message or its channel does not fit the wire; nothing was sent.
        TypeError
            `data` is not bytes-like; nothing was sent.
        OSError
            The system could not send; receivers will see the message as lost.
            EBADF if the sender was closed meanwhile.
        ForeignProcessError
            The sender was made before this process was forked.
        """
        with self._lock:
            sequence = self._sequence
            if channel is None and type(data) is bytes and len(data) <= self._most_joined:
                # What `encode_message` would make of it, in a third of the time.
                self._sequence = (sequence + 1) & _LAST
                self._outlet.send(self._head(sequence) + data)
                return len(data)
            name = self._channel if channel is None else channel
            if self._at_once and type(data) is bytes and len(data) > self._max_datagram:
                return self._send_at_once(sequence, name, data)
            datagrams = encode_message(sequence, name, data, self._max_datagram)
            # Counted before it is sent: half a message is a lost one.
            self._sequence = (sequence + 1) & _LAST
            if len(datagrams) > 1:
                return self._send_fragments(datagrams)
            self._outlet.send_parts(datagrams[0])
            return len(datagrams[0][1])

    def _send_at_once(self, sequence: int, name: str, data: bytes) -> int:
        """Send the datagrams of one message without a pause; return its bytes."""
        self._sequence = (sequence + 1) & _LAST
        try:
            self._outlet.send_fragments(sequence, name, data, self._max_datagram)
        except (ValueError, TypeError):
            self._sequence = sequence  # nothing was sent
            raise
        return len(data)

    def _send_fragments(self, datagrams: list[Parts]) -> int:
        """Send the datagrams of one message at their pace; return its bytes."""
        wait, send = self._pacer.wait, self._outlet.send_parts
        sent = 0
        for parts in datagrams:
            size = len(parts[1])
            wait(len(parts[0]) + size)
            # A closed socket refuses; no pause outlasts `close`.
            send(parts)
            sent += size
        return sent

    def send_many(self, messages: Iterable[Buffer], *, channel: str | None = None) -> int:
        """Send many messages, in as few system calls as possible.

        Where the kernel can (Linux 4.18), up to 64 small messages of one size
        go out in one call; what arrives is the same datagrams.

        Parameters
        ----------
        messages : iterable of bytes-like
            As for `send`; taken 64 at a time.
        channel : str, optional
            As for `send`.

        Returns
        -------
        int
            Messages sent.

        Raises
        ------
        ValueError, TypeError, OSError, ForeignProcessError
            As in `send`, and whatever the iterable raises. Messages taken
            before have been sent then.

        Notes
        -----
        The pace of the sender holds here for small messages, too: they would
        overrun their receivers.
        """
        name = self._channel if channel is None else channel
        head = self._head if channel is None else small_head(channel)
        most = self._max_datagram - len(head(0))
        source, sent = iter(messages), 0
        while True:
            some: list[Buffer] = []
            try:
                # Extended one by one: what came before an error is in the list.
                some.extend(islice(source, MAX_PARTS))
            finally:
                with self._lock:
                    self._send_some(some, name, head, most)
            sent += len(some)
            if len(some) < MAX_PARTS:
                return sent

    def _send_some(self, messages: list[Buffer], name: str, head: Callable[[int], bytes], most: int) -> None:
        """Send messages; those that fit a datagram together."""
        together: list[bytes] = []
        try:
            for data in messages:
                sequence = self._sequence
                if type(data) is bytes and len(data) <= most:
                    together.append(head(sequence) + data)
                else:
                    datagrams = encode_message(sequence, name, data, self._max_datagram)
                    if len(datagrams) == 1:
                        together.append(b"".join(datagrams[0]))
                    else:
                        self._send_together(together)
                        together = []
                        self._send_fragments(datagrams)
                self._sequence = (sequence + 1) & _LAST
        finally:
            self._send_together(together)

    def _send_together(self, datagrams: list[bytes]) -> None:
        if datagrams:
            self._pacer.wait(sum(map(len, datagrams)))
            self._outlet.send_many(datagrams)

    def send_data(self, data: Buffer) -> int:
        """Send a message on the channel of this sender; as `send`, by the name `MulticastSender` gives it."""
        return self.send(data)

    def send_readout(self, readout: Readout, *, channel: str | None = None) -> int:
        """Send what ``readout.to_bytes()`` returns; otherwise as `send`.

        Parameters
        ----------
        readout : Readout
            Anything with a method ``to_bytes``.
        channel : str, optional
            Another channel than that of this sender.

        Returns
        -------
        int
            Bytes of the message.

        Raises
        ------
        ValueError, TypeError, OSError, ForeignProcessError
            As in `send`.
        """
        return self.send(readout.to_bytes(), channel=channel)

    def close(self) -> None:
        """Close the socket; safe to call again, and from other threads."""
        self._closing.set()
        self._outlet.close()

    def _abandon(self) -> None:
        """Refuse to send in a forked child; `close` shall not wait for a thread that is not there."""
        self._lock = Foreign()
        self._closing = threading.Event()
